"""Figures of chapters: rows of pictures and maps, curves, bars, tables of numbers in colour.

Each draws one figure, or on ``axes`` that a chapter hands in, with the same letters and colours
everywhere; titles out of `dcfnet.show.style.STYLES` get their network's style.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from dcfnet.imagery.composite import SUPPLEMENT_QUANTILES, stretch
from dcfnet.show.style import STYLES, NetworkStyle
from dcfnet.training.history import History

# After Paul Tol, from dark to light: colour-blind readers tell them apart.
_FEW = ["#000000", "#004488", "#bb5566", "#44aa99", "#cc9922"]

Images = Mapping[str, npt.NDArray[Any] | Sequence[npt.NDArray[Any]]]


def show_images(
    images: Images,
    *,
    attribution: str = "",
    columns: int | None = None,
    width: float = 9.0,
) -> Figure:
    """Pictures in a row or grid, each under its title, at equal size.

    Args:
        images: Title to (H, W, 3) uint8, or (H, W) uint8 shown as grey.
        attribution: This and what follows as for `show_maps`.
        columns: How many stand beside each other.
        width: In inches.
    """
    return show_maps(
        images, cmap="gray", vmax=255, attribution=attribution, columns=columns, width=width
    )


def show_maps(
    maps: Images,
    *,
    label: str = "",
    rows: Sequence[str] = (),
    cmap: str = "magma",
    vmin: float | None = 0.0,
    vmax: float | None = None,
    pixels: bool = False,
    attribution: str = "",
    columns: int | None = None,
    width: float = 9.0,
    letters: float = 12.0,
) -> Figure:
    """Maps of numbers in a row or grid.

    Args:
        maps: Title to (H, W), or to one such map for each of ``rows``. A picture (H, W, 3) uint8
            may stand among them.
        label: What the numbers are, with their unit: all maps then share one scale, which stands
            beside them. Without it each map has its own.
        rows: What the rows are, if the titles are those of columns.
        cmap: A colour map that keeps its order in grey: viridis, magma, cividis or gray.
        vmin: Lower end of the scale; None for the smallest value.
        vmax: Upper end; None for the 99.5 % quantile.
        pixels: Whether axes count each map's own pixels.
        attribution: The scene's line, set small below.
        columns: How many stand beside each other; all by default.
        width: Width of the figure in inches.
        letters: Size of titles in points. A phone shows a figure half as wide as it is: 14 can be
            read there.
    """
    several = {title: list(each) if rows else [np.asarray(each)] for title, each in maps.items()}
    cells = [
        ("" if row else title, each[row])
        for row in range(len(rows) or 1)
        for title, each in several.items()
    ]
    columns = len(maps) if rows else columns or len(maps)
    h, w = cells[0][1].shape[:2]
    room = 0.8 if label else 0.0  # inches, for the scale
    count = -(-len(cells) // columns)
    above = letters / 30  # for titles, which stand over the first of several rows alone
    height = count * (width - room) / columns * h / w
    height += above + 0.1 * count if rows else above * count
    figure, grid = plt.subplots(
        count, columns, figsize=(width, height), squeeze=False, layout="constrained"
    )
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[], frame_on=False)
    for axes, row in zip(grid[:, 0], rows, strict=False):
        axes.set_ylabel(row, fontsize=letters)
    numbers = [values.ravel() for _, values in cells if values.ndim == 2]
    for axes, (title, values) in zip(grid.flat, cells, strict=False):
        compared = np.concatenate(numbers) if label else values
        low = float(np.nanmin(compared)) if vmin is None else vmin
        high = float(np.nanquantile(compared, 0.995)) if vmax is None else vmax
        high = max(high, low + 1e-12)  # a map may be 0 everywhere
        shown = axes.imshow(values, cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
        axes.set_title(title, fontsize=letters)
        if pixels:
            axes.set(
                xticks=[0, values.shape[1] - 1], yticks=[0, values.shape[0] - 1], frame_on=True
            )
            axes.tick_params(labelsize=7, length=2)
    if label:
        figure.colorbar(shown, ax=figure.axes, label=label, shrink=0.9, pad=0.01)
    if attribution:
        figure.supxlabel(attribution, x=0.995, ha="right", fontsize=7, color="0.35")
    return figure


def map_composite(maps: Sequence[npt.NDArray[np.floating]]) -> npt.NDArray[np.uint8]:
    """Three maps (h, w) as red, green and blue, each stretched to its own range.

    So the DCFNet supplement draws composites: (h, w, 3), in which nothing can be compared but
    places within a map.
    """
    stack = np.stack(maps)
    limits = np.quantile(stack, SUPPLEMENT_QUANTILES, axis=(1, 2)).T
    return stretch(stack, limits).transpose(1, 2, 0)


def curves(
    lines: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]],
    *,
    xlabel: str,
    ylabel: str,
    log: str = "",
    marks: bool = False,
    legend: bool = True,
    axes: Axes | None = None,
) -> Axes:
    """Curves, told apart by dashes or marks as well as by colour.

    Args:
        lines: Name to x and y. Where y is (3, n), its rows are the lower end, the middle and the
            upper end of a band.
        xlabel: What x is, with its unit.
        ylabel: What y is.
        log: Which axes are logarithmic: "x", "y" or "xy".
        marks: Whether the points are marked; the lines are then solid.
        legend: False leaves it out, where another panel of the figure has it.
        axes: Where to draw; a figure of its own unless given.
    """
    axes = axes or _axes(7, 3.2)
    for (name, (x, y)), style in zip(lines.items(), _styles(list(lines)), strict=True):
        y = np.asarray(y)
        if y.ndim == 2:
            axes.fill_between(x, y[0], y[2], color=style.colour, alpha=0.2)
            y = y[1]
        look: dict[str, Any] = {"linestyle": style.linestyle}
        if marks:
            look = {"marker": style.marker, "ms": 4}
        axes.plot(x, y, color=style.colour, label=name, **look)
    return _finish(axes, xlabel, ylabel, log, legend and len(lines) > 1)


def scatter(
    points: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]],
    *,
    xlabel: str,
    ylabel: str,
    log: str = "",
    legend: bool = True,
    axes: Axes | None = None,
) -> Axes:
    """One or several points for each name, most often a network. Args as for `curves`."""
    axes = axes or _axes(6.5, 3.6)
    for (name, (x, y)), style in zip(points.items(), _styles(list(points)), strict=True):
        axes.plot(x, y, style.marker, color=style.colour, ms=8, label=name)
    axes.margins(0.1)
    return _finish(axes, xlabel, ylabel, log, legend)


def bars(
    table: pd.DataFrame | pd.Series[float],
    *,
    xlabel: str,
    start: float = 0.0,
    log: str = "",
    numbers: str = "",
) -> Axes:
    """Horizontal bars: a group for each row of the table, a bar for each column.

    Args:
        table: The numbers; the names of its rows and columns are shown.
        xlabel: What they are.
        start: Where bars begin.
        log: "x" for a logarithmic axis.
        numbers: How the number beside each bar is written, such as ".2f"; none unless given.
    """
    frame = table.to_frame() if isinstance(table, pd.Series) else table
    thick = 0.8 / frame.shape[1]
    axes = _axes(7, 0.8 + (0.12 + 0.2 * frame.shape[1]) * len(frame))
    place = np.arange(len(frame))
    for k, ((name, values), style) in enumerate(
        zip(frame.items(), _styles([str(name) for name in frame]), strict=True)
    ):
        at = place + thick * (k - (frame.shape[1] - 1) / 2)
        drawn = axes.barh(
            at, values - start, 0.95 * thick, left=start, color=style.colour, label=name
        )
        if numbers:
            labels = [format(value, numbers) for value in values]
            axes.bar_label(drawn, labels, padding=3, fontsize="small")
    if frame.min(axis=None) < start < frame.max(axis=None):
        axes.axvline(start, color="0.3", linewidth=0.8)
    axes.set_yticks(place, list(frame.index))
    axes.invert_yaxis()
    axes.margins(x=0.1 if numbers else None)
    return _finish(axes, xlabel, "", log, frame.shape[1] > 1)


def intervals(samples: Mapping[str, npt.ArrayLike], *, xlabel: str) -> Axes:
    """For each name its values as strokes, their middle half as a line, their median as a dot."""
    axes = _axes(7, 0.8 + 0.3 * len(samples))
    for row, values in enumerate(samples.values()):
        low, middle, high = np.quantile(np.asarray(values), (0.25, 0.5, 0.75))
        axes.plot(values, np.full(np.size(values), row), "|", color="0.6", ms=9)
        axes.plot([low, high], [row, row], color="#0072b2", linewidth=3)
        axes.plot(middle, row, "o", color="black")
    axes.axvline(0, color="0.5", linewidth=1)
    axes.set_yticks(range(len(samples)), list(samples))
    axes.invert_yaxis()
    return _finish(axes, xlabel, "", "", False)


def matrix(
    table: pd.DataFrame,
    *,
    shades: pd.DataFrame | None = None,
    number: str = ".2f",
    axes: Axes | None = None,
) -> Axes:
    """A table whose cells are coloured by their numbers, dark for large ones.

    Args:
        table: The numbers that are written; the names of rows and columns are shown.
        shades: What the colours show, from 0 to the largest; the numbers unless given.
        number: How they are written.
        axes: Where to draw; a figure of its own unless given.
    """
    axes = axes or _axes(1.6 + 1.2 * table.shape[1], 0.7 + 0.4 * len(table))
    colours = np.asarray(table if shades is None else shades, float)
    axes.imshow(colours, cmap="cividis_r", aspect="auto", vmin=0, vmax=colours.max())
    for (row, column), value in np.ndenumerate(np.asarray(table, float)):
        ink = "white" if colours[row, column] > 0.55 * colours.max() else "black"
        axes.text(column, row, format(value, number), ha="center", va="center", color=ink)
    axes.set_xticks(range(table.shape[1]), list(table))
    axes.set_yticks(range(len(table)), list(table.index))
    return axes


def _axes(width: float, height: float) -> Axes:
    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def _finish(axes: Axes, xlabel: str, ylabel: str, log: str, legend: bool) -> Axes:
    for axis in log:
        axes.set(**{f"{axis}scale": "log"})
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        axes.legend(frameon=False)
    return axes


def _styles(names: Sequence[str]) -> list[NetworkStyle]:
    """Those of networks, else colours that keep their order in grey."""
    dashes = [(), (3, 2), (1, 2), (3, 2, 1, 2)]
    shades = [_FEW[k] for k in sorted((1, 4, 2, 3, 0)[: len(names)])]
    if len(names) > len(_FEW):
        shades = [to_hex(s) for s in colormaps["cividis"](np.linspace(0.05, 0.8, len(names)))]
    return [
        STYLES.get(name) or NetworkStyle(shades[k], dashes[k % len(dashes)], "os^Dv<>p"[k % 8])
        for k, name in enumerate(names)
    ]


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

        losses = {"training": "train_loss", "validation": "valid_loss"}
        lines = {name: (history["epoch"], history[loss]) for name, loss in losses.items()}
        figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
        curves(lines, xlabel="epoch", ylabel="mean squared error", log="y", axes=axes)
        axes.axvline(history.best_epoch() or 1, color="0.6", linestyle=":")  # the best so far
        plt.close(figure)
        if self._display is None:
            self._display = display(figure, display_id=True)
        else:
            self._display.update(figure)
        self._drawn = time.monotonic()
