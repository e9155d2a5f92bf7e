from . import fusion, imagery, inside, measure, networks, show, training
from .errors import DataError
from .fusion.tiled import fuse_scene
from .imagery.catalogue import load_scene
from .imagery.scene import Scene
from .imagery.sensors import WV2, WV3, Sensor
from .inside.gradcam import GradCAM
from .networks.registry import build_network
from .networks.weights import load_released, load_trained
from .training.loop import fit
from .training.runs import History

__all__ = [
    "WV2",
    "WV3",
    "DataError",
    "GradCAM",
    "History",
    "Scene",
    "Sensor",
    "build_network",
    "fit",
    "fuse_scene",
    "fusion",
    "imagery",
    "inside",
    "load_released",
    "load_scene",
    "load_trained",
    "measure",
    "networks",
    "show",
    "training",
]
