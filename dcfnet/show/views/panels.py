"""Panels that move, zoom and are read with the pointer, and how they stand in a view."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from bokeh.layouts import column, row
from bokeh.models import (
    ColumnDataSource,
    Div,
    FixedTicker,
    GlyphRenderer,
    HoverTool,
    LayoutDOM,
    LinearColorMapper,
    PanTool,
    PrintfTickFormatter,
    Range1d,
    ResetTool,
    Select,
    WheelZoomTool,
)
from bokeh.palettes import Cividis256, Greys256, Magma256, Viridis256
from bokeh.plotting import figure
from scipy.ndimage import uniform_filter

from dcfnet.show.views.store import cube, map_store
from dcfnet.show.views.view import call, respond, when_shown

PALETTES: Mapping[str, Sequence[str]] = {
    "viridis": Viridis256,
    "magma": Magma256,
    "cividis": Cividis256,
    "grey": Greys256,
}
"""The colour maps that views offer: all keep their order in grey and for colour-blind readers."""


SMALL = 128  # pixels of a side, below which an image is shown whole


@dataclass(frozen=True)
class Panel:
    """An image in a view."""

    layout: LayoutDOM  # title, image and scale together: what goes into the view
    figure: figure  # the image alone, for further glyphs and for shared ranges
    source: ColumnDataSource  # what is drawn now
    store: ColumnDataSource  # what it is drawn from: a cube of bands, or maps
    mapper: LinearColorMapper | None = None  # its colours, if it shows numbers
    scale: figure | None = None  # the colours over their numbers

    @property
    def models(self) -> dict[str, Any]:
        """What the page's scripts need of it to draw."""
        names = ("store", "source", "mapper", "scale")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def image_panel(
    image: npt.ArrayLike,
    *,
    title: str,
    share: Panel | None = None,
    extent: tuple[float, float] | None = None,
    palette: str = "viridis",
    unit: str = "",
) -> Panel:
    """An image that can be moved, zoomed and read with the pointer.

    Args:
        image: (H, W) numbers, shown through a colour map with a scale below, in eight bits; or
            (H, W, 3) uint8, shown as it is.
        title: Stands above the image.
        share: Another panel that this one moves and zooms together with.
        extent: Rows and columns that the image covers in the panel's coordinates, H and W unless
            given: a coarse image lies exactly over a fine one if both have the same extent.
        palette: One of `PALETTES`, for (H, W) images.
        unit: Follows the number under the pointer, and names the scale.

    Raises:
        ValueError: The image has another shape or type, or holds values that are not finite.
    """
    array = np.asarray(image)
    if array.ndim == 3:
        store = cube(channels_first(array))
        return colour_panel(store, title=title, share=share, extent=extent)
    store = map_store({title: array})
    panel = map_panel(
        store, extent or array.shape, title=title, share=share, palette=palette, unit=unit
    )
    when_shown(panel.figure, call("showMap", **panel.models, key=title))
    return panel


def map_panel(
    store: ColumnDataSource,
    extent: tuple[float, float],
    *,
    title: str,
    share: Panel | None = None,
    palette: str = "viridis",
    unit: str = "",
) -> Panel:
    """A panel for one of the maps of a store.

    Maps may differ in size: each covers the whole extent. A script has to choose one, see
    ``showMap`` in panels.js. For the other arguments see `image_panel`.
    """
    source = ColumnDataSource({"image": [np.zeros((1, 1), np.float32)]})
    mapper = LinearColorMapper(palette=list(PALETTES[palette]), low=0.0, high=1.0)
    plot = frame(extent, title, share)
    image = put_image(plot, source, extent, color_mapper=mapper)
    plot.add_tools(
        HoverTool(
            renderers=[image],
            tooltips=f"@image{{%.4g}} {unit}".strip(),
            formatters={"@image": "printf"},
        )
    )
    scale = colour_scale(mapper)
    title = f"{title} ({unit})" if unit else title
    return Panel(titled(title, plot, scale), plot, source, store, mapper, scale)


def colour_panel(
    store: ColumnDataSource,
    bands: Sequence[int] = (0, 1, 2),
    *,
    title: str,
    share: Panel | None = None,
    extent: tuple[float, float] | None = None,
    max_width: int = 480,
) -> Panel:
    """A colour image that the page puts together from three of the bands of a cube.

    It grows with the page up to its greatest width. For the other arguments see `image_panel`.
    """
    extent = extent or store.data["cube"][0].shape[1:]
    source = ColumnDataSource({"image": [np.zeros((1, 1), np.uint32)]})
    plot = frame(extent, title, share, max_width)
    put_image(plot, source, extent)
    when_shown(plot, call("showColours", store=store, source=source, bands=list(bands)))
    return Panel(titled(title, plot, max_width=max_width), plot, source, store)


def channels_first(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(..., H, W, 3) uint8 as (3 n, H, W)."""
    if image.ndim < 3 or image.shape[-1] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected images (H, W, 3) of uint8, got {image.dtype} {image.shape}")
    return np.moveaxis(image, -1, -3).reshape(-1, *image.shape[-3:-1])


def frame(
    extent: tuple[float, float], title: str, share: Panel | None = None, max_width: int = 480
) -> figure:
    """An empty figure for an image: rows run down, pixels are square, ranges shared if asked."""
    height, width = map(float, extent)
    keys = "Arrow keys move, plus and minus zoom, zero resets."
    plot = figure(
        x_range=share.figure.x_range if share else _range(0, width),
        y_range=share.figure.y_range if share else _range(height, 0),
        tools=[PanTool(), WheelZoomTool(modifiers={"ctrl": True}), ResetTool()],
        toolbar_location=None,
        sizing_mode="scale_width",
        aspect_ratio=width / height,
        max_width=max_width,
        min_border=0,
        html_attributes={"role": "group", "tabindex": "0", "aria-label": f"{title}. {keys}"},
        tags=["dcf-image"],
    )
    plot.axis.visible = False
    plot.grid.visible = False
    return plot


def _range(start: float, end: float) -> Range1d:
    return Range1d(
        start,
        end,
        reset_start=start,
        reset_end=end,
        bounds=(min(start, end), max(start, end)),
        min_interval=4,
    )


def opened_where_they_differ(
    panel: Panel, one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8], *, part: int = 3
) -> list[LayoutDOM]:
    """Has a large image open where the two that are shown differ most, at a third of it each way.

    Args:
        panel: What shows the image.
        one: An image that is shown, (H, W) or (H, W, 3).
        other: The other one.
        part: 3 for a third, 2 for half.

    Returns:
        The words that say so, for below the image; none where it is small and shown whole.
    """
    if min(one.shape[:2]) < SMALL:
        return []
    grey = [(image if image.ndim == 2 else image.mean(-1)).astype(float) for image in (one, other)]
    height, width = (size // part for size in one.shape[:2])
    apart = uniform_filter(np.abs(grey[0] - grey[1]), (height, width))
    inner = apart[height // 2 : -height // 2, width // 2 : -width // 2]
    top, left = map(float, np.unravel_index(inner.argmax(), inner.shape))
    panel.figure.x_range.update(start=left, end=left + width)
    panel.figure.y_range.update(start=top + height, end=top)
    hint = "Opened where the two differ most. On an image, the key 0 shows all of it, plus and "
    return [words(f"{hint}minus zoom; drag to move.", "dcf-muted")]


def put_image(
    plot: figure, source: ColumnDataSource, extent: tuple[float, float], **style: Any
) -> GlyphRenderer:
    """Draws a source's image over the whole frame, row 0 at its top.

    With a ``color_mapper`` it holds numbers, else colours (RGBA in 32 bits).
    """
    height, width = map(float, extent)
    draw = plot.image if "color_mapper" in style else plot.image_rgba
    over = dict(dw=width, dh=height, origin="bottom_left", anchor="bottom_left")
    return draw("image", source=source, x=0, y=0, **over, **style)


def colour_scale(mapper: LinearColorMapper, max_width: int = 480) -> figure:
    """The colours of a mapper over their numbers, which ``drawScale`` in panels.js fills in."""
    scale = figure(
        x_range=Range1d(0, 1),
        y_range=Range1d(0, 1),
        height=36,
        min_border=0,
        toolbar_location=None,
        tools=[],
        sizing_mode="stretch_width",
        max_width=max_width,
    )
    scale.image([np.zeros((1, 1), np.float32)], x=0, y=0, dw=1, dh=1, color_mapper=mapper)
    scale.xaxis.ticker = FixedTicker(ticks=[0.5])  # keeps the room of the ticks to come
    scale.xaxis.formatter = PrintfTickFormatter(format="%.4g")
    scale.yaxis.visible = False
    scale.grid.visible = False
    scale.outline_line_color = None
    return scale


def titled(title: str, *parts: LayoutDOM, max_width: int = 480) -> LayoutDOM:
    """Parts below each other, under a title."""
    heading = words(html.escape(title), "dcf-title", margin=(6, 0, 2, 0))
    return column(heading, *parts, sizing_mode="stretch_width", max_width=max_width, spacing=2)


def words(text: str, *classes: str, **options: Any) -> Div:
    """HTML in a view; options are those of Bokeh's `Div`."""
    options = {"sizing_mode": "stretch_width", "css_classes": list(classes), **options}
    return Div(text=text, disable_math=True, **options)


def choice(title: str, options: Sequence[str], width: int = 200, *, value: int = 0) -> Select:
    """A control whose value is the position of the chosen option, as text."""
    pairs = [(str(index), option) for index, option in enumerate(options)]
    return Select(title=title, value=str(value), options=pairs, width=width)


def palette_chooser(*panels: Panel, title: str = "Colour map") -> Select:
    """A control that chooses the colour map of panels of (H, W) images."""
    mappers = [panel.mapper for panel in panels if panel.mapper is not None]
    first = next(name for name, it in PALETTES.items() if list(it) == list(mappers[0].palette))
    control = Select(title=title, value=first, options=list(PALETTES), width=120)
    palettes = [list(palette) for palette in PALETTES.values()]
    respond(call("choosePalette", mappers=mappers, palettes=palettes), control)
    return control


def controls(*widgets: LayoutDOM) -> LayoutDOM:
    """Controls in a row that breaks where the page is narrow."""
    return row(*widgets, sizing_mode="stretch_width", css_classes=["dcf-controls"], spacing=4)


def side_by_side(*items: Panel | LayoutDOM, narrow: bool = False) -> LayoutDOM:
    """Panels beside each other, below each other where the page is narrow.

    Args:
        items: Panels or other layouts.
        narrow: Two stand beside each other on a phone as well.
    """
    layouts = [item.layout if isinstance(item, Panel) else item for item in items]
    classes = ["dcf-beside", "dcf-narrow"] if narrow else ["dcf-beside"]
    return row(*layouts, sizing_mode="stretch_width", css_classes=classes)


def led_by(handles: Sequence[LayoutDOM], *rows: Panel | LayoutDOM) -> LayoutDOM:
    """Rows of a view below the controls that lead them."""
    layouts = [item.layout if isinstance(item, Panel) else item for item in rows]
    return column(controls(*handles), *layouts, sizing_mode="stretch_width")
