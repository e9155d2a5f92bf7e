"""A package and a book that open up DCFNet, a network for pansharpening."""

from dcfnet.errors import DataError
from dcfnet.scenes import Scene, load_scene
from dcfnet.sensors import WV2, WV3, Sensor

__all__ = ["WV2", "WV3", "DataError", "Scene", "Sensor", "load_scene"]
