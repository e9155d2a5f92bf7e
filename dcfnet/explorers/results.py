"""Fused images and their errors, two at a time, moved and zoomed together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from bokeh.layouts import column
from bokeh.models import CustomJS, LayoutDOM, LinearColorMapper, Select
from matplotlib import colormaps

from dcfnet.explorers.panels import (
    PALETTES,
    _composite_panel,
    _scale,
    _titled,
    _when_shown,
    controls,
    side_by_side,
)

__all__ = ["two_results"]


def two_results(
    pictures: Mapping[str, npt.NDArray[np.uint8]],
    errors: Mapping[str, npt.NDArray[np.floating]],
    *,
    unit: str,
    limit: float | None = None,
    first: str | None = None,
    second: str | None = None,
    max_width: int = 360,
) -> LayoutDOM:
    """Two methods beside each other, each as a picture or as a map of its error.

    Args:
        pictures: Method to its composite, (H, W, 3) uint8, all under one stretch.
        errors: Method to its error, (H, W), at least 0; methods without one, such as the truth,
            are offered as pictures alone.
        unit: Of the errors.
        limit: What the brightest colour of the error maps stands for; by default the 99.5 %
            quantile of all of them. All maps share the scale.
        first: What is seen at the left, the first method unless given.
        second: What is seen at the right, the last method unless given.
        max_width: Each image grows with the page up to this width, in pixels.

    Returns:
        The layout. Both images move and zoom together.

    Raises:
        ValueError: The images differ in shape, or a method is named that has no picture.
    """
    names = list(pictures)
    shapes = {image.shape[:2] for image in (*pictures.values(), *errors.values())}
    if len(shapes) != 1:
        raise ValueError(f"images of one size are compared, got sizes {sorted(shapes)}")
    chosen = (first or names[0], second or names[-1])
    for name in (*chosen, *errors):
        if name not in pictures:
            raise ValueError(f"there is no picture of {name!r}, only of {', '.join(names)}")
    if limit is None:
        limit = float(np.quantile(np.stack(list(errors.values())), 0.995))
    magma = colormaps["magma"]
    frames = {f"picture {n}": (n, image) for n, image in pictures.items()}
    frames |= {
        f"error {n}": (f"{n}, error", (magma(error / limit)[..., :3] * 255).astype(np.uint8))
        for n, error in errors.items()
    }
    cube = np.concatenate([image.transpose(2, 0, 1) for _, image in frames.values()])
    options = [(str(i), title) for i, (title, _) in enumerate(frames.values())]

    panels, selects = [], []
    for side, name in zip(("Left", "Right"), chosen, strict=True):
        # The right panel takes the images from the left one: a page holds them once.
        panel = _composite_panel(
            np.zeros((3, 1, 1), np.uint8) if panels else np.ascontiguousarray(cube),
            title=side,
            share=panels[0] if panels else None,
            extent=(float(cube.shape[1]), float(cube.shape[2])),
            max_width=max_width,
        )
        select = Select(title=side, value=str(names.index(name)), options=options, width=200)
        show = CustomJS(
            args={
                "source": panel.source,
                "select": select,
                "images": (panels[0] if panels else panel).source,
            },
            code="""
                source.data.cube[0] = images.data.cube[0];
                const at = 3 * Number(select.value);
                dcfnetViews.show(source, at, at + 1, at + 2);
            """,
        )
        select.js_on_change("value", show)
        _when_shown(panel.figure, show)
        panels.append(panel)
        selects.append(select)
    mapper = LinearColorMapper(palette=list(PALETTES["magma"]), low=0, high=limit)
    scale = _titled(f"Error ({unit})", 2 * max_width, _scale(mapper, 2 * max_width))
    return column(
        controls(*selects), side_by_side(*panels, min_width=150), scale,
        sizing_mode="stretch_width",
    )  # fmt: skip
