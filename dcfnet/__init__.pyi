from . import fusion, imagery, inside, measure, networks, paths, show, training
from .errors import DataError
from .fusion.adapt import adapt
from .fusion.tiled import fuse_scene
from .imagery.catalogue import load_scene
from .imagery.regions import Window
from .imagery.scene import Scene, open_scene
from .imagery.sensors import WV2, WV3, Sensor
from .imagery.wald import Sample, full_resolution, reduce_resolution
from .inside.gradcam import GradCAM
from .measure.metrics import evaluate
from .networks.one_pass import fuse
from .networks.registry import build_network
from .networks.weights import load_released, load_trained
from .training.history import History
from .training.loop import fit
from .training.plan import Plan

__all__ = [
    "WV2",
    "WV3",
    "DataError",
    "GradCAM",
    "History",
    "Plan",
    "Sample",
    "Scene",
    "Sensor",
    "Window",
    "adapt",
    "build_network",
    "evaluate",
    "fit",
    "full_resolution",
    "fuse",
    "fuse_scene",
    "fusion",
    "imagery",
    "inside",
    "load_released",
    "load_scene",
    "load_trained",
    "measure",
    "networks",
    "open_scene",
    "paths",
    "reduce_resolution",
    "show",
    "training",
]
