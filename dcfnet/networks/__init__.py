"""The networks: one signature, ``fused = model(pan, ms, lms)``."""

from dcfnet.networks.base import PansharpeningNetwork
from dcfnet.networks.compared import MSDCNN, PNN, DiCNN, FusionNet, PanNet
from dcfnet.networks.cost import count_operations, count_parameters
from dcfnet.networks.dcfnet import DCFNet, DCFNetConfig
from dcfnet.networks.rebanded import rebanded
from dcfnet.networks.registry import NETWORKS, build_network
from dcfnet.networks.weights import (
    load_released,
    load_released_folder,
    load_trained,
    load_weights,
    save_weights,
)

__all__ = [
    "MSDCNN",
    "NETWORKS",
    "PNN",
    "DCFNet",
    "DCFNetConfig",
    "DiCNN",
    "FusionNet",
    "PanNet",
    "PansharpeningNetwork",
    "build_network",
    "count_operations",
    "count_parameters",
    "load_released",
    "load_released_folder",
    "load_trained",
    "load_weights",
    "rebanded",
    "save_weights",
]
