"""Means, covariances and least squares over pixels that arrive in pieces.

A fusion method of the classical kind measures a few numbers over the whole scene, then computes
each pixel from its neighbourhood. So it can fuse a scene of any size tile by tile, with the same
result as in one piece.
"""

from collections.abc import Iterable

import numpy as np
from scipy.ndimage import minimum_filter

from dcfnet.errors import DataError
from dcfnet.imagery.filters import coarse_mask
from dcfnet.imagery.regions import Window
from dcfnet.imagery.wald import Sample

Tile = tuple[Sample, Window]
"""A part of a scene with the ground around it, and the window of its own ground in it."""

MARGIN = 120
"""PAN pixels around a tile's own ground that make its statistics those of the whole scene."""

REACH = 8
"""Pixels of either grid this near to pixels without data are not counted: filters mix them."""

_ROWS = 1 << 16  # of a matrix at a time: what a processor's cache holds


class Statistics:
    """What can be said of columns of numbers once all their rows have been seen.

    Kept is the triangle R of the QR decomposition of (1, columns). Means, covariances and every
    least-squares problem among the columns follow from it, as exactly as from the rows
    themselves; from sums of products they would follow with half the digits.
    """

    def __init__(self) -> None:
        self.count = 0
        self._triangle: np.ndarray | None = None

    def add(self, images: Iterable[np.ndarray], tile: Tile) -> np.ndarray:
        """One row for each pixel with data on the tile's own ground: (pixels, columns).

        Images, (H, W), are the columns, all on the tile's fine grid or all on its coarse one.
        """
        sample, window = tile
        columns = np.stack([np.asarray(image, np.float64) for image in images])
        ratio = sample.shape[0] // columns.shape[1]
        mask = coarse_mask(sample.mask, ratio)
        mask = minimum_filter(mask, 2 * REACH + 1, mode="nearest")
        own = tuple(slice(s.start // ratio, s.stop // ratio) for s in window)
        rows = columns[:, *own][:, mask[own]].T
        self.count += len(rows)
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            part = np.column_stack([np.ones(len(part)), part])
            if self._triangle is not None:
                part = np.vstack([self._triangle, part])
            self._triangle = np.asarray(np.linalg.qr(part, mode="r"))
        return rows

    @property
    def triangle(self) -> np.ndarray:
        """R, its first column that of the constant 1.

        Raises:
            DataError: Not a single row was counted.
        """
        if self._triangle is None:
            raise DataError(
                f"no pixel has data and lies more than {REACH} pixels from all that have none: "
                "expected a scene to measure; use a larger part of it"
            )
        return self._triangle

    @property
    def factor(self) -> np.ndarray:
        """Few rows in place of all: least squares among its columns has the same solution."""
        return self.triangle[:, 1:]

    @property
    def centred(self) -> np.ndarray:
        """The same for columns minus their means; exactly 0 for those that do not vary."""
        varying = np.linalg.norm(self.triangle[1:, 1:], axis=0)
        rounding = 1e-12 * np.linalg.norm(self.factor, axis=0)
        return self.triangle[1:, 1:] * (varying > rounding)

    @property
    def mean(self) -> np.ndarray:
        """Of each column."""
        return self.triangle[0, 1:] / self.triangle[0, 0]

    @property
    def cov(self) -> np.ndarray:
        """Covariances of the columns, with the number of rows as divisor."""
        return self.centred.T @ self.centred / self.count

    @property
    def std(self) -> np.ndarray:
        """Of each column."""
        return np.sqrt(np.diag(self.cov))
