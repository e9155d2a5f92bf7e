"""The explorer of class activation maps: its numbers, its live answers, its page."""

import time
from statistics import median

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

pytest.importorskip("bokeh", reason="the extra book is not installed")

from bokeh.models import CheckboxButtonGroup, ColumnDataSource, Div, RangeSlider, Select

from dcfnet import WV3, GradCAM
from dcfnet.imagery.wald import Sample
from dcfnet.networks import build_network
from dcfnet.show.views.cams import CamAtlas, _two_sided, cam_explorer
from tests.support.views import drive

PARTS = [
    "pcft2",
    "stage3.fusion.transfers.2_to_0.last.conv",
    "stage3.fusion.transfers.2_to_0",
    "head.concat",
]
BOX = np.s_[4:20, 8:24]


def network(width=0.1):
    torch.manual_seed(0)
    return build_network("dcfnet", bands=8, width=width, inject_details=False).eval()


def patch(seed=0, size=32):
    random = np.random.default_rng(seed)
    ms = random.integers(100, 1500, (8, size // 4, size // 4)).astype(np.uint16)
    lms = np.kron(ms, np.ones((4, 4))).astype(np.float32)
    gt = (lms + random.normal(0, 40, lms.shape)).clip(0).astype(np.uint16)
    return Sample(
        gt, ms, lms, gt[:5].mean(axis=0).astype(np.uint16), np.ones(gt.shape[1:], bool), WV3
    )


def explorer(patches=None, **options):
    return cam_explorer(
        options.pop("model", None) or network(),
        patches or {"first": patch(), "second": patch(1)},
        WV3,
        parts=options.pop("parts", PARTS),
        name="cams",
        alt="Maps.",
        **options,
    )


class Live:
    """The live view as a reader handles it."""

    def __init__(self, view):
        self.view = view
        self.selects = {it.title: it for it in view.layout.select({"type": Select})}
        self.sliders = {it.title: it for it in view.layout.select({"type": RangeSlider})}
        self.bands = view.layout.select_one({"type": CheckboxButtonGroup})

    def shown(self):
        (values,) = [
            it.data["image"][0]
            for it in self.view.layout.select({"type": ColumnDataSource})
            if "image" in it.data
            and it.data["image"][0].dtype == np.float32
            and it.data["image"][0].shape != (1, 256)
        ]
        return values

    def words(self):
        return " ".join(it.text for it in self.view.layout.select({"type": Div}))


def gradcam(sample, bands, box=np.s_[:, :]):
    inputs = [
        torch.from_numpy(np.ascontiguousarray(it, np.float32) / np.float32(2047))[None]
        for it in (sample.pan[None], sample.ms, sample.lms)
    ]
    with GradCAM(network(), PARTS) as cam:
        cam(*inputs)
        return cam.maps(bands, box)


@pytest.mark.parametrize("part", PARTS)
def test_maps_are_those_of_gradcam(part):
    atlas = CamAtlas(network(), {"a": patch()}, WV3, PARTS)
    wanted = gradcam(patch(), {2: 1.0, 6: 1.0}, BOX)[part]
    for kind, values in {
        "after": wanted.map(),
        "before": wanted.map("before"),
        "signed": wanted.signed,
        "feature": wanted.features,
    }.items():
        found = atlas.maps("a", part, kind, [6, 2], BOX)
        scale = float(values.abs().max())
        assert np.allclose(found, values[0], rtol=1e-4, atol=1e-5 * scale), kind


def test_tensors_are_patches_too():
    sample = patch()
    inputs = tuple(
        torch.from_numpy(np.ascontiguousarray(it, np.float32) / np.float32(2047))[None]
        for it in (sample.pan[None], sample.ms, sample.lms)
    )
    atlas = CamAtlas(network(), {"a": sample, "b": inputs}, WV3, PARTS)
    assert np.array_equal(*(atlas.maps(it, "pcft2", "signed", [3]) for it in "ab"))
    assert atlas.picture("b")["natural colour"].shape == (32, 32, 3)


@given(arrays(np.float64, (3, 5), elements=st.floats(-1e6, 1e6)))
def test_eight_bits_keep_each_side_of_zero(values):
    codes, low, high = _two_sided(values)
    steps = codes.astype(float) - 128
    back = np.where(steps > 0, steps * high, -steps * low) / 127
    assert (np.abs(back - values) <= np.where(values > 0, high, -low) / 254 * 1.0001 + 1e-12).all()


def test_the_live_view_shows_what_is_asked_for():
    live = Live(explorer({"first": patch(), "second": patch(1)}, regions={"box": BOX}))
    live.bands.active = [1]
    live.selects["Part"].value = "pcft2"
    assert np.allclose(live.shown(), gradcam(patch(), 1)["pcft2"].map()[0], rtol=1e-4, atol=1e-7)
    live.selects["Patch"].value = "1"
    live.selects["Averaged over"].value = "1"
    live.selects["Shown"].value = "signed"
    live.bands.active = [1, 4]
    wanted = gradcam(patch(1), {1: 1.0, 4: 1.0}, BOX)["pcft2"].signed[0]
    assert np.allclose(live.shown(), wanted, rtol=1e-4, atol=1e-7)
    assert live.shown().shape == (8, 8)
    live.selects["Part"].value = "stage3.fusion.transfers.2_to_0"
    assert live.shown().shape == (32, 32)
    assert "Learned share a<sub>02</sub>" in live.words()


def test_a_box_is_drawn_or_set():
    live = Live(explorer())
    live.bands.active = [3]
    live.selects["Part"].value = "pcft2"
    wanted = gradcam(patch(), 3, BOX)["pcft2"].map()[0]
    (drawn,) = [
        it for it in live.view.layout.select({"type": ColumnDataSource}) if "edges" in it.data
    ]
    drawn.data = {"edges": [4, 20, 8, 24]}
    assert np.allclose(live.shown(), wanted, rtol=1e-4, atol=1e-7)
    assert live.selects["Averaged over"].value == "2"
    assert live.sliders["Rows"].value == (4, 20)
    rows = live.sliders["Rows"]
    rows.value = (0, 8)
    rows.trigger("value_throttled", None, (0, 8))
    wanted = gradcam(patch(), 3, np.s_[0:8, 8:24])["pcft2"].map()[0]
    assert np.allclose(live.shown(), wanted, rtol=1e-4, atol=1e-7)


def test_nothing_is_computed_twice(monkeypatch):
    live = Live(explorer({"first": patch()}, regions={}))
    passes = []
    maps = GradCAM.maps
    monkeypatch.setattr(
        GradCAM, "maps", lambda self, *args: passes.append(args) or maps(self, *args)
    )
    live.bands.active = [5]
    live.selects["Part"].value = "pcft2"
    live.bands.active = [5, 6]
    live.selects["Shown"].value = "before"
    assert passes == []  # the page has asked for all bands over the whole image
    live.selects["Colour scale"].value = "own"
    drawn = next(
        it for it in live.view.layout.select({"type": ColumnDataSource}) if "edges" in it.data
    )
    drawn.data = {"edges": [4, 20, 8, 24]}
    assert len(passes) == 2  # one for each band of the sum
    for part in PARTS:
        live.selects["Part"].value = part
    assert len(passes) == 2  # one pass serves all parts


def test_a_change_of_band_or_part_is_answered_soon():
    model = network(1.0)
    live = Live(explorer({"first": patch(size=64)}, model=model, parts=None, regions={}))
    live.selects["Colour scale"].value = "own"
    drawn = next(
        it for it in live.view.layout.select({"type": ColumnDataSource}) if "edges" in it.data
    )
    drawn.data = {"edges": [4, 20, 8, 24]}  # where nothing is precomputed
    seconds = []
    for band in range(8):
        start = time.perf_counter()
        live.bands.active = [band]
        seconds.append(time.perf_counter() - start)
    start = time.perf_counter()
    live.selects["Part"].value = "head.concat"
    part = time.perf_counter() - start
    print(f"a band: {median(seconds):.3f} s, a part: {part:.3f} s")
    # Wanted below 0.3 s on two idle cores: three times that where others work too.
    assert median(seconds) < 0.9
    assert part < 0.9


def test_what_does_not_fit_is_left_out():
    assert "before" in dict(page_kinds(explorer()))
    size = 4 / 3 * 2 * (64 + 64 + 1024 + 1024)
    tight = explorer(budget=size * (1 + 2 * 8 * 1.5))
    assert "before" not in dict(page_kinds(tight))
    with pytest.raises(ValueError, match=r"more than the budget of .* fewer patches"):
        explorer(budget=size)


def page_kinds(view):
    return next(
        it.options for it in view.page.layout.select({"type": Select}) if it.title == "Shown"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": ["stage3.fusion.nothing"]}, "no part 'stage3.fusion.nothing'"),
        ({"parts": []}, "at least one part"),
        ({"patches": {"a": patch(), "b": patch(size=16)}}, "patches of one size"),
        ({"regions": {"none": np.s_[8:8, :]}}, "holds no pixel"),
        ({"regions": {"roof": {"first": BOX}}}, "'roof' has no box for the patch 'second'"),
    ],
)
def test_bad_input_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        explorer(**options)


def open_view(view, tmp_path, open_page, **options):
    path = tmp_path / "view.html"
    path.write_text(f"<!doctype html><meta charset=utf-8>{view.html()}", "utf-8")
    tab = open_page(path.as_uri(), inside=path.as_uri(), **options)
    tab.page.wait_for_selector('.dcf-view[data-state="ready"]')
    return tab


def test_every_control_of_the_page_answers(tmp_path, open_page):
    view = explorer(
        regions={"box": BOX, "each": {"first": np.s_[:8, :8], "second": np.s_[8:, 8:]}}, live=False
    )
    tab = open_view(view, tmp_path, open_page, viewport={"width": 390, "height": 900})
    assert drive(tab.page.locator(".dcf-view")) == 9
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.wrong == []


def test_the_page_shows_the_same_numbers(tmp_path, open_page):
    view = explorer(regions={"box": BOX}, live=False)
    tab = open_view(view, tmp_path, open_page)
    page = tab.page

    def choose(title, label):
        page.get_by_label(title, exact=True).select_option(label=label)

    choose("Patch", "second")
    choose("Band", "3 G")
    choose("Averaged over", "box")
    choose("Part", "Second PCFT: makes branch 2")
    wanted = gradcam(patch(1), 2, BOX)["pcft2"]
    for label, values in {
        "map, ReLU after the sum": wanted.map(),
        "map, ReLU before the sum": wanted.map("before"),
        "signed map, no ReLU": wanted.signed,
        "feature map": wanted.features,
    }.items():
        choose("Shown", label)
        page.wait_for_timeout(100)
        found = page.evaluate(
            """() => {
                const plot = [...dcfnetViews.mounted[0].view.model.references()]
                    .find((it) => it.type == "Figure" && it.toolbar.tools.some(
                        (tool) => tool.type == "HoverTool"));
                const image = plot.renderers.find((it) => it.glyph.type == "Image")
                    .data_source.data.image[0];
                return {values: [...image], shape: image.shape};
            }"""
        )
        assert found["shape"] == [8, 8]
        error = np.abs(np.reshape(found["values"], (8, 8)) - values[0].numpy()).max()
        assert error <= float(values.abs().max()) / 250, label
    assert tab.wrong == []
