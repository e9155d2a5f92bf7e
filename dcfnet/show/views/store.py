"""What a view carries: many maps in one column of data, in eight bits, so that pages stay small."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from bokeh.models import ColumnDataSource

__all__ = ["cube", "map_store", "pack", "plain", "quantise", "two_sided"]

Coded = tuple[npt.NDArray[Any], float, float]


def quantise(values: npt.ArrayLike) -> Coded:
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


def two_sided(values: npt.ArrayLike) -> Coded:
    """Eight bits about zero: 127 steps lead to the maximum and as many to the minimum.

    A map of small positive and large negative values so keeps its positive half, which is all that
    the ReLU leaves. The error is at most 1/254 of the extreme on that side.
    """
    values, low, high = plain(values)
    up, down = np.maximum(values, 0) / (high or 1.0), np.minimum(values, 0) / (-low or 1.0)
    return np.rint(127 * (up + down)).astype(np.int8), low, high


def plain(values: npt.ArrayLike) -> Coded:
    """The values themselves, and their extremes: those on the other side of zero count as zero."""
    array = np.asarray(values)
    return array, min(0.0, float(array.min())), max(0.0, float(array.max()))


def pack(
    maps: Mapping[str, npt.ArrayLike], code: Callable[[npt.ArrayLike], Coded] = quantise
) -> dict[str, list[Any]]:
    """Maps of any size as the columns of one source of data; ``pick`` in panels.js reads them.

    Args:
        maps: Name to map, (h, w).
        code: `quantise`, `two_sided` or `plain`. The page tells them apart by the type of the
            codes: unsigned bytes, signed bytes, other numbers.
    """
    coded = [code(values) for values in maps.values()]
    return {
        "keys": [list(maps)],
        "codes": [np.concatenate([codes.ravel() for codes, _, _ in coded])],
        "shapes": [np.array([codes.shape for codes, _, _ in coded], np.int32).ravel()],
        "low": [np.array([low for _, low, _ in coded])],
        "high": [np.array([high for _, _, high in coded])],
    }


def map_store(maps: Mapping[str, npt.ArrayLike]) -> ColumnDataSource:
    """Maps that a view shows one at a time, each in eight bits.

    Raises:
        ValueError: There is none, one is not (h, w), or one holds values that are not finite.
    """
    shapes = [np.shape(values) for values in maps.values()]
    if not shapes or any(len(shape) != 2 for shape in shapes):
        raise ValueError(f"expected maps of shape (h, w), got {shapes or 'none'}")
    return ColumnDataSource(pack(maps))


def cube(bands: npt.NDArray[np.uint8]) -> ColumnDataSource:
    """Bands (C, H, W), of which a panel shows three as red, green and blue."""
    return ColumnDataSource({"cube": [np.ascontiguousarray(bands)]})
