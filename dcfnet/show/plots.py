"""Pictures for print: rows of images, error maps; and the curve of a training."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dcfnet.training.history import History

__all__ = [
    "LiveCurve",
    "show_images",
    "show_maps",
]


def radial_spectrum(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How strongly an image varies at each spatial frequency, averaged over directions.

    Args:
        image: (H, W). A Hann window keeps its borders from counting as edges.

    Returns:
        frequency: Cycles per pixel, above 0 and up to 0.5.
        power: Mean squared magnitude of the Fourier transform there.
    """
    h, w = image.shape
    tapered = (image - image.mean()) * np.hanning(h)[:, None] * np.hanning(w)
    power = np.abs(np.fft.fft2(tapered)) ** 2
    radius = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.fftfreq(w))
    steps = min(h, w) // 2
    ring = np.rint(radius * 2 * steps).astype(int)
    total, count = (np.bincount(ring.ravel(), x)[1 : steps + 1] for x in (power.ravel(), None))
    return np.arange(1, steps + 1) / (2 * steps), total / count


def _grid(
    images: Mapping[str, np.ndarray], columns: int | None, width: float, room: float = 0.0
) -> tuple[Figure, Iterator[tuple[Axes, np.ndarray]]]:
    """A figure with one frame per image, and each frame with its image.

    ``room`` inches of the width are left for a colour scale.
    """
    columns = columns or len(images)
    rows = -(-len(images) // columns)
    h, w = next(iter(images.values())).shape[:2]
    height = rows * ((width - room) / columns * h / w + 0.3)
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, height), squeeze=False, layout="constrained"
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, title in zip(axes.flat, images, strict=False):
        axis.set_title(title, fontsize=9)
    return figure, zip(axes.flat, images.values(), strict=False)


def _credit(figure: Figure, attribution: str) -> None:
    if attribution:
        figure.text(0.995, 0.005, attribution, ha="right", va="bottom", fontsize=7, color="0.35")


def show_images(
    images: Mapping[str, np.ndarray],
    *,
    attribution: str = "",
    columns: int | None = None,
    width: float = 9.0,
) -> Figure:
    """Pictures in a row or grid, each under its title, at equal size.

    Args:
        images: Title to (H, W, 3) uint8, or (H, W) uint8 shown as grey.
        attribution: The scene's line, set small below.
        columns: How many stand beside each other; all by default.
        width: Width of the figure in inches.

    Returns:
        The figure.
    """
    figure, frames = _grid(images, columns, width)
    for axis, image in frames:
        axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    _credit(figure, attribution)
    return figure


def show_maps(
    maps: Mapping[str, np.ndarray],
    *,
    label: str,
    cmap: str = "magma",
    vmin: float | None = 0.0,
    vmax: float | None = None,
    attribution: str = "",
    columns: int | None = None,
    width: float = 9.0,
) -> Figure:
    """Maps of numbers in a row or grid, under one colour scale.

    Args:
        maps: Title to (H, W).
        label: What the numbers are, with their unit; stands beside the scale.
        cmap: A colour map that keeps its order in grey: viridis, magma, cividis or gray.
        vmin: Lower end of the scale; None for the smallest value of all maps.
        vmax: Upper end; None for the 99.5 % quantile of all maps.
        attribution: The scene's line, set small below.
        columns: How many stand beside each other; all by default.
        width: Width of the figure in inches.

    Returns:
        The figure.
    """
    values = np.concatenate([np.ravel(values) for values in maps.values()])
    vmin = float(np.nanmin(values)) if vmin is None else vmin
    vmax = float(np.nanquantile(values, 0.995)) if vmax is None else vmax
    figure, frames = _grid(maps, columns, width, room=0.8)
    for axis, image in frames:
        shown = axis.imshow(image, cmap=cmap, vmin=vmin, vmax=vmax, interpolation="nearest")
    figure.colorbar(shown, ax=figure.axes, label=label, shrink=0.9, pad=0.01)
    _credit(figure, attribution)
    return figure


class LiveCurve:
    """Draws training and validation loss while `dcfnet.fit` runs in a notebook.

    Example:
        >>> fit(model, train, valid, epochs=20, on_epoch=LiveCurve())  # doctest: +SKIP

    Args:
        seconds: Draw anew at most this often, and at the end.
    """

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self._drawn = -math.inf
        self._display: Any = None

    def __call__(self, history: History) -> None:
        """What `fit` calls after every epoch."""
        if time.monotonic() - self._drawn < self.seconds and not history.stopped:
            return
        from IPython.display import display

        figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
        axes.semilogy(history["epoch"], history["train_loss"], label="training", color="0.6")
        axes.semilogy(history["epoch"], history["valid_loss"], label="validation", color="tab:blue")
        axes.axvline(history.best_epoch(), color="0.8", linestyle=":", label="best epoch")
        axes.set(xlabel="epoch", ylabel="mean squared error")
        axes.legend()
        plt.close(figure)
        if self._display is None:
            self._display = display(figure, display_id=True)
        else:
            self._display.update(figure)
        self._drawn = time.monotonic()
