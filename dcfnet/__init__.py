"""A package and a book that open up DCFNet, a network for pansharpening."""

from typing import TYPE_CHECKING, Any

from dcfnet.errors import DataError
from dcfnet.gradcam import GradCAM
from dcfnet.models import build_network, load_released, load_trained
from dcfnet.scenes import Scene, load_scene
from dcfnet.sensors import WV2, WV3, Sensor

if TYPE_CHECKING:
    from dcfnet.fuse import fuse_scene
    from dcfnet.runs import History
    from dcfnet.training import fit

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
    "load_released",
    "load_scene",
    "load_trained",
]


def __getattr__(name: str) -> Any:
    # The trainer's libraries take seconds to import, and few readers train.
    if name == "fit":
        from dcfnet.training import fit

        return fit
    if name == "fuse_scene":
        from dcfnet.fuse import fuse_scene

        return fuse_scene
    if name == "History":
        from dcfnet.runs import History

        return History
    raise AttributeError(f"module 'dcfnet' has no attribute {name!r}")
