"""Class activation maps to choose from: patch, part of the network, band, region and reading."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from bokeh.events import SelectionGeometry
from bokeh.models import (
    BoxSelectTool,
    CheckboxButtonGroup,
    ColumnDataSource,
    CustomJS,
    LayoutDOM,
    RangeSlider,
    Select,
    Slider,
)
from matplotlib import colormaps
from matplotlib.colors import to_hex

from dcfnet.imagery.wald import Sample
from dcfnet.networks.dcfnet import DCFNet
from dcfnet.show.views.atlas import KINDS, CamAtlas, CamKernel, Places, Regions
from dcfnet.show.views.panels import (
    PALETTES,
    channels_first,
    choice,
    column,
    controls,
    frame,
    map_panel,
    put_image,
    side_by_side,
    titled,
    words,
)
from dcfnet.show.views.parts import part_chooser
from dcfnet.show.views.store import cube
from dcfnet.show.views.view import LiveView, View, call, respond, when_shown

__all__ = ["cam_explorer"]

# Purple is negative, orange positive, and zero is white, for colour-blind readers as well.
_SIGNED = [to_hex(colour) for colour in colormaps["PuOr_r"](np.linspace(0, 1, 256))]
_SCALES = {
    "bands": "shared by all bands",
    "parts": "shared by all parts",
    "all": "shared by both",
    "own": "its own",
}


def cam_explorer(
    model: DCFNet,
    patches: Mapping[str, Sample],
    *,
    parts: Sequence[str] | None = None,
    regions: Regions | None = None,
    name: str,
    alt: str,
    budget: float = 6e6,
) -> LiveView:
    """Class activation maps to choose from: patch, part of the network, band, region and reading.

    In JupyterLab the kernel computes what is asked for, also for a box that the reader draws and
    for any sum of bands. In the rendered page a precomputed set answers, in eight bits.

    Args:
        model: The network.
        patches: Name to sample, all of one size and one scene (see `Sample.crop`).
        parts: Names out of ``model.parts()``; the dynamic fusion of stage 3 and the concatenation
            before the head unless given.
        regions: Name to rows and columns over which a band is averaged (``np.s_[8:24, 8:24]``), to
            None for the whole image, or to one of these for each patch by its name. The whole
            image is always there.
        name: See `View`.
        alt: See `View`.
        budget: How many bytes of the page the precomputed maps may take. Where they do not fit,
            those with the ReLU before the sum are left out.

    Returns:
        The view: live, its ``page`` what the rendered book shows.

    Raises:
        ValueError: A name is unknown, patches differ in size, a region is empty, or the maps do
            not fit the budget.

    Example:
        >>> explorer = cam_explorer(
        ...     model, {"roofs": test.crop(np.s_[0:64], np.s_[0:64])},
        ...     regions={"roof": np.s_[20:40, 10:30]}, name="cams", alt="Maps to choose from.",
        ... )
    """
    if parts is None:
        parts = [it for it in model.parts() if it.startswith(("stage3.fusion.", "head.concat"))]
    atlas = CamAtlas(model, patches, parts)
    places = atlas.places(regions or {})
    store, kinds = atlas.precomputed(places, budget)
    credit = next(iter(patches.values())).attribution
    page = View(_face(atlas, places, kinds, store), name=name, alt=alt, attribution=credit)
    kernel = CamKernel(atlas)
    live = _face(atlas, places, KINDS, kernel.store, kernel.asked)
    for each in live.references():
        each.syncable = each is kernel.asked  # what else changes in the page stays there
    return LiveView(live, page=page)


def _face(
    atlas: CamAtlas,
    places: Places,
    kinds: Iterable[str],
    store: ColumnDataSource,
    asked: ColumnDataSource | None = None,
) -> LayoutDOM:
    """What the reader sees, in the page and, where the kernel can be asked, in JupyterLab.

    Which map is shown, in which colours and with which words, cams.js decides for both.
    """
    live = asked is not None
    pictures = atlas.pictures()
    picture = ColumnDataSource({"image": [np.zeros((1, 1), np.uint32)]})
    outline = ColumnDataSource({"left": [0], "right": [1], "top": [0], "bottom": [1]})
    extent = (atlas.height, atlas.width)
    overlay = map_panel(store, extent, title="Map over the image", below=picture)
    glyph = overlay.figure.renderers[-1].glyph
    glyph.global_alpha = 0.7
    title = "The image, and the region"
    beside = frame(extent, title, overlay)
    put_image(beside, picture, extent)
    for plot in (overlay.figure, beside):
        for colour, width in (("black", 4), ("white", 1.5)):
            edges = {side: side for side in outline.data}
            plot.quad(**edges, source=outline, fill_color=None, line_color=colour, line_width=width)

    shown = _choices(atlas, places, kinds, list(pictures), live)
    sides = {"rows": atlas.height, "columns": atlas.width}
    sliders = {
        side: RangeSlider(title=side.title(), start=0, end=end, value=(0, end), width=180)
        for side, end in (sides.items() if live else ())
    }
    said = words("", html_attributes={"aria-live": "polite"}, margin=(5, 0, 0, 0))
    args = {
        **overlay.models,
        **shown,
        **sliders,
        "asked": asked,
        "pictures": cube(channels_first(np.stack(list(pictures.values()), axis=1))),
        "picture": picture,
        "outline": outline,
        "words": said,
        "parts": list(atlas.parts),
        "facts": atlas.facts(),
        "edges": [list(map(list, each)) for each in places.values()],
        "palettes": list(map(list, PALETTES.values())),
        "signed": _SIGNED,
    }
    show = call("showCam", **args)
    respond(show, *shown.values())
    when_shown(overlay.figure, show)
    below = [said]
    if live:
        store.js_on_change("data", show)
        own = call("ownBox", **args)
        for slider in sliders.values():
            slider.js_on_change("value_throttled", own)
        for plot in (overlay.figure, beside):
            tool = BoxSelectTool(renderers=[])
            plot.add_tools(tool)
            plot.toolbar.active_drag = tool
            plot.js_on_event(SelectionGeometry, own)
        hint = "Drag a box on an image, or set its rows and columns, to average over it."
        hinted = words(hint, "dcf-muted", margin=(5, 0, 0, 0))
        below = [controls(*sliders.values()), hinted, said]

    opacity = Slider(title="Map's opacity (%)", start=0, end=100, step=5, value=70, width=180)
    fade = CustomJS(args={"glyph": glyph}, code="glyph.global_alpha = cb_obj.value / 100")
    opacity.js_on_change("value", fade)
    heading = words("Bands, their maps summed", margin=(0, 5, 0, 5))
    above = [
        control if isinstance(control, Select) else column(heading, control)
        for name, control in shown.items()
        if name in ("part", "band") or len(control.options) > 1
    ]
    return column(
        controls(*above, opacity),
        *below,
        side_by_side(overlay, titled(title, beside)),
        sizing_mode="stretch_width",
    )


def _choices(
    atlas: CamAtlas, places: Places, kinds: Iterable[str], looks: Sequence[str], live: bool
) -> dict[str, LayoutDOM]:
    """The controls that ask for another picture, by the names that cams.js knows them by."""
    bands = [f"{i + 1} {band}" for i, band in enumerate(atlas.sensor.bands)]
    red = atlas.sensor.rgb[0]
    regions = [*places, "your own box"] if live else list(places)
    named = [(kind, KINDS[kind]) for kind in kinds]
    scales = list(_SCALES.items())
    return {
        "patch": choice("Patch", list(atlas.patches), 150),
        "part": part_chooser(atlas.parts, 410),
        "band": CheckboxButtonGroup(labels=bands, active=[red], name="Bands, their maps summed")
        if live
        else choice("Band", bands, 110, value=red),
        "region": choice("Averaged over", regions, 150),
        "look": choice("Image", looks, 140),
        "colours": Select(title="Colour map", value="viridis", options=list(PALETTES), width=120),
        "sharing": Select(title="Colour scale", value="bands", options=scales, width=185),
        "kind": Select(title="Shown", value="after", options=named, width=220),
    }
