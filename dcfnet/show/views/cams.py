"""Grad-CAM of a DCFNet: any patch, part, band and region, live or from a precomputed set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from bokeh.events import SelectionGeometry
from bokeh.layouts import column
from bokeh.models import (
    BoxSelectTool,
    CheckboxButtonGroup,
    ColumnDataSource,
    CustomJS,
    Div,
    HoverTool,
    LayoutDOM,
    LinearColorMapper,
    PrintfTickFormatter,
    RangeSlider,
    Select,
    Slider,
)
from bokeh.plotting import figure
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from dcfnet.imagery.composite import SUPPLEMENT_QUANTILES, band_limits, composite
from dcfnet.imagery.sensors import Sensor
from dcfnet.imagery.wald import Sample
from dcfnet.inside.gradcam import GradCAM, LayerMaps
from dcfnet.networks.dcfnet import DCFNet, Part
from dcfnet.show.views.panels import (
    PALETTES,
    LiveView,
    Panel,
    View,
    _frame,
    _grouped,
    _scale,
    _titled,
    _when_shown,
    controls,
    side_by_side,
)

__all__ = ["CamAtlas", "cam_explorer"]

Box = tuple[slice, slice] | None
Inputs = tuple[Tensor, Tensor, Tensor]

# Purple is negative, orange positive, and zero is white, for colour-blind readers as well.
_SIGNED = [to_hex(colour) for colour in colormaps["PuOr_r"](np.linspace(0, 1, 256))]
_KEPT = 8000  # maps, of 16 kB at most for a patch of 64 x 64
_KINDS = {
    "after": "map, ReLU after the sum",
    "before": "map, ReLU before the sum",
    "signed": "signed map, no ReLU",
    "feature": "feature map",
}
_SCALES = {
    "bands": "shared by all bands",
    "parts": "shared by all parts",
    "all": "shared by both",
    "own": "its own",
}


class CamAtlas:
    """Grad-CAM maps of several patches, each computed when it is first asked for.

    A patch costs one forward pass. A band over a region costs one backward pass, which serves all
    parts; a sum of bands costs none beyond those of its bands.

    Args:
        model: A DCFNet.
        patches: Name to a sample, or to the network's inputs ``pan``, ``ms``, ``lms`` with a
            leading axis of 1. All of one size.
        sensor: Its largest value scales the digital numbers of samples.
        parts: Names out of ``model.parts()``.

    Raises:
        ValueError: There is no patch, patches differ in size, or a name is unknown.
    """

    def __init__(
        self,
        model: DCFNet,
        patches: Mapping[str, Sample | Inputs],
        sensor: Sensor,
        parts: Sequence[str],
    ) -> None:
        self.sensor = sensor
        self.parts: dict[str, Part] = _chosen(model.parts(), parts)
        self.bands = model.bands
        where = next(model.parameters()).device
        self.patches = dict(patches)
        self._inputs = {name: _inputs(it, where) for name, it in self.patches.items()}
        sizes = {tuple(pan.shape[-2:]) for pan, _, _ in self._inputs.values()}
        if len(sizes) != 1:
            raise ValueError(f"expected patches of one size, got {sorted(sizes) or 'no patch'}")
        self.height, self.width = sizes.pop()
        self._model = model
        self._passes: dict[str, tuple[GradCAM, Tensor]] = {}
        self._alphas: dict[tuple, dict[str, LayerMaps]] = {}
        self._maps: dict[tuple, npt.NDArray[np.float32]] = {}

    def picture(self, patch: str) -> dict[str, npt.NDArray[np.uint8]]:
        """The patch as colour images (H, W, 3): bands 1, 3, 5 as in the supplement, and natural.

        The truth where the patch has one, else what the network makes of the patch.
        """
        truth = getattr(self.patches[patch], "gt", None)
        if truth is None:
            truth = (self._pass(patch)[1][0] * self.sensor.max_value).clip(0).cpu().numpy()
        limits = band_limits(truth, SUPPLEMENT_QUANTILES)
        return {
            "bands 1, 3, 5": composite(truth, self.sensor, self.sensor.rgb_135, limits),
            "natural colour": composite(truth, self.sensor),
        }

    def maps(
        self, patch: str, part: str, kind: str, bands: Iterable[int] = (), box: Box = None
    ) -> npt.NDArray[np.float32]:
        """One map, at the part's own resolution.

        Args:
            patch: Name of a patch.
            part: Name of a part.
            kind: ``"after"`` or ``"before"``, where the ReLU stands; ``"signed"``; ``"feature"``.
            bands: The bands, from 0, whose means over the box are summed; a feature map knows
                none.
            box: Rows and columns of the fused image; None for all of it.

        Returns:
            (h, w).
        """
        bands = tuple(sorted(bands))
        edges = _edges(box, self.height, self.width)
        key = (patch, part, kind) if kind == "feature" else (patch, part, kind, bands, edges)
        if key not in self._maps:
            if len(self._maps) >= _KEPT:
                self._maps.clear()  # made again from what the passes left, in no time
            self._maps[key] = self._map(patch, part, kind, bands, edges)
        return self._maps[key]

    def _map(
        self, patch: str, part: str, kind: str, bands: tuple[int, ...], edges: tuple[int, ...]
    ) -> npt.NDArray[np.float32]:
        # A feature map knows no band: any will do.
        found = [self._layers(patch, band, edges)[part] for band in bands or (0,)]
        layer = LayerMaps(part, found[0].activations, sum(one.alpha for one in found))
        if kind == "feature":
            values = layer.features
        else:
            values = layer.signed if kind == "signed" else layer.map(kind)
        return values[0].float().cpu().numpy()

    def _layers(self, patch: str, band: int, edges: tuple[int, ...]) -> dict[str, LayerMaps]:
        key = (patch, band, edges)
        if key not in self._alphas:
            top, bottom, left, right = edges
            cam, _ = self._pass(patch)
            self._alphas[key] = cam.maps(band, np.s_[top:bottom, left:right])
        return self._alphas[key]

    def _pass(self, patch: str) -> tuple[GradCAM, Tensor]:
        if patch not in self._passes:
            cam = GradCAM(self._model, self.parts)
            self._passes[patch] = (cam, cam(*self._inputs[patch]))
        return self._passes[patch]


def cam_explorer(
    model: DCFNet,
    patches: Mapping[str, Sample | Inputs],
    sensor: Sensor,
    *,
    parts: Sequence[str] | None = None,
    regions: Mapping[str, Box | Mapping[str, Box]] | None = None,
    name: str,
    alt: str,
    attribution: str = "",
    live: bool = True,
    budget: float = 6e6,
    max_width: int = 480,
) -> LiveView | View:
    """Class activation maps to choose from: patch, part of the network, band, region and reading.

    In JupyterLab the kernel computes what is asked for, also for a box that the reader draws and
    for any sum of bands. In the rendered page a precomputed set answers, in eight bits.

    Args:
        model: The network.
        patches: Name to a sample (see `Sample.crop`), or to the network's inputs
            ``pan``, ``ms``, ``lms`` with a leading axis of 1. All of one size.
        sensor: The patches' sensor.
        parts: Names out of ``model.parts()``; the dynamic fusion of stage 3 and the concatenation
            before the head unless given.
        regions: Name to rows and columns over which a band is averaged (``np.s_[8:24, 8:24]``), to
            None for the whole image, or to one of these for each patch by its name. The whole
            image is always there.
        name: See `View`.
        alt: See `View`.
        attribution: See `View`.
        live: Whether JupyterLab gets the live view; otherwise it shows what the page shows.
        budget: How many bytes of the page the precomputed maps may take. Where they do not fit,
            those with the ReLU before the sum are left out.
        max_width: Images grow with the page up to this width, in pixels.

    Returns:
        The view: live, its ``page`` what the rendered book shows; or that page itself.

    Raises:
        ValueError: A name is unknown, patches differ in size, a region is empty, or the maps do
            not fit the budget.

    Example:
        >>> explorer = cam_explorer(
        ...     model, {"roofs": test.crop(np.s_[0:64], np.s_[0:64])}, scene.sensor,
        ...     regions={"roof": np.s_[20:40, 10:30]}, name="cams", alt="Maps to choose from.",
        ... )
    """
    atlas = CamAtlas(model, patches, sensor, _default(model) if parts is None else parts)
    places = _places(regions, list(patches), atlas)
    facts = [_fact(model, part, atlas) for part in atlas.parts.values()]
    page = View(
        _page(atlas, places, facts, budget, max_width),
        name=name,
        alt=alt,
        attribution=attribution,
    )
    return LiveView(_live(atlas, places, facts, max_width), page=page) if live else page


def _default(model: DCFNet) -> list[str]:
    return [
        name for name in model.parts() if name.startswith("stage3.fusion.") or name == "head.concat"
    ]


def _chosen(known: Mapping[str, Part], names: Sequence[str]) -> dict[str, Part]:
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(
            f"the network has no part {unknown[0]!r}; model.parts() lists all"
            if unknown
            else "expected at least one part, got none"
        )
    return {name: known[name] for name in names}


def _inputs(patch: Sample | Inputs, where: torch.device) -> Inputs:
    """What the network takes, each with a leading axis of 1."""
    if not isinstance(patch, Sample):
        pan, ms, lms = (image.detach().to(where) for image in patch)
        if pan.ndim != 4 or len(pan) != 1:
            raise ValueError(f"expected one patch, pan (1, 1, H, W), got {tuple(pan.shape)}")
        return pan, ms, lms
    return patch.inputs(where)


def _edges(box: Box, height: int, width: int) -> tuple[int, int, int, int]:
    """First row, end row, first column, end column."""
    rows, cols = box or (slice(None), slice(None))
    top, bottom, _ = rows.indices(height)
    left, right, _ = cols.indices(width)
    if top >= bottom or left >= right:
        raise ValueError(f"the region {box} holds no pixel of a patch of {height} x {width}")
    return top, bottom, left, right


def _places(
    regions: Mapping[str, Box | Mapping[str, Box]] | None, patches: list[str], atlas: CamAtlas
) -> dict[str, list[tuple[int, int, int, int]]]:
    """Name of a region to its edges in each patch; the whole image is among them."""
    quarter = np.s_[
        atlas.height // 4 : -(atlas.height // 4), atlas.width // 4 : -(atlas.width // 4)
    ]
    regions = {"the middle": quarter} if regions is None else dict(regions)
    if None not in [box for box in regions.values() if not isinstance(box, Mapping)]:
        regions = {"whole image": None, **regions}
    places = {}
    for name, boxes in regions.items():
        each = boxes if isinstance(boxes, Mapping) else dict.fromkeys(patches, boxes)
        if missing := [patch for patch in patches if patch not in each]:
            raise ValueError(f"the region {name!r} has no box for the patch {missing[0]!r}")
        places[name] = [_edges(each[patch], atlas.height, atlas.width) for patch in patches]
    return places


def _fact(model: DCFNet, part: Part, atlas: CamAtlas) -> str:
    """One line about a part: its channels, its size and, of a transfer, its learned share."""
    channels, rows, columns = part.shape(atlas.height, atlas.width)
    fact = f"{channels} channels of {rows} × {columns} values."
    if part.source is not None:
        fusion = model.get_submodule(f"stage{part.stage}.fusion")
        share = float(fusion.shares().detach()[part.target, part.source])
        fact += f" Learned share a<sub>{part.target}{part.source}</sub> = {share:.2f}."
    return fact


# --- What both faces are made of --------------------------------------------------------------


@dataclass
class _Stage:
    """The two images, what is drawn on them, and the controls that both faces have."""

    image: Panel
    overlay: Panel
    picture: ColumnDataSource
    map: ColumnDataSource
    box: ColumnDataSource
    words: Div
    patch: Select
    part: Select
    region: Select
    look: Select
    scale: Select
    colours: Select
    kind: Select
    opacity: Slider

    @property
    def choices(self) -> list[Select]:
        """The controls that ask for another picture; the opacity needs none."""
        return [
            self.patch, self.part, self.region, self.look, self.colours, self.scale, self.kind,
        ]  # fmt: skip

    def layout(self, band: LayoutDOM, *more: LayoutDOM) -> LayoutDOM:
        patch, part, *others = self.choices
        shown = [
            control
            for control in (patch, part, band, *others)
            if not isinstance(control, Select) or len(control.options) > 1 or control is self.part
        ]
        return column(
            controls(*shown, self.opacity),
            *more,
            self.words,
            side_by_side(self.overlay, self.image),
            sizing_mode="stretch_width",
        )


def _stage(
    atlas: CamAtlas,
    patches: Sequence[str],
    places: Iterable[str],
    looks: Sequence[str],
    kinds: Iterable[str],
    max_width: int,
) -> _Stage:
    extent = (float(atlas.height), float(atlas.width))
    picture = ColumnDataSource({"image": [np.zeros((1, 1), np.uint32)]})
    box = ColumnDataSource({"left": [0.0], "right": [1.0], "top": [0.0], "bottom": [1.0]})
    values = ColumnDataSource({"image": [np.zeros((1, 1), np.float32)]})
    mapper = LinearColorMapper(palette=list(PALETTES["viridis"]), low=0.0, high=1.0)
    over = dict(
        x=0, y=0, dw=extent[1], dh=extent[0], origin="bottom_left", anchor="bottom_left"
    )  # fmt: skip

    above = _frame(extent, "Map over the image", None, max_width)
    above.image_rgba("image", source=picture, **over)
    drawn = above.image("image", source=values, color_mapper=mapper, global_alpha=0.7, **over)
    above.add_tools(
        HoverTool(renderers=[drawn], tooltips="@image{%.3g}", formatters={"@image": "printf"})
    )
    scale = _scale(mapper, max_width)
    scale.xaxis.formatter = PrintfTickFormatter(format="%.3g")
    overlay = Panel(
        _titled("Map over the image", max_width, above, scale), above, values, mapper, scale
    )
    beside = _frame(extent, "The image, and the region", overlay, max_width)
    beside.image_rgba("image", source=picture, **over)
    image = Panel(_titled("The image, and the region", max_width, beside), beside, picture)
    for plot in (above, beside):
        _draw_box(plot, box)

    def select(title: str, options: Iterable[str] | Mapping[str, str], width: int) -> Select:
        pairs = (
            list(options.items())
            if isinstance(options, Mapping)
            else [(str(i), option) for i, option in enumerate(options)]
        )
        return Select(title=title, value=pairs[0][0], options=pairs, width=width)

    part = Select(title="Part", value=next(iter(atlas.parts)), width=410)
    part.options = _grouped(atlas.parts)
    part.styles = {"max-width": "calc(100% - 10px)"}
    opacity = Slider(title="Map's opacity (%)", start=0, end=100, step=5, value=70, width=180)
    opacity.js_on_change(
        "value",
        CustomJS(args={"glyph": drawn.glyph}, code="glyph.global_alpha = cb_obj.value / 100;"),
    )
    return _Stage(
        image=image,
        overlay=overlay,
        picture=picture,
        map=values,
        box=box,
        words=Div(
            text="",
            disable_math=True,
            sizing_mode="stretch_width",
            html_attributes={"aria-live": "polite"},
            margin=(5, 0, 0, 0),
        ),
        patch=select("Patch", patches, 150),
        part=part,
        region=select("Averaged over", places, 150),
        look=select("Image", looks, 140),
        scale=select("Colour scale", _SCALES, 185),
        colours=Select(title="Colour map", value="viridis", options=list(PALETTES), width=120),
        kind=select("Shown", {key: _KINDS[key] for key in kinds}, 220),
        opacity=opacity,
    )


def _draw_box(plot: figure, box: ColumnDataSource) -> None:
    for colour, width in (("black", 4), ("white", 1.5)):
        plot.quad(
            left="left",
            right="right",
            top="top",
            bottom="bottom",
            source=box,
            fill_color=None,
            line_color=colour,
            line_width=width,
        )


# --- The page: a precomputed set --------------------------------------------------------------


def _two_sided(values: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.uint8], float, float]:
    """Values in eight bits: 128 is zero, 127 steps lead to the maximum and as many to the minimum.

    A map of small positive and large negative values so keeps its positive half, which is all that
    the ReLU leaves. The error is at most 1/254 of the extreme on that side.
    """
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    up = np.maximum(values, 0) / (high or 1.0)
    down = np.minimum(values, 0) / (-low or 1.0)
    return (128 + np.rint(127 * (up + down))).astype(np.uint8), low, high


def _page(
    atlas: CamAtlas,
    places: Mapping[str, list[tuple[int, int, int, int]]],
    facts: list[str],
    budget: float,
    max_width: int,
) -> LayoutDOM:
    patches = list(atlas.patches)
    pixels = sum(np.prod(it.shape(atlas.height, atlas.width)[1:]) for it in atlas.parts.values())
    once = 4 / 3 * len(patches) * pixels  # in base 64
    each = once * len(places) * atlas.bands
    if once + each > budget:
        raise ValueError(
            f"the maps take {(once + each) / 1e6:.1f} MB of the page, more than the budget of "
            f"{budget / 1e6:.1f} MB: pass fewer patches, parts or regions"
        )
    kinds = [kind for kind in _KINDS if kind != "before" or once + 2 * each <= budget]
    pictures = {patch: atlas.picture(patch) for patch in patches}
    looks = list(pictures[patches[0]])
    stage = _stage(atlas, patches, list(places), looks, kinds, max_width)
    stage.picture.data["cube"] = [
        np.concatenate(
            [picture.transpose(2, 0, 1) for each in pictures.values() for picture in each.values()]
        )
    ]
    band = Select(
        title="Band",
        value=str(atlas.sensor.rgb[0]),
        options=[(str(i), text) for i, text in enumerate(_band_names(atlas))],
        width=110,
    )
    maps = [atlas.maps(patch, part, "feature") for patch in patches for part in atlas.parts]
    for kind in ("signed", "before"):
        if kind not in kinds:
            continue
        maps += [
            atlas.maps(patch, part, kind, [c], _slices(edges[p]))
            for p, patch in enumerate(patches)
            for edges in places.values()
            for part in atlas.parts
            for c in range(atlas.bands)
        ]
    coded = [_two_sided(values) for values in maps]
    shapes = np.array([values.shape for values in maps], np.int32)
    store = ColumnDataSource(
        {
            "codes": [np.concatenate([codes.ravel() for codes, _, _ in coded])],
            "start": [np.concatenate([[0], np.cumsum(shapes.prod(axis=1))]).astype(np.int32)],
            "shapes": [shapes.ravel()],
            "low": [np.array([low for _, low, _ in coded])],
            "high": [np.array([high for _, _, high in coded])],
        }
    )
    ramp = stage.overlay.scale.renderers[0]
    show = CustomJS(
        args={
            "store": store, "picture": stage.picture, "map": stage.map, "box": stage.box,
            "words": stage.words, "patch": stage.patch, "part": stage.part, "band": band,
            "region": stage.region, "look": stage.look, "sharing": stage.scale,
            "colours": stage.colours, "kind": stage.kind, "mapper": stage.overlay.mapper,
            "scale": stage.overlay.scale, "ramp": ramp.data_source, "glyph": ramp.glyph,
            "ticker": stage.overlay.scale.xaxis[0].ticker, "names": list(atlas.parts),
            "facts": facts, "edges": [list(map(list, each)) for each in places.values()],
            "palettes": {**{k: list(v) for k, v in PALETTES.items()}, "signed": _SIGNED},
            "counts": [len(patches), len(places), len(atlas.parts), atlas.bands, len(looks)],
        },
        code=_SHOW,
    )  # fmt: skip
    for control in (*stage.choices, band):
        control.js_on_change("value", show)
    _when_shown(stage.overlay.figure, show)
    return stage.layout(band)


_SHOW = """
    // A dictionary arrives as an object or as a Map.
    const plain = (it) => it instanceof Map ? Object.fromEntries(it) : it;
    const [patches, places, parts, bands, looks] = counts;
    const p = Number(patch.value), r = Number(region.value), b = Number(band.value);
    const n = names.indexOf(part.value), kinds = kind.value;
    const features = patches * parts;
    const index = (n, b) => kinds == "feature" ? p * parts + n
        : features + (kinds == "before" ? features * places * bands : 0)
            + ((p * places + r) * parts + n) * bands + b;
    const [codes, start, shapes, low, high] =
        ["codes", "start", "shapes", "low", "high"].map((key) => store.data[key][0]);

    const i = index(n, b), rectified = kinds == "after" || kinds == "before";
    const values = Float32Array.from(codes.slice(start[i], start[i + 1]), (code) =>
        code > 128 ? (code - 128) / 127 * high[i]
            : rectified ? 0 : (128 - code) / 127 * low[i]);
    const shape = [shapes[2 * i], shapes[2 * i + 1]];
    map.data = {image: [Bokeh.require("core/util/ndarray").ndarray(values, {shape})]};

    const all = (count, one, many) => many ? [...Array(count).keys()] : [one];
    const set = all(parts, n, ["parts", "all"].includes(sharing.value)).flatMap((n) =>
        all(bands, b, ["bands", "all"].includes(sharing.value)).map((b) => index(n, b)));
    let least = Math.min(...set.map((i) => low[i])), most = Math.max(...set.map((i) => high[i]));
    if (rectified) least = 0;
    if (kinds == "signed") most = Math.max(most, -least), least = -most;
    if (most <= least) most = least + 1;

    const palette = plain(palettes)[kinds == "signed" ? "signed" : colours.value];
    mapper.setv({low: least, high: most, palette});
    ramp.data = {image: [dcfnetViews.ramp(least, (most - least) / 255)]};
    glyph.setv({x: {value: least}, dw: {value: most - least}});
    scale.x_range.setv({start: least, end: most});
    scale.html_attributes = {role: "img",
        "aria-label": `Colour scale from ${least.toPrecision(3)} to ${most.toPrecision(3)}`};
    ticker.ticks = dcfnetViews.ticks(least, most);

    const [top, bottom, left, right] = edges[r][p];
    box.data = {left: [left], right: [right], top: [top], bottom: [bottom]};
    const image = 3 * (p * looks + Number(look.value));
    dcfnetViews.show(picture, image, image + 1, image + 2);
    band.disabled = region.disabled = kinds == "feature";
    const lowest = rectified ? 0 : Math.min(...values), greatest = Math.max(...values);
    const sign = (it) => String(it).replace("-", "−");
    const number = (it) => {
        if (it == 0 || Math.abs(it) >= 1e-3 && Math.abs(it) < 1e5) return sign(+it.toPrecision(3));
        const [digits, power] = it.toExponential(2).split("e").map(Number);
        return `${sign(digits)} × 10<sup>${sign(power)}</sup>`;
    };
    words.text = `${facts[n]} The map runs from ${number(lowest)} to ${number(greatest)}.`;
"""


def _slices(edges: tuple[int, int, int, int]) -> tuple[slice, slice]:
    top, bottom, left, right = edges
    return np.s_[top:bottom, left:right]


def _band_names(atlas: CamAtlas) -> list[str]:
    return [f"{i + 1} {band}" for i, band in enumerate(atlas.sensor.bands)]


# --- JupyterLab: the kernel answers -----------------------------------------------------------


def _live(
    atlas: CamAtlas,
    places: Mapping[str, list[tuple[int, int, int, int]]],
    facts: list[str],
    max_width: int,
) -> LayoutDOM:
    patches = list(atlas.patches)
    looks = list(atlas.picture(patches[0]))
    stage = _stage(atlas, patches, [*places, "your own box"], looks, _KINDS, max_width)
    bands = CheckboxButtonGroup(
        labels=_band_names(atlas), active=[atlas.sensor.rgb[0]], name="Bands, their maps summed"
    )
    rows = RangeSlider(
        title="Rows", start=0, end=atlas.height, value=(0, atlas.height), step=1, width=180
    )
    columns = RangeSlider(
        title="Columns", start=0, end=atlas.width, value=(0, atlas.width), step=1, width=180
    )
    drawn = ColumnDataSource({"edges": [0, atlas.height, 0, atlas.width]})
    for plot in (stage.overlay.figure, stage.image.figure):
        tool = BoxSelectTool(renderers=[])
        plot.add_tools(tool)
        plot.toolbar.active_drag = tool
        plot.js_on_event(SelectionGeometry, CustomJS(args={"drawn": drawn}, code=_DRAWN))
    own = str(len(places))
    answer = _Answer(atlas, places, facts, stage, bands, drawn)

    # Each change below would itself ask for an answer: one is enough.
    @answer.once
    def take_box() -> None:
        top, bottom, left, right = drawn.data["edges"]
        rows.value, columns.value = (top, bottom), (left, right)
        stage.region.value = own

    @answer.once
    def take_sliders() -> None:
        edges = [*map(round, rows.value), *map(round, columns.value)]
        if edges[0] < edges[1] and edges[2] < edges[3]:
            drawn.data = {"edges": edges}
            stage.region.value = own

    drawn.on_change("data", lambda attr, old, new: take_box())
    for slider in (rows, columns):
        slider.on_change("value_throttled", lambda attr, old, new: take_sliders())
    for control in stage.choices:
        control.on_change("value", lambda attr, old, new: answer())
    bands.on_change("active", lambda attr, old, new: answer())
    answer()
    hint = Div(
        text="Drag a box on an image, or set its rows and columns, to average over it.",
        disable_math=True,
        sizing_mode="stretch_width",
        styles={"color": "var(--dcf-muted)"},
        margin=(5, 0, 0, 0),
    )
    heading = Div(text="Bands, their maps summed", disable_math=True, margin=(0, 5, 0, 5))
    return stage.layout(column(heading, bands), controls(rows, columns), hint)


_DRAWN = """
    const {geometry, final} = cb_obj;
    if (!final || geometry.type != "rect") return;
    const plot = cb_obj.origin, fit = (at, range) => Math.max(
        Math.min(range.reset_start, range.reset_end),
        Math.min(Math.max(range.reset_start, range.reset_end), at));
    const span = (a, b, range) =>
        [Math.floor(fit(Math.min(a, b), range)), Math.ceil(fit(Math.max(a, b), range))];
    const [top, bottom] = span(geometry.y0, geometry.y1, plot.y_range);
    const [left, right] = span(geometry.x0, geometry.x1, plot.x_range);
    if (top < bottom && left < right) drawn.data = {edges: [top, bottom, left, right]};
"""


class _Answer:
    """Shows what the controls ask for."""

    def __init__(
        self,
        atlas: CamAtlas,
        places: Mapping[str, list[tuple[int, int, int, int]]],
        facts: list[str],
        stage: _Stage,
        bands: CheckboxButtonGroup,
        drawn: ColumnDataSource,
    ) -> None:
        self.atlas, self.places, self.stage = atlas, list(places.values()), stage
        self.facts = dict(zip(atlas.parts, facts, strict=True))
        self.bands, self.drawn = bands, drawn
        self.busy = False

    def once(self, change: Callable[[], None]) -> Callable[[], None]:
        """A change of several controls that asks for one answer, and never for itself."""

        def run() -> None:
            if self.busy:
                return
            self.busy = True
            try:
                change()
            finally:
                self.busy = False
            self()

        return run

    def __call__(self) -> None:
        if self.busy:
            return
        stage, atlas = self.stage, self.atlas
        number, kind = int(stage.patch.value), stage.kind.value
        patch, part, place = list(atlas.patches)[number], stage.part.value, int(stage.region.value)
        edges = tuple(
            self.places[place][number] if place < len(self.places) else self.drawn.data["edges"]
        )
        chosen = self.bands.active or [0]
        values = atlas.maps(patch, part, kind, chosen, _slices(edges))

        # A sum of bands is compared with the single bands as it is, not with other sums.
        several = stage.scale.value in ("bands", "all")
        sets = [chosen, *([c] for c in range(atlas.bands) if several and kind != "feature")]
        parts = atlas.parts if stage.scale.value in ("parts", "all") else [part]
        compared = [
            atlas.maps(patch, other, kind, some, _slices(edges)) for other in parts for some in sets
        ]
        low = min(0.0, *(float(it.min()) for it in compared), 0.0)
        high = max(0.0, *(float(it.max()) for it in compared), 0.0)
        if kind == "signed":
            high = max(high, -low)
            low = -high
        high = high if high > low else low + 1

        stage.map.data = {"image": [values]}
        self._colour(low, high, _SIGNED if kind == "signed" else PALETTES[stage.colours.value])
        top, bottom, left, right = edges
        stage.box.data = {"left": [left], "right": [right], "top": [top], "bottom": [bottom]}
        picture = list(atlas.picture(patch).values())[int(stage.look.value)]
        stage.picture.data = {"image": [_rgba(picture)]}
        self.bands.disabled = stage.region.disabled = kind == "feature"
        stage.words.text = (
            f"{self.facts[part]} The map runs from {_number(values.min())} to "
            f"{_number(values.max())}."
        )

    def _colour(self, low: float, high: float, palette: Sequence[str]) -> None:
        self.stage.overlay.mapper.update(low=low, high=high, palette=list(palette))
        scale = self.stage.overlay.scale
        ramp = scale.renderers[0]
        ramp.data_source.data = {"image": [np.linspace(low, high, 256, dtype=np.float32)[None]]}
        ramp.glyph.update(x=low, dw=high - low)
        scale.x_range.update(start=low, end=high)
        margin = 0.05 * (high - low)
        ticks = MaxNLocator(4).tick_values(low, high)
        scale.xaxis[0].ticker.ticks = [it for it in ticks if low + margin <= it <= high - margin]


def _rgba(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    opaque = np.full((*picture.shape[:2], 1), 255, np.uint8)
    colours = np.concatenate([picture, opaque], axis=2)
    return np.ascontiguousarray(colours).view(np.uint32)[..., 0]


def _number(value: float) -> str:
    """Three digits as HTML, as the page writes them too."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        text = f"{float(f'{value:.3g}'):g}"
    else:
        digits, power = f"{value:.2e}".split("e")
        text = f"{float(digits):g} × 10<sup>{int(power)}</sup>"
    return text.replace("-", "−")
