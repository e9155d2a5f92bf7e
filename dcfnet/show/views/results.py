"""Fused images: two at a time with their errors, and whole scenes as photographs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, LayoutDOM, LinearColorMapper

from dcfnet.show.style import coloured, picture
from dcfnet.show.views.panels import (
    PALETTES,
    Panel,
    channels_first,
    choice,
    colour_panel,
    colour_scale,
    controls,
    frame,
    opened_where_they_differ,
    side_by_side,
    titled,
)
from dcfnet.show.views.store import cube
from dcfnet.show.views.view import call, respond, when_shown

WIDTH = 360  # pixels, of each of the two


def photographs(
    pictures: Mapping[str, npt.NDArray[np.uint8]],
    *,
    first: str | None = None,
    second: str | None = None,
) -> LayoutDOM:
    """Two of several large pictures beside each other, moved and zoomed together.

    They are compressed with loss: a megabyte of the page for ten million pixels, where the other
    views need several bytes for each. To be looked at, not to be read off.

    Args:
        pictures: Name to (H, W, 3) or (H, W) uint8, all of one height and width.
        first: What is seen at the left, the first picture unless given.
        second: What is seen at the right, the last picture unless given.

    Raises:
        ValueError: A picture has another shape or type, or one is named that is not there.
    """
    shapes = {image.shape[:2] for image in pictures.values()}
    if len(shapes) != 1 or any(
        image.dtype != np.uint8 or image.shape[2:] not in ((), (3,)) for image in pictures.values()
    ):
        raise ValueError(
            "pictures are (H, W) or (H, W, 3) uint8 of one size, got "
            + ", ".join(f"{name} {p.shape} {p.dtype}" for name, p in pictures.items())
        )
    (extent,) = shapes
    height, width = extent
    urls = [picture(image, "webp", quality=75, method=2) for image in pictures.values()]
    store = ColumnDataSource({"url": urls})

    def panel(title: str, share: Panel | None) -> Panel:
        plot = frame(extent, title, share, WIDTH)
        source = ColumnDataSource({"url": [""]})
        plot.image_url("url", source=source, x=0, y=0, w=width, h=height, anchor="top_left")
        return Panel(titled(title, plot, max_width=WIDTH), plot, source, store)

    shown = _named(list(pictures), first, second)
    return _beside(panel, list(pictures), shown, list(pictures.values()))


def two_results(
    pictures: Mapping[str, npt.NDArray[np.uint8]],
    errors: Mapping[str, npt.NDArray[np.floating]],
    *,
    unit: str,
    limit: float | None = None,
    first: str | None = None,
    second: str | None = None,
) -> LayoutDOM:
    """Two methods beside each other, moved and zoomed together, each as a picture or its error.

    Args:
        pictures: Method to its composite, (H, W, 3) uint8, all under one stretch.
        errors: Method to its error, (H, W), at least 0; methods without one, such as the truth,
            are offered as pictures alone.
        unit: Of the errors.
        limit: What the brightest colour of the error maps stands for; by default the 99.5 %
            quantile of all of them. All maps share the scale.
        first: What is seen at the left, the first method unless given.
        second: What is seen at the right, the last method unless given.

    Raises:
        ValueError: The images differ in shape, or a method is named that has no picture.
    """
    shapes = {image.shape[:2] for image in (*pictures.values(), *errors.values())}
    if len(shapes) != 1:
        raise ValueError(f"images of one size are compared, got sizes {sorted(shapes)}")
    shown = _named(list(pictures), first, second, *errors)[:2]
    if limit is None:
        limit = float(np.quantile(np.stack(list(errors.values())), 0.995))
    frames = [*pictures.values(), *(coloured(it, 0, limit, "magma") for it in errors.values())]
    # Both panels take the images from one store: a page holds them once.
    store = cube(channels_first(np.stack(frames)))

    def panel(title: str, share: Panel | None) -> Panel:
        return colour_panel(store, title=title, share=share, max_width=WIDTH)

    options = [*pictures, *(f"{name}, error" for name in errors)]
    mapper = LinearColorMapper(palette=list(PALETTES["magma"]), low=0, high=limit)
    scale = colour_scale(mapper, 2 * WIDTH)
    when_shown(scale, call("drawScale", scale=scale, mapper=mapper))
    return column(
        _beside(panel, options, shown, frames),
        titled(f"Error ({unit})", scale, max_width=2 * WIDTH),
        sizing_mode="stretch_width",
    )


def _named(names: Sequence[str], first: str | None, second: str | None, *others: str) -> list[int]:
    """The positions of the pictures that are shown first, and of others."""
    asked = [first or names[0], second or names[-1], *others]
    for name in asked:
        if name not in names:
            raise ValueError(f"there is no picture of {name!r}, only of {', '.join(names)}")
    return [names.index(name) for name in asked]


def _beside(
    make: Callable[[str, Panel | None], Panel],
    options: Sequence[str],
    shown: Sequence[int],
    images: Sequence[npt.NDArray[np.uint8]],
) -> LayoutDOM:
    """Two panels over one store, each with a control that chooses its image.

    A large image opens where the two that are shown differ most: as a whole they look alike.
    """
    panels: list[Panel] = []
    selects = []
    for title, at in zip(("Left", "Right"), shown, strict=True):
        panel = make(title, panels[0] if panels else None)
        select = choice(title, options, value=at)
        heading = panel.layout.children[0]
        show = call("showImage", **panel.models, selects=[select], heading=heading)
        respond(show, select)
        when_shown(panel.figure, show)
        panels.append(panel)
        selects.append(select)
    below = opened_where_they_differ(panels[0], *(images[at] for at in shown))
    return column(
        controls(*selects),
        side_by_side(*panels, narrow=True),
        *below,
        sizing_mode="stretch_width",
    )
