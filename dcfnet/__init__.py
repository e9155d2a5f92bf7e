"""A package and a book that open up DCFNet, a network for pansharpening."""

from dcfnet.errors import DataError
from dcfnet.gradcam import GradCAM
from dcfnet.models import build_network, load_released, load_trained
from dcfnet.scenes import Scene, load_scene
from dcfnet.sensors import WV2, WV3, Sensor

__all__ = [
    "WV2",
    "WV3",
    "DataError",
    "GradCAM",
    "Scene",
    "Sensor",
    "build_network",
    "load_released",
    "load_scene",
    "load_trained",
]
