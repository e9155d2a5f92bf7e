"""Bands that lie a fraction of a pixel from where they should are moved there."""

import math
from collections.abc import Callable

import numpy as np
from scipy.ndimage import shift

from dcfnet.imagery.filters import filled
from dcfnet.imagery.regions import Window

REACH = 12
"""Pixels around a window that fifth-order splines look at; what lies beyond counts for 1e-4."""


def shifted(image: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Each band of (C, H, W) moved by its own step (C, 2), down and right, by quintic splines."""
    bands = zip(np.asarray(image, np.float64), steps, strict=True)
    return np.stack([shift(band, step, order=5, mode="nearest") for band, step in bands])


def read_moved(
    read: Callable[[slice, slice], tuple[np.ndarray, np.ndarray]],
    window: Window,
    shape: tuple[int, int],
    steps: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """A window of an image of that shape, of which each band is moved as by `shifted`.

    The image as it is, and its mask, are read as far as splines look.

    Returns:
        (C, h, w) whole numbers of the same type, and (h, w) bool, True where there is data for
        every band.
    """
    wide, inner = window.within(REACH + math.ceil(np.abs(steps).max()), shape)
    image, mask = read(*wide)
    moved = shifted(filled(image, mask), steps)[:, *inner]
    whole = [shift(mask, np.rint(step), order=0, mode="nearest") for step in steps]
    data = np.all(whole, axis=0)[inner]
    largest = image.max(initial=0)  # splines overshoot
    return np.where(data, np.clip(np.rint(moved), 1, largest), 0).astype(image.dtype), data
