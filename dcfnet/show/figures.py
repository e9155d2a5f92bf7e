"""Figures 2 and 3 of the supplement: class activation maps inside the fusion and the PCFT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dcfnet.imagery.composite import composite
from dcfnet.imagery.wald import Sample
from dcfnet.inside.cams import Hook, PatchCams, Relu, fusion_parts, pcft_parts
from dcfnet.networks import DCFNet
from dcfnet.show.plots import count_pixels, credit

__all__ = ["fusion_figure", "pcft_figure"]


def fusion_figure(
    model: DCFNet,
    found: PatchCams,
    sample: Sample,
    band: int,
    *,
    hook: Hook = "arrives",
    relu: Relu = "after",
    shared: bool = True,
    limits: np.ndarray | None = None,
) -> Figure:
    """Figure 2: the last dynamic fusion. Targets are rows, sources columns.

    Each cell has a feature map, a class activation map below it, and the learned share a_ij. The
    last column holds the fused branches; beneath stand the patch and the concatenation.

    Args:
        model: The network that was looked at.
        found: Its maps in this patch.
        sample: The patch.
        band: Whose maps, from 0.
        hook: The transfer as it arrives at its target, or its last convolution.
        relu: After the sum over channels, or before it.
        shared: One scale for all feature maps and one for all maps; else each has its own, and
            none can be compared with another.
        limits: Of the composites, from `band_limits`; of this patch unless given.
    """
    grid = fusion_parts(model, hook)
    below = [("concatenation", "head.concat")]
    return _draw(found, grid, below, sample, band, relu, shared, limits)


def pcft_figure(
    model: DCFNet,
    found: PatchCams,
    sample: Sample,
    band: int,
    *,
    relu: Relu = "after",
    shared: bool = True,
    limits: np.ndarray | None = None,
) -> Figure:
    """Figure 3: the second PCFT. What enters it, its steps, what it makes, the branches beside it.

    Args as for `fusion_figure`.

    Raises:
        ValueError: The network has no second PCFT.
    """
    grid = [list(row) for row in pcft_parts(model)]
    return _draw(found, grid, [], sample, band, relu, shared, limits)


def _draw(
    found: PatchCams,
    grid: Sequence[Sequence[tuple[str, str] | None]],
    below: Sequence[tuple[str, str]],
    sample: Sample,
    band: int,
    relu: Relu,
    shared: bool,
    limits: np.ndarray | None,
) -> Figure:
    """Feature maps over class activation maps in a grid, the patch in two composites last."""
    last = list(grid[-1]) if not below else list(below)
    rows = [*([list(row) for row in grid] if below else [list(row) for row in grid[:-1]]), last]
    cells = [cell for row in rows for cell in row if cell]
    feature = {part: found.features(part) for _, part in cells}
    cam = {part: 1e6 * found.map(part, band, relu) for _, part in cells}
    tops = [
        float(np.quantile(np.concatenate([v.ravel() for v in maps.values()]), 0.995))
        for maps in (feature, cam)
    ]
    low = min(0.0, min(float(np.quantile(values, 0.005)) for values in feature.values()))
    columns = 4
    figure = plt.figure(figsize=(9, 3.8 * len(rows)), layout="constrained")
    axes = figure.subplots(2 * len(rows), columns)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[], frame_on=False)
    shown: list[Any] = [None, None]
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            if cell is None:
                continue
            title, part = cell
            for k, (maps, cmap, bottom) in enumerate(
                ((feature, "viridis", low), (cam, "magma", 0))
            ):
                own = not shared
                shown[k] = axes[2 * i + k, j].imshow(
                    maps[part],
                    cmap=cmap,
                    vmin=None if own and k == 0 else bottom,
                    vmax=max(float(np.quantile(maps[part], 0.995)) if own else tops[k], 1e-12),
                    interpolation="nearest",
                )
                count_pixels(axes[2 * i + k, j], maps[part].shape)
            axes[2 * i, j].set_title(title, fontsize=9)
        axes[2 * i, 0].set_ylabel("feature map", fontsize=8)
        axes[2 * i + 1, 0].set_ylabel("map", fontsize=8)
    _composites(axes[-2:, columns - 1], sample, limits)
    if shared:
        bars = (
            "feature map (mean of A)",
            f"map of band {band + 1}, {sample.sensor.bands[band]} (millionths)",
        )
        for mappable, label in zip(shown, bars, strict=True):
            figure.colorbar(
                mappable, ax=axes, label=label, location="bottom", shrink=0.5, pad=0.01, aspect=40
            )
    credit(figure, sample.attribution)
    return figure


def _composites(axes: Sequence[Axes], sample: Sample, limits: np.ndarray | None) -> None:
    image, sensor = sample.lms if sample.gt is None else sample.gt, sample.sensor
    for axis, bands, title in zip(
        axes, (sensor.rgb_135, None), ("bands 5, 3, 1", "natural colour"), strict=True
    ):
        axis.imshow(composite(image, sensor, bands, limits), interpolation="nearest")
        axis.set_title(title, fontsize=9)
        count_pixels(axis, image.shape[1:])
