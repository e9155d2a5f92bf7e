"""What a view carries: maps and bands in eight bits, so that pages stay small."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from bokeh.models import ColumnDataSource


def quantise(values: npt.ArrayLike) -> tuple[npt.NDArray[np.uint8], float, float]:
    """Eight bits from the least value (0) to the greatest (255).

    Returns:
        The codes, the least and the greatest value. The error is at most (high - low) / 510. What
        is constant gets 0, and a greatest value of 1 more, so that there is a scale to show.

    Raises:
        ValueError: Values are not finite.
    """
    array = np.asarray(values, np.float64)
    if not np.isfinite(array).all():
        raise ValueError("expected finite values; replace NaN and infinities first")
    low, high = float(array.min()), float(array.max())
    high = high if high > low else low + 1
    return np.rint((array - low) / ((high - low) / 255)).astype(np.uint8), low, high


def map_store(maps: Mapping[str, npt.ArrayLike]) -> ColumnDataSource:
    """Maps of any size that a view shows one at a time, in eight bits; panels.js reads them.

    Raises:
        ValueError: There is none, one is not (h, w), or one holds values that are not finite.
    """
    shapes = [np.shape(values) for values in maps.values()]
    if not shapes or any(len(shape) != 2 for shape in shapes):
        raise ValueError(f"expected maps of shape (h, w), got {shapes or 'none'}")
    coded = [quantise(values) for values in maps.values()]
    codes, low, high = map(list, zip(*coded, strict=True))
    return ColumnDataSource({"keys": list(maps), "codes": codes, "low": low, "high": high})


def cube(bands: npt.NDArray[np.uint8]) -> ColumnDataSource:
    """Bands (C, H, W), of which a panel shows three as red, green and blue."""
    return ColumnDataSource({"cube": [np.ascontiguousarray(bands)]})
