"""A scene: MS and PAN of one place, seen at one time by one sensor."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from affine import Affine

from dcfnet.errors import DataError
from dcfnet.sensors import Sensor

__all__ = ["Scene"]


@dataclass(frozen=True)
class Scene:
    """MS and PAN of one place.

    Attributes:
        ms: Multispectral image, (C, h, w) uint16, digital numbers.
        pan: Panchromatic image of the same ground, (ratio h, ratio w) uint16.
        sensor: The imager.
        mask: (h, w) bool, True where there is data.
        transform: Affine transform from PAN pixel (column, row) to map coordinates, or None.
        crs: Coordinate reference system as a string (an EPSG code or WKT), or None.
        attribution: The line that every figure of this scene carries.
        name: What it is called.
        truth: What the sensor would have seen with MS pixels as small as PAN's,
            (C, ratio h, ratio w) float32; only a simulated scene knows it.
    """

    ms: np.ndarray
    pan: np.ndarray
    sensor: Sensor
    mask: np.ndarray
    transform: Affine | None = None
    crs: str | None = None
    attribution: str = ""
    name: str = ""
    truth: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        c, h, w = self.ms.shape
        r = self.sensor.ratio
        if c != self.sensor.n_bands:
            raise DataError(
                f"MS has {c} bands, but {self.sensor.title} has {self.sensor.n_bands} "
                f"({', '.join(self.sensor.bands)}); pass the sensor that took the image"
            )
        if self.pan.shape != (r * h, r * w):
            raise DataError(
                f"PAN is {self.pan.shape[0]} x {self.pan.shape[1]} pixels, expected "
                f"{r * h} x {r * w}: {r} times MS ({h} x {w}); crop both to the same ground"
            )
