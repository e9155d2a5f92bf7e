"""Fused images: two at a time with their errors, and whole scenes as photographs."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, CustomJS, LayoutDOM, LinearColorMapper, Select
from matplotlib import colormaps
from PIL import Image

from dcfnet.show.views.panels import (
    PALETTES,
    Panel,
    _composite_panel,
    _frame,
    _scale,
    _titled,
    _when_shown,
    controls,
    side_by_side,
)

__all__ = ["photographs", "two_results"]


def photographs(
    pictures: Mapping[str, npt.NDArray[np.uint8]],
    *,
    first: str | None = None,
    second: str | None = None,
    quality: int = 75,
    max_width: int = 360,
) -> LayoutDOM:
    """Two of several large pictures beside each other, moved and zoomed together.

    They are compressed with loss: a megabyte of the page for ten million pixels, where the other
    views need several bytes for each. To be looked at, not to be read off.

    Args:
        pictures: Name to (H, W, 3) or (H, W) uint8, all of one height and width.
        first: What is seen at the left, the first picture unless given.
        second: What is seen at the right, the last picture unless given.
        quality: Of the compression (WebP), 1 to 100.
        max_width: Each picture grows with the page up to this width, in pixels.

    Returns:
        The layout.

    Raises:
        ValueError: A picture has another shape or type, or one is named that is not there.
    """
    names = list(pictures)
    shapes = {image.shape[:2] for image in pictures.values()}
    if len(shapes) != 1 or any(
        image.dtype != np.uint8 or image.shape[2:] not in ((), (3,)) for image in pictures.values()
    ):
        raise ValueError(
            "pictures are (H, W) or (H, W, 3) uint8 of one size, got "
            + ", ".join(f"{name} {p.shape} {p.dtype}" for name, p in pictures.items())
        )
    chosen = (first or names[0], second or names[-1])
    for name in chosen:
        if name not in pictures:
            raise ValueError(f"there is no picture of {name!r}, only of {', '.join(names)}")
    ((height, width),) = shapes
    # The page holds each picture once.
    store = ColumnDataSource({"url": [_webp(image, quality) for image in pictures.values()]})
    options = [(str(i), name) for i, name in enumerate(names)]
    panels: list[Panel] = []
    selects = []
    for side, name in zip(("Left", "Right"), chosen, strict=True):
        plot = _frame((float(height), float(width)), side, panels[0] if panels else None, max_width)
        source = ColumnDataSource({"url": [""]})
        plot.image_url("url", source=source, x=0, y=0, w=width, h=height, anchor="top_left")
        panels.append(Panel(_titled(side, max_width, plot), plot, source))
        select = Select(title=side, value=str(names.index(name)), options=options, width=200)
        show = CustomJS(
            args={"store": store, "source": source, "select": select},
            code="source.data = {url: [store.data.url[Number(select.value)]]}",
        )
        select.js_on_change("value", show)
        _when_shown(plot, show)
        selects.append(select)
    return column(
        controls(*selects), side_by_side(*panels, min_width=150), sizing_mode="stretch_width"
    )


def _webp(image: npt.NDArray[np.uint8], quality: int) -> str:
    """The picture as an address that holds it."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", quality=quality, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


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
