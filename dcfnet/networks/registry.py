"""The networks by name."""

import inspect
from typing import Any

from dcfnet.errors import unknown
from dcfnet.networks.base import PansharpeningNetwork
from dcfnet.networks.compared import MSDCNN, PNN, DiCNN, FusionNet, PanNet
from dcfnet.networks.dcfnet import DCFNet, DCFNetConfig

NETWORKS: dict[str, type[PansharpeningNetwork]] = {
    network.name: network for network in (PNN, PanNet, MSDCNN, DiCNN, FusionNet, DCFNet)
}
"""Every network by its name, in the order in which they were published."""


def network_class(name: str) -> type[PansharpeningNetwork]:
    """The class of the network of that name; a `ValueError` if there is none."""
    if name not in NETWORKS:
        raise ValueError(unknown("network", name, NETWORKS))
    return NETWORKS[name]


def build_network(name: str, bands: int = 8, **options: Any) -> PansharpeningNetwork:
    """A network with fresh weights, one of `NETWORKS`, in training mode.

    The options of ``"dcfnet"`` are what `DCFNetConfig` takes; ``"pannet"`` and ``"fusionnet"``
    have ``high_pass`` alone; the others have none.

    Raises:
        ValueError: No network has that name, or a value is out of its range.
        TypeError: The network has no option of that name.

    Example:
        >>> model = build_network("dcfnet", bands=4, width=0.25)
        >>> fused = model(pan, ms, lms)
    """
    network = network_class(name)
    if network is DCFNet:
        return DCFNet(DCFNetConfig(bands=bands, **options))
    known = set(inspect.signature(network).parameters) - {"bands"}
    if not options.keys() <= known:
        has = f"takes {', '.join(known)} alone" if known else "has no options"
        raise TypeError(f"{network.title} {has} beside bands, got {', '.join(options)}")
    return network(bands, **options)
