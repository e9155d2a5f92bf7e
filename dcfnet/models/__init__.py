"""The networks: one signature, ``fused = model(pan, ms, lms)``."""

from dcfnet.models.base import PansharpeningNetwork
from dcfnet.models.compared import MSDCNN, PNN, DiCNN, FusionNet, PanNet
from dcfnet.models.cost import count_operations, count_parameters
from dcfnet.models.dcfnet import DCFNet, DCFNetConfig
from dcfnet.models.registry import NETWORKS, build_network
from dcfnet.models.weights import load_released, load_trained, load_weights, save_weights

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
    "load_trained",
    "load_weights",
    "save_weights",
]
