"""Interactive views that work in JupyterLab and, with neither kernel nor network, in the book.

A view is a Bokeh layout whose controls are answered in the browser. The parts here return Bokeh
models, so that a chapter combines them as it likes and hands the layout to `View`:

    photo = image_panel(rgb, title="True colour")
    view = View(photo.figure, name="true-colour", alt="The scene in true colour")

Bokeh is needed for this module only (extras `book` and `lab`).
"""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import bokeh
import numpy as np
import numpy.typing as npt
from bokeh.document import Document
from bokeh.embed import json_item
from bokeh.events import Tap
from bokeh.layouts import column, row
from bokeh.models import (
    ColumnDataSource,
    CustomJS,
    Div,
    FixedTicker,
    HoverTool,
    InlineStyleSheet,
    LayoutDOM,
    LinearColorMapper,
    Model,
    PanTool,
    Range1d,
    ResetTool,
    Select,
    Slider,
    StyledElement,
    WheelZoomTool,
)
from bokeh.palettes import Cividis256, Greys256, Magma256, Viridis256
from bokeh.plotting import figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from dcfnet.inside.hooks import activations
from dcfnet.networks import count_operations, count_parameters
from dcfnet.networks.dcfnet import DCFNet, Part
from dcfnet.show.diagram import Diagram, architecture

__all__ = [
    "PALETTES",
    "LiveView",
    "Panel",
    "Quantised",
    "View",
    "band_composite",
    "bars",
    "column",
    "comparison",
    "controls",
    "frame_panels",
    "image_panel",
    "map_panel",
    "palette_chooser",
    "part_explorer",
    "quantise",
    "side_by_side",
    "spectrum_probe",
]

PALETTES: Mapping[str, Sequence[str]] = {
    "viridis": Viridis256,
    "magma": Magma256,
    "cividis": Cividis256,
    "grey": Greys256,
}
"""The colour maps that views offer: all keep their order in grey and for colour-blind readers."""

# The page's own colours (Sphinx theme, JupyterLab, VS Code, else the browser's) for Bokeh's parts:
# widgets read the first group through their shadow roots, canvases the second when they paint.
_STYLE = """
.dcf-view {
  --dcf-text: var(--pst-color-text-base, var(--jp-content-font-color1,
    var(--vscode-foreground, #24292f)));
  --dcf-muted: var(--pst-color-text-muted, var(--jp-content-font-color2,
    var(--vscode-descriptionForeground, #57606a)));
  --dcf-ground: var(--pst-color-background, var(--jp-layout-color0,
    var(--vscode-editor-background, #ffffff)));
  --dcf-surface: var(--pst-color-surface, var(--jp-layout-color2,
    var(--vscode-input-background, #f0f2f4)));
  --dcf-border: var(--pst-color-border, var(--jp-border-color1,
    var(--vscode-panel-border, #b6bcc2)));
  --dcf-accent: var(--pst-color-primary, var(--jp-brand-color1,
    var(--vscode-focusBorder, #0b6b74)));
  --bk-background-fill-color: transparent;
  --bk-border-fill-color: transparent;
  --bk-outline-line-color: var(--dcf-border);
  --bk-grid-line-color: var(--dcf-border);
  --bk-axis-line-color: var(--dcf-muted);
  --bk-major-tick-line-color: var(--dcf-muted);
  --bk-minor-tick-line-color: transparent;
  --bk-axis-label-text-color: var(--dcf-text);
  --bk-major-label-text-color: var(--dcf-text);
  --bk-title-text-color: var(--dcf-text);
  --dcf-font: var(--pst-font-family-base, var(--jp-ui-font-family,
    var(--vscode-font-family, system-ui, sans-serif)));
  --bk-axis-label-text-font: var(--dcf-font);
  --bk-major-label-text-font: var(--dcf-font);
  --bokeh-base-font: var(--dcf-font);
  --bokeh-font-size: 0.875rem;
  color: var(--dcf-text);
  margin: 0.5rem 0;
  text-align: left;
}
.dcf-view[data-view]:not([data-state="ready"]) {
  min-height: 28rem;
}
"""

_WIDGET_STYLE = """
:host {
  --color: var(--dcf-text);
  --background-color: var(--dcf-ground);
  --surface-background-color: var(--dcf-surface);
  --hover-color: var(--dcf-surface);
  --border-color: var(--dcf-border);
  --divider-color: var(--dcf-border);
  --placeholder-color: var(--dcf-muted);
  --icon-color: var(--dcf-muted);
  --active-bg: var(--dcf-accent);
  --active-border: var(--dcf-accent);
  --active-fg: var(--dcf-accent);
  --highlight-color: var(--dcf-accent);
  --inverted-color: var(--dcf-ground);
  color: var(--dcf-text);
}
select:not([multiple]).bk-input {
  appearance: auto;
  background-image: none;
  padding-right: 0.25rem;
}
.noUi-target { background: var(--dcf-surface); border-color: var(--dcf-muted); box-shadow: none; }
.noUi-connect, .bk-btn.bk-active { background: var(--dcf-accent) !important; }
.noUi-handle { background: var(--dcf-ground); border-color: var(--dcf-muted); box-shadow: none; }
:host(:focus-visible), :focus-visible {
  outline: 2px solid var(--dcf-accent);
  outline-offset: 1px;
}
"""


class View:
    """A Bokeh layout as a cell's result: live in JupyterLab, and in the rendered page as well.

    The HTML is whole: it carries its data and BokehJS, so it needs neither network nor extension.
    (The book's build takes BokehJS out of its pages again and serves it once for all.)

    Args:
        layout: what to show. Its callbacks must be `CustomJS`: no kernel is there to answer.
        name: short and unique in its chapter, kebab-case; tests find the view by it.
        alt: what a screen reader says: one sentence that says what is shown and what to vary.
        attribution: the scene's line, set small below the view.

    Raises:
        ValueError: `name` or `alt` is empty.
    """

    def __init__(self, layout: LayoutDOM, *, name: str, alt: str, attribution: str = "") -> None:
        if not name or not alt:
            raise ValueError("A view needs a name for tests and an alt text for screen readers.")
        self.layout = layout
        self.name = name
        self.alt = alt
        self.attribution = attribution
        _prepare(layout)

    def html(self) -> str:
        """The view as one fragment of HTML."""
        item = json.dumps(json_item(self.layout)).replace("</", "<\\/")
        name, alt = html.escape(self.name), html.escape(self.alt)
        credit = f'<div class="dcf-credit">{html.escape(self.attribution)}</div>'
        return (
            f'<div class="dcf-view" data-view="{name}" role="figure" aria-label="{alt}"'
            ' data-lm-suppress-shortcuts="true">'
            f"<style>{_STYLE}</style>"
            f'<div class="dcf-view-body"></div>{credit if self.attribution else ""}'
            f'<script type="application/json" class="dcf-view-doc">{item}</script>'
            f"{_scripts()}"
            "<noscript>This view needs JavaScript.</noscript></div>"
        )

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": f"View {self.name}: {self.alt}"}


class LiveView:
    """A view that the kernel answers in JupyterLab, and that is a `View` in the rendered page.

    Args:
        layout: what JupyterLab shows. Its callbacks may be Python's (`model.on_change`), which a
            `View` cannot have.
        page: what is shown where no kernel is: the rendered book, a saved notebook.
    """

    def __init__(self, layout: LayoutDOM, *, page: View) -> None:
        self.layout = layout
        self.page = page
        layout.html_attributes = {"role": "figure", "aria-label": page.alt}
        ready = CustomJS(args={"layout": layout}, code="dcfnetViews.prepareLive(layout)")
        _when_shown(layout, ready)
        _prepare(layout)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        bundle = self.page._repr_mimebundle_()
        try:
            from jupyter_bokeh.widgets import BokehModel
        except ModuleNotFoundError:  # the extra `lab` is not installed: nobody is there to answer
            display(bundle, raw=True)
            return
        widget = BokehModel(self.layout)
        widget.add_class("dcf-view")
        # The widget finds BokehJS and the style already there.
        display({"text/html": f"<style>{_STYLE}</style>{_scripts()}"}, raw=True)
        display({**widget._repr_mimebundle_(), **bundle}, raw=True)


def _prepare(layout: LayoutDOM) -> None:
    """Gives a layout the page's style, and a document with what runs when it is drawn."""
    style = InlineStyleSheet(css=_WIDGET_STYLE)
    models = layout.references()
    for model in models:
        if isinstance(model, StyledElement):
            model.stylesheets = [style, *model.stylesheets]
    if layout.document is None:
        Document().add_root(layout)
    callbacks = [tag for model in models for tag in model.tags if isinstance(tag, CustomJS)]
    if callbacks:
        layout.document.js_on_event("document_ready", *callbacks)


def _scripts() -> str:
    """The scripts that every view needs; book/_ext/offline.py takes them out of pages."""
    return (
        f'<script data-shared="bokeh-{bokeh.__version__}.min.js">{_bokehjs()}</script>'
        f'<script data-shared="views.js">{_views_js()}</script>'
    )


@cache
def _bokehjs() -> str:
    """BokehJS as the installed Bokeh brings it, run only where this version is not there yet."""
    folder = Path(bokeh.__file__).parent / "server" / "static" / "js"
    parts = [(folder / f"{name}.min.js").read_text("utf-8") for name in ("bokeh", "bokeh-widgets")]
    source = "\n;".join(part.split("//# sourceMappingURL")[0] for part in parts)
    source = source.replace("</script", "<\\/script")
    return f'if (!window.Bokeh?.["{bokeh.__version__}"]) {{\n{source}\n}}'


@cache
def _views_js() -> str:
    return files("dcfnet.show.views").joinpath("views.js").read_text("utf-8")


@dataclass(frozen=True)
class Quantised:
    """Values in eight bits: `low + step * codes`, wrong by half a `step` at most."""

    codes: npt.NDArray[np.uint8]
    low: float
    step: float

    def values(self) -> npt.NDArray[np.float64]:
        """The values that the codes stand for."""
        return self.low + self.step * self.codes


def quantise(
    values: npt.ArrayLike, low: float | None = None, high: float | None = None
) -> Quantised:
    """Puts values in eight bits, so that a page stays small.

    Args:
        values: numbers of any shape.
        low: what code 0 means; the minimum unless given. Lower values are clipped to it.
        high: what code 255 means; the maximum unless given. Higher values are clipped to it.

    Returns:
        The codes and their scale. Between `low` and `high` the error is at most
        (high - low) / 510.

    Raises:
        ValueError: values are not finite, or `high` lies below `low`.
    """
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("quantise needs finite values; replace NaN and infinities first.")
    low = float(array.min()) if low is None else float(low)
    high = float(array.max()) if high is None else float(high)
    if high < low:
        raise ValueError(f"quantise needs low <= high, got {low} and {high}.")
    step = (high - low) / 255 or 1.0
    return Quantised(np.rint((array.clip(low, high) - low) / step).astype(np.uint8), low, step)


@dataclass(frozen=True)
class Panel:
    """An image in a view.

    Attributes:
        layout: title, image and scale together: what goes into the view.
        figure: the image alone, for further glyphs and for shared ranges.
        source: its pixels, in the column "image".
        mapper: its colour map, where it has one.
        scale: the colours over their numbers, where it has a colour map.
    """

    layout: LayoutDOM
    figure: figure
    source: ColumnDataSource
    mapper: LinearColorMapper | None = None
    scale: figure | None = None


def image_panel(
    image: npt.ArrayLike,
    *,
    title: str,
    share: Panel | None = None,
    extent: tuple[float, float] | None = None,
    palette: str = "viridis",
    low: float | None = None,
    high: float | None = None,
    unit: str = "",
    max_width: int = 480,
) -> Panel:
    """An image that can be moved, zoomed and read with the pointer.

    Args:
        image: (H, W) numbers, shown through a colour map with a scale below, stored in eight bits
            (see `quantise`); or (H, W, 3) uint8, shown as it is.
        title: stands above the image.
        share: another panel that this one moves and zooms together with.
        extent: rows and columns that the image covers in the panel's coordinates, H and W unless
            given: a coarse image lies exactly over a fine one if both have the same extent.
        palette: one of `PALETTES`, for (H, W) images.
        low: what the colour map starts at, the minimum unless given.
        high: what the colour map ends at, the maximum unless given.
        unit: follows the number under the pointer, and names the scale.
        max_width: the image grows with the page up to this width, in pixels.

    Returns:
        The panel.

    Raises:
        ValueError: the image has another shape or type.
    """
    array = np.asarray(image)
    if array.ndim == 3:
        return _composite_panel(
            _channels_first(array), title=title, share=share, extent=extent, max_width=max_width
        )
    if array.ndim != 2:
        raise ValueError(f"An image is (H, W) or (H, W, 3), got an array of shape {array.shape}.")
    coded = quantise(array, low, high)
    panel = _map_frame(coded, title, share, extent or array.shape, palette, unit, max_width)
    decode = CustomJS(
        args={"source": panel.source, "low": coded.low, "step": coded.step},
        code="source.data = {image: [dcfnetViews.decode(source.data.image[0], low, step)]}",
    )
    _when_shown(panel.figure, decode)
    return panel


def map_panel(
    maps: Sequence[npt.ArrayLike],
    *,
    title: str,
    share: Panel | None = None,
    extent: tuple[float, float] | None = None,
    palette: str = "viridis",
    unit: str = "",
    max_width: int = 480,
) -> tuple[Panel, ColumnDataSource]:
    """One of many maps, each of its own size and with its own scale, which stands below.

    Args:
        maps: (h, w) numbers each, stored in eight bits between their extremes (see `quantise`).
        title: stands above the map.
        share: another panel that this one moves and zooms together with.
        extent: rows and columns that every map covers in the panel's coordinates, the shape of
            the first map unless given.
        palette: one of `PALETTES`.
        unit: follows the number under the pointer, and names the scale.
        max_width: the map grows with the page up to this width, in pixels.

    Returns:
        The panel, and the choice: a callback that sets ``choice.data = {index: [i]}`` has it
        show ``maps[i]``.

    Raises:
        ValueError: there is no map, or one is not (h, w).
    """
    shapes = [np.shape(values) for values in maps]
    if not shapes or any(len(shape) != 2 for shape in shapes):
        raise ValueError(f"Expected maps of shape (h, w), got {shapes or 'none'}.")
    coded = [_own_scale(values) for values in maps]
    store = ColumnDataSource(
        {
            "codes": [np.concatenate([part.codes.ravel() for part in coded])],
            "shapes": [np.array(shapes, np.int32)],
            "low": [np.array([part.low for part in coded])],
            "step": [np.array([part.step for part in coded])],
        }
    )
    panel = _map_frame(coded[0], title, share, extent or shapes[0], palette, unit, max_width)
    ramp = panel.scale.renderers[0]
    choice = ColumnDataSource({"index": [0]})
    show = CustomJS(
        args={
            "store": store,
            "choice": choice,
            "source": panel.source,
            "mapper": panel.mapper,
            "scale": panel.scale,
            "colours": ramp.data_source,
            "glyph": ramp.glyph,
            "ticker": panel.scale.xaxis[0].ticker,
        },
        code="""
            const { codes, low, end, step } = dcfnetViews.pick(store, choice.data.index[0]);
            mapper.setv({low, high: end});
            source.data = {image: [dcfnetViews.decode(codes, low, step)]};
            colours.data = {image: [dcfnetViews.ramp(low, step)]};
            glyph.setv({x: {value: low}, dw: {value: end - low}});
            scale.x_range.setv({start: low, end});
            scale.html_attributes = {role: "img",
                "aria-label": `Colour scale from ${low.toPrecision(3)} to ${end.toPrecision(3)}`};
            ticker.ticks = dcfnetViews.ticks(low, end);
        """,
    )
    choice.js_on_change("data", show)
    _when_shown(panel.figure, show)
    return panel, choice


def _own_scale(values: npt.ArrayLike) -> Quantised:
    """Values in eight bits between their extremes; what is constant gets the first colour."""
    low, high = float(np.min(values)), float(np.max(values))
    return quantise(values, low, high if high > low else low + 1)


def _map_frame(
    coded: Quantised,
    title: str,
    share: Panel | None,
    extent: tuple[float, ...],
    palette: str,
    unit: str,
    max_width: int,
) -> Panel:
    """A panel for numbers, with codes in it: a callback has to make numbers of them."""
    source = ColumnDataSource({"image": [coded.codes]})
    end = coded.low + 255 * coded.step
    mapper = LinearColorMapper(palette=list(PALETTES[palette]), low=coded.low, high=end)
    height, width = map(float, extent)
    plot = _frame((height, width), title, share, max_width)
    renderer = plot.image(
        "image",
        source=source,
        x=0,
        y=0,
        dw=width,
        dh=height,
        color_mapper=mapper,
        origin="bottom_left",
        anchor="bottom_left",
    )
    plot.add_tools(HoverTool(renderers=[renderer], tooltips=f"@image{{0.[00]}} {unit}".strip()))
    scale = _scale(mapper, max_width)
    title = f"{title} ({unit})" if unit else title
    return Panel(_titled(title, max_width, plot, scale), plot, source, mapper, scale)


def band_composite(
    bands: npt.NDArray[np.uint8],
    names: Sequence[str],
    presets: Mapping[str, tuple[int, int, int]],
    *,
    title: str,
    share: Panel | None = None,
    extent: tuple[float, float] | None = None,
    max_width: int = 480,
) -> tuple[Panel, list[LayoutDOM]]:
    """A colour image whose red, green and blue the reader chooses among the bands.

    Args:
        bands: (C, H, W) uint8, stretched as they shall be shown (see `quantise`).
        names: the C bands' names.
        presets: named choices: positions (from 0) of the bands shown as red, green and blue.
            The first is shown first.
        title: stands above the image.
        share: another panel that this one moves and zooms together with.
        extent: rows and columns that the image covers in the panel's coordinates.
        max_width: the image grows with the page up to this width, in pixels.

    Returns:
        The panel, and its controls: the preset, then the bands shown as red, green and blue.

    Raises:
        ValueError: the shapes or the presets do not fit the names.
    """
    if bands.ndim != 3 or bands.dtype != np.uint8 or len(bands) != len(names):
        raise ValueError(
            f"Expected {len(names)} bands (C, H, W) of uint8, got {bands.dtype} {bands.shape}."
        )
    if not all(0 <= band < len(names) for preset in presets.values() for band in preset):
        raise ValueError(f"Presets name bands 0 to {len(names) - 1}, got {dict(presets)}.")
    first = next(iter(presets.values()))
    panel = _composite_panel(
        bands, first, title=title, share=share, extent=extent, max_width=max_width
    )
    options = [(str(index), name) for index, name in enumerate(names)]
    channels = [
        Select(title=colour, value=str(band), options=options, width=110)
        for colour, band in zip(("Red", "Green", "Blue"), first, strict=True)
    ]
    chosen = Select(
        title="Composite", value=next(iter(presets)), options=[*presets, "own choice"], width=170
    )
    update = CustomJS(
        args={
            "source": panel.source,
            "channels": channels,
            "chosen": chosen,
            "presets": {name: list(preset) for name, preset in presets.items()},
        },
        code="""
            const bands = channels.map((channel) => Number(channel.value));
            dcfnetViews.show(source, ...bands);
            const name = Object.keys(presets).find((key) => presets[key].join() == bands.join());
            chosen.value = name ?? "own choice";
        """,
    )
    for channel in channels:
        channel.js_on_change("value", update)
    chosen.js_on_change(
        "value",
        CustomJS(
            args={"channels": channels, "presets": {k: list(v) for k, v in presets.items()}},
            code="""
            const bands = presets[cb_obj.value] ?? [];
            bands.forEach((band, i) => { channels[i].value = String(band); });
        """,
        ),
    )
    return panel, [chosen, *channels]


def comparison(
    first: npt.NDArray[np.uint8],
    second: npt.NDArray[np.uint8],
    *,
    labels: tuple[str, str],
    title: str,
    share: Panel | None = None,
    max_width: int = 480,
) -> tuple[Panel, list[LayoutDOM]]:
    """Two images over each other, parted by a curtain or blended.

    Args:
        first: (H, W, 3) uint8, seen left of the curtain.
        second: the same shape, seen right of it.
        labels: what the two images are.
        title: stands above them.
        share: another panel that this one moves and zooms together with.
        max_width: the image grows with the page up to this width, in pixels.

    Returns:
        The panel, and its controls: how to compare, and how much of the first image is seen.

    Raises:
        ValueError: the images differ in shape, or are not (H, W, 3) uint8.
    """
    below, above = _channels_first(np.asarray(second)), _channels_first(np.asarray(first))
    if below.shape != above.shape:
        raise ValueError(f"Images must have one shape, got {above.shape} and {below.shape}.")
    height, width = below.shape[1:]
    panel = _composite_panel(below, title=title, share=share, max_width=max_width)
    source = ColumnDataSource({"image": [np.zeros((1, 1), np.uint32)], "cube": [above]})
    top = panel.figure.image_rgba(
        "image",
        source=source,
        x=0,
        y=0,
        dw=width,
        dh=height,
        origin="bottom_left",
        anchor="bottom_left",
    )
    mode = Select(title="Compare by", value="curtain", options=["curtain", "blend"], width=120)
    share_of_first = Slider(title=f"{labels[0]} (%)", start=0, end=100, step=1, value=50, width=260)
    edge = panel.figure.vspan(x=width / 2, line_color="white", line_width=2, line_alpha=0.9)
    update = CustomJS(
        args={
            "source": source,
            "mode": mode,
            "amount": share_of_first,
            "glyph": top.glyph,
            "edge": edge,
            "width": width,
        },
        code="""
            const share = amount.value / 100;
            const curtain = mode.value == "curtain";
            const column = Math.round(width * share);
            dcfnetViews.show(source, 0, 1, 2, curtain ? column : width);
            glyph.global_alpha = curtain ? 1 : share;
            edge.visible = curtain;
            edge.glyph.x = {value: column};
        """,
    )
    mode.js_on_change("value", update)
    share_of_first.js_on_change("value", update)
    _when_shown(panel.figure, update)
    return panel, [mode, share_of_first]


def spectrum_probe(
    panel: Panel,
    spectra: npt.ArrayLike,
    wavelengths: Sequence[float],
    *,
    names: Sequence[str],
    value_name: str,
    start: tuple[int, int] | None = None,
    max_width: int = 480,
) -> tuple[LayoutDOM, list[LayoutDOM]]:
    """The spectrum of the pixel that the reader points at or steps to.

    Args:
        panel: the image to point at, one unit of its coordinates per pixel of `spectra`.
        spectra: (C, H, W), stored in eight bits from 0 to the maximum (see `quantise`).
        wavelengths: the bands' centres, in nanometres.
        names: the bands' names.
        value_name: what the numbers are, for the axis.
        start: row and column shown first, the middle unless given.
        max_width: the plot grows with the page up to this width, in pixels.

    Returns:
        The plot, and its controls: the row and the column. Clicking the image sets them too.
    """
    cube = np.asarray(spectra)
    coded = quantise(cube, low=min(0.0, float(cube.min())))
    _, height, width = coded.codes.shape
    start = start or (height // 2, width // 2)
    order = np.argsort(wavelengths)
    line = ColumnDataSource(
        {
            "nm": np.asarray(wavelengths, dtype=float)[order],
            "value": coded.values()[order, start[0], start[1]],
            "band": np.asarray(names)[order],
        }
    )
    mark = ColumnDataSource({"x": [start[1] + 0.5], "y": [start[0] + 0.5]})
    panel.figure.scatter(
        "x",
        "y",
        source=mark,
        marker="circle_cross",
        size=16,
        line_width=4,
        fill_color=None,
        line_color="black",
    )
    panel.figure.scatter(
        "x",
        "y",
        source=mark,
        marker="circle_cross",
        size=16,
        line_width=1.5,
        fill_color=None,
        line_color="white",
    )
    plot = figure(
        height=300,
        sizing_mode="stretch_width",
        max_width=max_width,
        toolbar_location=None,
        tools=[HoverTool(tooltips="@band: @value{0.[0]}", mode="vline")],
        x_axis_label="wavelength (nm)",
        y_axis_label=value_name,
        y_range=Range1d(0, coded.low + 255 * coded.step),
        html_attributes={"role": "img", "aria-label": f"{value_name} against wavelength"},
    )
    # Teal: enough contrast on white and on black grounds.
    plot.line("nm", "value", source=line, line_width=2, line_color="#12939a")
    plot.scatter("nm", "value", source=line, size=8, color="#12939a")
    rows = Slider(title="Row", start=0, end=height - 1, step=1, value=start[0], width=200)
    columns = Slider(title="Column", start=0, end=width - 1, step=1, value=start[1], width=200)
    move = CustomJS(
        args={
            "line": line,
            "mark": mark,
            "rows": rows,
            "columns": columns,
            "cube": ColumnDataSource({"codes": [coded.codes]}),
            "low": coded.low,
            "step": coded.step,
            "order": order.tolist(),
        },
        code="""
            const codes = cube.data.codes[0];
            const [, height, width] = codes.shape;
            const at = rows.value * width + columns.value;
            line.data = {...line.data,
                value: order.map((band) => low + step * codes[band * height * width + at])};
            mark.data = {x: [columns.value + 0.5], y: [rows.value + 0.5]};
        """,
    )
    rows.js_on_change("value", move)
    columns.js_on_change("value", move)
    panel.figure.js_on_event(
        Tap,
        CustomJS(
            args={"rows": rows, "columns": columns},
            code="""
        const clip = (value, slider) => Math.max(0, Math.min(slider.end, Math.floor(value)));
        rows.value = clip(cb_obj.y, rows);
        columns.value = clip(cb_obj.x, columns);
    """,
        ),
    )
    return plot, [rows, columns]


def frame_panels(
    stacks: Mapping[str, npt.NDArray[np.uint8]],
    choices: Mapping[str, Sequence[str]],
    *,
    max_width: int = 320,
) -> tuple[list[Panel], list[Select]]:
    """Images of which the reader chooses one: all panels follow the same choices.

    Args:
        stacks: title of a panel to its images, uint8 (n1, ..., nk, H, W, 3). Coarser images are
            drawn over the same ground as those of the first panel.
        choices: title of a control to its n options, one control for each of the k leading axes.
        max_width: each image grows with the page up to this width, in pixels.

    Returns:
        The panels, and their controls.

    Raises:
        ValueError: a stack does not fit the choices.
    """
    counts = tuple(len(options) for options in choices.values())
    selects = _selects(choices)
    panels: list[Panel] = []
    for title, stack in stacks.items():
        if stack.dtype != np.uint8 or stack.shape[:-3] != counts or stack.shape[-1] != 3:
            raise ValueError(
                f"{title!r} must be uint8 of shape {(*counts, 'H', 'W', 3)}, "
                f"got {stack.dtype} {stack.shape}."
            )
        height, width = stack.shape[-3:-1]
        cube = stack.reshape(-1, height, width, 3).transpose(0, 3, 1, 2).reshape(-1, height, width)
        panel = _composite_panel(
            np.ascontiguousarray(cube),
            title=title,
            share=panels[0] if panels else None,
            extent=next(iter(stacks.values())).shape[-3:-1],
            max_width=max_width,
        )
        show = CustomJS(
            args={"source": panel.source, "selects": selects, "counts": counts},
            code=_CHOSEN + "dcfnetViews.show(source, 3 * chosen, 3 * chosen + 1, 3 * chosen + 2);",
        )
        for select in selects:
            select.js_on_change("value", show)
        panels.append(panel)
    return panels, selects


def part_explorer(
    model: DCFNet,
    pan: Tensor,
    ms: Tensor,
    lms: Tensor,
    *,
    picture: npt.NDArray[np.uint8],
    channels: int = 8,
    max_width: int = 480,
) -> LayoutDOM:
    """The parts of a DCFNet: what each is, where it stands, and what it makes of an image.

    The reader picks a part, in a list or in the drawing, and one of its maps: the mean over its
    channels, or one of the channels that vary most over the image.

    Args:
        model: the network, run in eval mode.
        pan: (1, 1, H, W), as for the network.
        ms: (1, C, H/4, W/4).
        lms: (1, C, H, W).
        picture: (H, W, 3) uint8, the image as a reader knows it, shown beside the maps.
        channels: how many single channels of a part to offer.
        max_width: maps grow with the page up to this width, in pixels.

    Returns:
        The layout, whole with its controls.
    """
    parts = model.parts()
    training = model.training
    seen = activations(model.eval(), parts, pan, ms, lms)
    model.train(training)
    maps: list[npt.NDArray[np.floating]] = []
    first: list[int] = []  # of each part's maps, the position of the mean
    options: list[list[tuple[str, str]]] = []
    for name in parts:
        values = seen[name][0].cpu().numpy()
        chosen = np.argsort(-values.std(axis=(1, 2)), kind="stable")[:channels]
        first.append(len(maps))
        maps += [values.mean(axis=0), *values[chosen]]
        options.append(
            [("0", "mean of channels")]
            + [(str(rank), f"channel {k}") for rank, k in enumerate(chosen, start=1)]
        )

    extent = (float(pan.shape[-2]), float(pan.shape[-1]))
    panel, choice = map_panel(maps, title="Feature map", extent=extent, max_width=max_width)
    image = image_panel(picture, title="The image", share=panel, max_width=max_width)
    part = Select(title="Part", value=next(iter(parts)), options=_grouped(parts), width=325)
    part.styles = {"max-width": "calc(100% - 10px)"}
    which = Select(title="Map", value="0", options=options[0], width=185)
    facts = _part_facts(model, pan.shape[-2], pan.shape[-1])
    marks = [Diagram.mark(name) for name in parts]
    words = Div(
        text=facts[0],
        disable_math=True,
        sizing_mode="stretch_width",
        html_attributes={"aria-live": "polite"},
    )
    drawing = Div(
        text=architecture(model, pan.shape[-2], pan.shape[-1]).svg,
        disable_math=True,
        sizing_mode="stretch_width",
        stylesheets=[marks[0]],
        tags=["dcf-diagram", part],
    )
    args = {"part": part, "which": which, "choice": choice, "first": first, "names": list(parts)}
    show = CustomJS(
        args=args,
        code="""
            const i = names.indexOf(part.value);
            choice.data = {index: [first[i] + Number(which.value)]};
        """,
    )
    change = CustomJS(
        args={
            **args, "options": options, "facts": facts, "marks": marks, "words": words,
            "drawing": drawing,
        },
        code="""
            const i = names.indexOf(part.value);
            const value = which.value < options[i].length ? which.value : "0";
            which.setv({options: options[i], value});
            words.text = facts[i];
            drawing.stylesheets = [...drawing.stylesheets.slice(0, -1), marks[i]];
            choice.data = {index: [first[i] + Number(value)]};
        """,
    )  # fmt: skip
    part.js_on_change("value", change)
    which.js_on_change("value", show)
    return column(
        controls(part, which, palette_chooser(panel)),
        words,
        side_by_side(column(panel.layout, image.layout, sizing_mode="stretch_width"), drawing),
        sizing_mode="stretch_width",
    )


def _grouped(parts: Mapping[str, Part]) -> dict[str, list[tuple[str, str]]]:
    """The parts as options of a control, in groups."""
    titles = {
        "stem": "Trunk",
        "stage1": "Trunk",
        "to_branch0": "Trunk",
        "pcft1": "First PCFT",
        "stage2.branches": "Stage 2",
        "pcft2": "Second PCFT",
        "stage2.fusion": "Dynamic fusion of stage 2",
        "stage3.branches": "Stage 3",
        "stage3.fusion": "Dynamic fusion of stage 3",
        "head": "Head",
    }
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, part in parts.items():
        title = next(title for key, title in titles.items() if f"{name}.".startswith(f"{key}."))
        groups.setdefault(title, []).append((name, part.label[0].upper() + part.label[1:]))
    return groups


def _part_facts(model: DCFNet, height: int, width: int) -> list[str]:
    """What each part is and costs, as HTML."""
    macs = count_operations(model, height, width)
    whole = count_parameters(model)
    facts = []
    for name, part in model.parts().items():
        parameters = count_parameters(model.get_submodule(name))
        operations = macs.get(name, 0)
        rows = {
            "output": " × ".join(map(str, part.shape(height, width))),
            "parameters": f"{parameters:,}{_share(parameters, whole)}",
            "multiply-accumulates": f"{operations / 1e6:,.1f} million{_share(operations, macs[''])}"
            if operations
            else "none in convolutions",
        }
        cells = "".join(
            f'<span style="white-space: nowrap"><span style="color: var(--dcf-muted)">{title}'
            f"</span> {value}</span>"
            for title, value in rows.items()
        )
        facts.append(
            f'<div style="font-weight: 600">{html.escape(part.label)}</div>'
            f'<code style="overflow-wrap: anywhere">{html.escape(name)}</code>'
            f'<div style="display: flex; flex-wrap: wrap; gap: 0 1.5em">{cells}</div>'
        )
    return facts


def _share(part: int, whole: int) -> str:
    if not part:
        return ""
    return f" ({part / whole:.1%})" if part >= 0.001 * whole else " (under 0.1%)"


def bars(
    values: npt.ArrayLike,
    names: Sequence[str],
    selects: Sequence[Select],
    *,
    title: str,
    limit: float | None = None,
    max_width: int = 480,
) -> LayoutDOM:
    """Numbers that belong to the chosen frame, as bars.

    Args:
        values: (n1, ..., nk, M) numbers, the leading axes as in :func:`frame_panels`.
        names: what the M numbers are.
        selects: the controls of :func:`frame_panels`.
        title: stands above the bars.
        limit: where the axis ends, the largest value unless given.
        max_width: the plot grows with the page up to this width, in pixels.
    """
    table = np.asarray(values, dtype=float).reshape(-1, len(names))
    counts = [len(select.options) for select in selects]
    source = ColumnDataSource({"name": list(names), "value": table[0]})
    plot = figure(
        y_range=list(names)[::-1],
        x_range=Range1d(0, limit or float(np.nanmax(table))),
        height=40 + 28 * len(names),
        sizing_mode="stretch_width",
        max_width=max_width,
        toolbar_location=None,
        tools=[HoverTool(tooltips="@name: @value{0.[000]}")],
        html_attributes={"role": "img", "aria-label": title},
    )
    # Teal: enough contrast on white and on black grounds.
    plot.hbar(y="name", right="value", height=0.6, source=source, color="#12939a")
    plot.ygrid.visible = False
    update = CustomJS(
        args={"source": source, "selects": selects, "counts": counts, "table": table.tolist()},
        code=_CHOSEN + "source.data = {...source.data, value: table[chosen]};",
    )
    for select in selects:
        select.js_on_change("value", update)
    return _titled(title, max_width, plot)


# The frame that the controls choose, its axes in row-major order.
_CHOSEN = """
    const chosen = selects.reduce((sum, select, i) => sum * counts[i] + Number(select.value), 0);
"""


def _selects(choices: Mapping[str, Sequence[str]]) -> list[Select]:
    return [
        Select(
            title=title,
            value="0",
            options=[(str(index), option) for index, option in enumerate(options)],
            width=200,
        )
        for title, options in choices.items()
    ]


def palette_chooser(*panels: Panel, title: str = "Colour map") -> Select:
    """Chooses the colour map of panels of (H, W) images.

    Args:
        panels: the panels that follow the choice.
        title: the control's name.

    Returns:
        The control.

    Raises:
        ValueError: a panel has no colour map.
    """
    mappers = [panel.mapper for panel in panels]
    if None in mappers:
        raise ValueError("A panel of an (H, W, 3) image has no colour map to choose.")
    names = {tuple(palette): name for name, palette in PALETTES.items()}
    control = Select(
        title=title, value=names[tuple(mappers[0].palette)], options=list(PALETTES), width=120
    )
    control.js_on_change(
        "value",
        CustomJS(
            args={"mappers": mappers, "palettes": {k: list(v) for k, v in PALETTES.items()}},
            code="for (const mapper of mappers) mapper.palette = palettes[cb_obj.value];",
        ),
    )
    return control


def controls(*widgets: LayoutDOM) -> LayoutDOM:
    """Controls in a row that breaks where the page is narrow."""
    wrap = InlineStyleSheet(
        css=":host { flex-wrap: wrap; align-items: flex-end; margin-left: -5px; }"
    )
    return row(*widgets, sizing_mode="stretch_width", stylesheets=[wrap], spacing=4)


def side_by_side(*items: Panel | LayoutDOM, min_width: int = 240) -> LayoutDOM:
    """Panels beside each other, below each other where the page is narrow.

    Args:
        items: panels or other layouts.
        min_width: what each needs at least, in pixels.

    Returns:
        The layout.
    """
    grid = InlineStyleSheet(
        css=f"""
        :host {{
          display: grid !important; gap: 12px;
          grid-template-columns: repeat(auto-fit, minmax(min(100%, {min_width}px), 1fr));
        }}
    """
    )
    layouts = [item.layout if isinstance(item, Panel) else item for item in items]
    return row(*layouts, sizing_mode="stretch_width", stylesheets=[grid])


def _channels_first(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"Expected (H, W, 3) of uint8, got {image.dtype} {image.shape}.")
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def _composite_panel(
    cube: npt.NDArray[np.uint8],
    bands: tuple[int, int, int] = (0, 1, 2),
    *,
    title: str,
    share: Panel | None = None,
    extent: tuple[float, float] | None = None,
    max_width: int,
) -> Panel:
    """A colour image that the browser puts together from three of the bands of a cube."""
    extent = extent or (float(cube.shape[1]), float(cube.shape[2]))
    source = ColumnDataSource({"image": [np.zeros((1, 1), np.uint32)], "cube": [cube]})
    plot = _frame(extent, title, share, max_width)
    plot.image_rgba(
        "image",
        source=source,
        x=0,
        y=0,
        dw=extent[1],
        dh=extent[0],
        origin="bottom_left",
        anchor="bottom_left",
    )
    show = CustomJS(
        args={"source": source, "bands": list(bands)},
        code="dcfnetViews.show(source, ...bands)",
    )
    _when_shown(plot, show)
    return Panel(_titled(title, max_width, plot), plot, source)


def _frame(extent: tuple[float, float], title: str, share: Panel | None, max_width: int) -> figure:
    """An empty figure for an image: rows run down, pixels are square, ranges shared if asked."""
    height, width = extent
    if share is None:
        x_range = _range(0, width)
        y_range = _range(height, 0)
    else:
        x_range, y_range = share.figure.x_range, share.figure.y_range
    keys = "Arrow keys move, plus and minus zoom, zero resets."
    plot = figure(
        x_range=x_range,
        y_range=y_range,
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


def _scale(mapper: LinearColorMapper, max_width: int) -> figure:
    """The colours of a mapper over their numbers, as wide as the image above."""
    low, high = mapper.low, mapper.high
    margin = 0.05 * (high - low)
    ticks = [
        tick
        for tick in MaxNLocator(4).tick_values(low, high)
        if low + margin <= tick <= high - margin
    ]
    scale = figure(
        x_range=Range1d(low, high),
        y_range=Range1d(0, 1),
        height=36,
        min_border=0,
        toolbar_location=None,
        tools=[],
        sizing_mode="stretch_width",
        max_width=max_width,
        html_attributes={"role": "img", "aria-label": f"Colour scale from {low:g} to {high:g}"},
    )
    colours = np.linspace(low, high, 256, dtype=np.float32)[None]
    scale.image([colours], x=low, y=0, dw=high - low, dh=1, color_mapper=mapper)
    scale.xaxis.ticker = FixedTicker(ticks=ticks)
    scale.yaxis.visible = False
    scale.grid.visible = False
    scale.outline_line_color = None
    return scale


def _titled(title: str, max_width: int, *parts: LayoutDOM) -> LayoutDOM:
    heading = Div(
        text=html.escape(title),
        disable_math=True,
        sizing_mode="stretch_width",
        styles={"font-weight": "600"},
        margin=(6, 0, 2, 0),
    )
    return column(heading, *parts, sizing_mode="stretch_width", max_width=max_width, spacing=2)


def _when_shown(model: Model, callback: CustomJS) -> None:
    """Has a callback run as soon as the browser has drawn the view; `View` collects these."""
    model.tags = [*model.tags, callback]
