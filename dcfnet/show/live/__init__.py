"""A network that runs in the reader's page: no kernel, no server, no connection.

`pack` makes the files; ``engine.js`` is what a page calls, ``worker.js`` what computes there.
`page` is the frame of the pieces that a reader meets: `curtain`, `flow`, `apart` and `own`.
"""

from dcfnet.show.live.apart import apart
from dcfnet.show.live.curtain import curtain, doors
from dcfnet.show.live.flow import fusion_flow, pcft_flow
from dcfnet.show.live.own import own_pair
from dcfnet.show.live.pack import rounded, write
from dcfnet.show.live.page import LivePage, networks
from dcfnet.show.live.ready import gate_names

__all__ = [
    "LivePage",
    "apart",
    "curtain",
    "doors",
    "fusion_flow",
    "gate_names",
    "networks",
    "own_pair",
    "pcft_flow",
    "rounded",
    "write",
]
