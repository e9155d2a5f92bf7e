"""Figures 2 and 3 of the supplement: class activation maps inside the fusion and the PCFT.

`look` is the data side: one forward pass, one backward pass for each band, every part of the
network. `fusion_figure` and `pcft_figure` draw what it found; `part_table` has its numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dcfnet.imagery.composite import composite
from dcfnet.imagery.wald import Sample
from dcfnet.inside.gradcam import GradCAM, LayerMaps, Region
from dcfnet.networks import DCFNet
from dcfnet.show.plots import count_pixels, credit

__all__ = [
    "Look",
    "fusion_figure",
    "look",
    "part_table",
    "pcft_figure",
    "pcft_parts",
    "pictured",
    "transfer_part",
]

Relu = Literal["after", "before"]
Hook = Literal["arrives", "last convolution"]

PLACES = {"roof": (0.125, 0.42), "car park": (0.356, 0.04), "trees": (0.846, 0.33)}
"""What the chapters look at: fractions of the test region's height and width."""


@dataclass(frozen=True, eq=False)
class Look:
    """What Grad-CAM finds in a patch, for every band.

    Attributes:
        fused: The fused patch, (C, H, W), in [0, 1].
        parts: By the part's name, its activations and the alpha of each band: `LayerMaps` with
            one y^c for each band, B = 1.
    """

    fused: np.ndarray
    parts: Mapping[str, LayerMaps]

    def features(self, part: str) -> np.ndarray:
        """A part's feature map: the mean over its channels, (h, w)."""
        return self.parts[part].features[0].cpu().numpy()

    def signed(self, part: str, band: int) -> np.ndarray:
        """Sum over k of alpha_k A^k at a part, (h, w)."""
        return self.parts[part].signed[band, 0].cpu().numpy()

    def map(self, part: str, band: int, relu: Relu = "after") -> np.ndarray:
        """A part's class activation map for a band, (h, w), at least 0."""
        return self.parts[part].map(relu)[band, 0].cpu().numpy()


def look(
    model: DCFNet,
    sample: Sample,
    parts: Iterable[str] | None = None,
    region: Region = None,
) -> Look:
    """Grad-CAM once on a patch: all parts from one forward pass, all bands.

    Args:
        model: The network.
        sample: The patch.
        parts: Names out of ``model.parts()``; all that depend on learned layers unless given.
        region: Where a band is averaged, see `GradCAM.maps`; the whole patch unless given.

    Raises:
        ValueError: A part or the region does not exist.
    """
    if parts is None:  # interpolating MS is no step of the network's own
        parts = [name for name in model.parts() if name != "pcft1.ms_up"]
    with GradCAM(model, parts) as cam:
        fused = cam(*sample.inputs(next(model.parameters())))
        maps = cam.maps(region=region)
    return Look(fused=fused[0].cpu().numpy(), parts=maps)


def pictured(test: Sample, size: int = 64) -> dict[str, Sample]:
    """The three test patches that the chapters look at.

    They lie at places given as fractions of the region, so that scenes of any size have them.

    Args:
        test: The test region of a scene. On scenes other than Longmont, where the same places
            show other things, the patches are merely numbered.
        size: Their side, a multiple of 4.

    Returns:
        Name to patch.

    Raises:
        ValueError: The region is smaller than a patch.
    """

    def cut(length: int, fraction: float) -> slice:
        if length < size:
            raise ValueError(f"a region of {length} pixels holds no patch of {size}")
        first = min(round(fraction * length / 4) * 4, (length - size) // 4 * 4)
        return slice(first, first + size)

    names = PLACES if test.name == "wv3-longmont" else [f"patch {i}" for i in (1, 2, 3)]
    return {
        name: test.crop(*map(cut, test.shape, place))
        for name, place in zip(names, PLACES.values(), strict=True)
    }


def transfer_part(source: int, target: int, hook: Hook = "arrives", stage: int = 3) -> str:
    """The name of a transfer, or of its last convolution; the identity has no convolution.

    Raises:
        ValueError: ``hook`` is neither.
    """
    if hook not in ("arrives", "last convolution"):
        raise ValueError(f'hook must be "arrives" or "last convolution", got {hook!r}')
    name = f"stage{stage}.fusion.transfers.{source}_to_{target}"
    return name if hook == "arrives" or source == target else f"{name}.last.conv"


def part_table(
    found: Look, parts: Mapping[str, str], band: int, relu: Relu = "after"
) -> list[dict[str, float | str]]:
    """The numbers of a figure's parts.

    Args:
        found: From `look`.
        parts: Title to name.
        band: Whose map, from 0.
        relu: See `LayerMaps.map`.

    Returns:
        For each part ``title``, ``part``, ``pixels`` (the side of its map), ``feature`` (mean of A
        over channels and pixels), ``map`` (mean of the map), ``signed`` (mean before the ReLU,
        both in millionths) and ``zero`` (share of the map's pixels that are 0).
    """
    rows = []
    for title, part in parts.items():
        shown = found.map(part, band, relu)
        rows.append(
            {
                "title": title,
                "part": part,
                "pixels": shown.shape[0],
                "feature": float(found.features(part).mean()),
                "map": 1e6 * float(shown.mean()),
                "signed": 1e6 * float(found.signed(part, band).mean()),
                "zero": float((shown == 0).mean()),
            }
        )
    return rows


def fusion_figure(
    model: DCFNet,
    found: Look,
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
        found: From `look`, of this patch.
        sample: The patch.
        band: Whose maps, from 0.
        hook: The transfer as it arrives at its target, or its last convolution.
        relu: After the sum over channels, or before it.
        shared: One scale for all feature maps and one for all maps; else each has its own, and
            none can be compared with another.
        limits: Of the composites, from `band_limits`; of this patch unless given.
    """
    n = len(model.channels)
    shares = model.stage3.fusion.shares().detach().cpu().numpy()
    grid: list[list[tuple[str, str] | None]] = []
    for i in range(n):
        row: list[tuple[str, str] | None] = [
            (f"T{i}{j}, a = {shares[i, j]:.3f}", transfer_part(j, i, hook))
            if f"{j}_to_{i}" in model.stage3.fusion.transfers
            else None
            for j in range(n)
        ]
        grid.append([*row, (f"fused branch {i}", f"stage3.fusion.fused.{i}")])
    below = [("concatenation", "head.concat")]
    return _draw(found, grid, below, sample, band, relu, shared, limits)


def pcft_figure(
    model: DCFNet,
    found: Look,
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


def pcft_parts(model: DCFNet) -> list[list[tuple[str, str]]]:
    """The rows of Figure 3, each a list of titles and names: entering, steps, the branches.

    Raises:
        ValueError: The network has no second PCFT.
    """
    if model.pcft2.plain:
        raise ValueError("this network was built without its second PCFT: there is none to show")
    positive = model.pcft2.pair.detach().relu()
    a, b = (positive / (positive.sum() + 1e-4)).tolist()
    return [
        [
            ("x0 enters", "stage2.branches.0"),
            ("x1 enters", "stage2.branches.1"),
            ("x0 at half size", "pcft2.down0"),
            ("s = x1 + that", "pcft2.cross"),
        ],
        [
            ("s at half size", "pcft2.down_cross"),
            (f"u, with MS; b = {b:.3f}", "pcft2.channel_fusion"),
            (f"v from x1; a = {a:.3f}", "pcft2.down1"),
            ("branch 2 = a v + b u", "pcft2"),
        ],
        [
            ("branch 0 beside it", "stage2.fusion.fused.0"),
            ("branch 1 beside it", "stage2.fusion.fused.1"),
        ],
    ]


def _draw(
    found: Look,
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
