"""A scene whose bands are moved onto PAN as they are read."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dcfnet.imagery.moved import read_moved
from dcfnet.imagery.source import Source


class AlignedSource:
    """A scene read window by window, each band moved by a fraction of a pixel onto PAN.

    Args:
        source: Where the bands lie beside PAN.
        places: From `dcfnet.imagery.registration.displacements` of the same scene.
    """

    def __init__(self, source: Source, places: pd.DataFrame) -> None:
        self.source, self.sensor, self.shape = source, source.sensor, source.shape
        self.steps = -places[["down", "right"]].to_numpy() / self.sensor.ratio

    def read_ms(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        """As of `Source`."""
        return read_moved(self.source.read_ms, rows, cols, self.shape, self.steps)

    def read_pan(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        """As of `Source`."""
        return self.source.read_pan(rows, cols)
