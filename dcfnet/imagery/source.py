"""A scene of any size, in memory or in files, that is read window by window."""

from typing import Protocol

import numpy as np
import pandas as pd

from dcfnet.imagery.filters import coarse_mask, filled
from dcfnet.imagery.moved import read_moved
from dcfnet.imagery.regions import Window
from dcfnet.imagery.scene import Scene
from dcfnet.imagery.sensors import Sensor
from dcfnet.imagery.wald import Sample, reduce_resolution

MARGIN = 56
"""MS pixels around a window that Wald's protocol looks at: 20 for the MTF, 36 to interpolate."""


class Source(Protocol):
    """A scene that is read window by window, MS and PAN each with a mask of where there is data.

    Its shape is rows and columns of MS.
    """

    shape: tuple[int, int]
    sensor: Sensor

    def read_ms(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        """MS (C, h, w) and mask (h, w) of a window of MS pixels."""

    def read_pan(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        """PAN (ratio h, ratio w) and its mask, of the same ground: a window of MS pixels."""


class SceneSource:
    """A scene in memory as a source of tiles."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.sensor, self.shape = scene, scene.sensor, scene.mask.shape

    def read_ms(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:  # noqa: D102
        return self.scene.ms[:, rows, cols], self.scene.mask[rows, cols]

    def read_pan(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:  # noqa: D102
        pan = self.scene.pan[Window(rows, cols).times(self.sensor.ratio)]
        return pan, pan != 0


class AlignedSource:
    """A scene read window by window, each band moved onto PAN, by its displacements.

    These are from `dcfnet.imagery.registration.displacements`.
    """

    def __init__(self, source: Source, places: pd.DataFrame) -> None:
        self.source, self.sensor, self.shape = source, source.sensor, source.shape
        self.read_pan = source.read_pan
        self.steps = -places[["down", "right"]].to_numpy() / self.sensor.ratio

    def read_ms(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:  # noqa: D102
        return read_moved(self.source.read_ms, Window(rows, cols), self.shape, self.steps)


def reduced_window(source: Source, window: Window) -> Sample:
    """Wald's protocol for a window of MS pixels: no more than that and a margin is read.

    The window's borders are multiples of the ratio. Pixels without data are filled from their
    surroundings first. The result is that of the whole scene, but along the scene's border, where
    `exp_upsample` goes round: there it goes round the part.
    """
    r = source.sensor.ratio
    wide, inner = window.within(MARGIN, tuple(size // r * r for size in source.shape))
    ms, mask = source.read_ms(*wide)
    pan, seen = source.read_pan(*wide)
    mask = mask & coarse_mask(seen, r)
    scene = Scene(filled(ms, mask), filled(pan, seen), source.sensor, mask)
    return reduce_resolution(scene).crop(*inner)
