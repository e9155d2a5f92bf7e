"""A network that runs in the reader's page: no kernel, no server, no connection.

`pack` makes the files; ``engine.js`` is what a page calls, ``worker.js`` what computes there.
"""

from dcfnet.show.live.pack import pack, rounded, write
from dcfnet.show.live.ready import gate_names

__all__ = ["gate_names", "pack", "rounded", "write"]
