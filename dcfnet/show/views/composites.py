"""Colour images that the reader puts together, compares, or chooses one of; and their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, LayoutDOM, Select, Slider

from dcfnet.show.views.panels import (
    Panel,
    channels_first,
    choice,
    colour_panel,
    opened_where_they_differ,
    put_image,
)
from dcfnet.show.views.store import cube
from dcfnet.show.views.view import call, respond, when_shown

TEAL = "#12939a"
"""Of lines: enough contrast on white and on black grounds."""


def band_composite(
    bands: npt.NDArray[np.uint8],
    names: Sequence[str],
    presets: Mapping[str, tuple[int, int, int]],
    *,
    title: str,
) -> tuple[Panel, list[LayoutDOM]]:
    """A colour image whose red, green and blue the reader chooses among the bands.

    Args:
        bands: (C, H, W) uint8, stretched as they shall be shown.
        names: The C bands' names.
        presets: Named choices: positions (from 0) of the bands shown as red, green and blue.
            The first is shown first.
        title: Stands above the image.

    Returns:
        The panel, and its controls: the preset, then the bands shown as red, green and blue.
    """
    first = next(iter(presets.values()))
    panel = colour_panel(cube(bands), first, title=title)
    channels = [
        choice(colour, names, 110, value=band)
        for colour, band in zip(("Red", "Green", "Blue"), first, strict=True)
    ]
    preset = Select(
        title="Composite", value=next(iter(presets)), options=[*presets, "own choice"], width=200
    )
    chosen = {"channels": channels, "preset": preset, "presets": list(map(list, presets.values()))}
    respond(call("chooseBands", **panel.models, **chosen), preset, *channels)
    return panel, [preset, *channels]


def comparison(
    first: npt.NDArray[np.uint8],
    second: npt.NDArray[np.uint8],
    *,
    labels: tuple[str, str],
    title: str,
    max_width: int = 480,
    part: int = 3,
) -> tuple[Panel, list[LayoutDOM]]:
    """Two images over each other, parted by a curtain or blended.

    Large ones open where they differ most, with the curtain in the middle of what is seen.

    Args:
        first: (H, W, 3) uint8, seen left of the curtain.
        second: The same shape, seen right of it.
        labels: What the two images are.
        title: Stands above them.
        max_width: The image grows with the page up to this width, in pixels.
        part: How much of large ones is seen at first, each way: 3 for a third, 2 for half.

    Returns:
        The panel, and its controls: how to compare, and how much of the first image is seen.

    Raises:
        ValueError: The images differ in shape, or are not (H, W, 3) uint8.
    """
    store = cube(channels_first(np.stack([first, second])))
    panel = colour_panel(store, (3, 4, 5), title=title, max_width=max_width)
    source = ColumnDataSource({"image": [np.zeros((1, 1), np.uint32)]})
    above = put_image(panel.figure, source, first.shape[:2])
    edge = panel.figure.vspan(x=0, line_color="white", line_width=2, line_alpha=0.9)
    mode = Select(title="Compare by", value="curtain", options=["curtain", "blend"], width=120)
    amount = Slider(title=f"{labels[0]} (%)", start=0, end=100, step=1, value=50, width=260)
    parts = {"mode": mode, "amount": amount, "glyph": above.glyph, "edge": edge}
    compare = call("compare", store=store, source=source, **parts)
    respond(compare, mode, amount)
    when_shown(panel.figure, compare)
    if below := opened_where_they_differ(panel, first, second, part=part):
        seen = panel.figure.x_range
        amount.value = round(50 * (seen.start + seen.end) / first.shape[1])
        panel = replace(panel, layout=column(panel.layout, *below, sizing_mode="stretch_width"))
    return panel, [mode, amount]


def frame_panels(
    stacks: Mapping[str, npt.NDArray[np.uint8]], choices: Mapping[str, Sequence[str]]
) -> tuple[list[Panel], list[Select]]:
    """Images of which the reader chooses one: all panels follow the same choices.

    Args:
        stacks: Title of a panel to its images, uint8 (n1, ..., nk, H, W, 3), or to one, (H, W, 3),
            which stays. Coarser images are drawn over the same ground as those of the first panel.
        choices: Title of a control to its n options, one control for each of the k leading axes.

    Returns:
        The panels, and their controls.

    Raises:
        ValueError: A stack does not fit the choices, or is not (..., H, W, 3) uint8.
    """
    counts = tuple(map(len, choices.values()))
    selects = [choice(title, options) for title, options in choices.items()]
    panels: list[Panel] = []
    for title, stack in stacks.items():
        if stack.shape[:-3] not in (counts, ()):
            raise ValueError(f"{title!r} must be {(*counts, 'H', 'W', 3)}, got {stack.shape}")
        panel = colour_panel(
            cube(channels_first(stack)),
            title=title,
            share=panels[0] if panels else None,
            extent=next(iter(stacks.values())).shape[-3:-1],
            max_width=320,
        )
        if stack.ndim > 3:
            respond(call("showImage", **panel.models, selects=selects), *selects)
        panels.append(panel)
    return panels, selects
