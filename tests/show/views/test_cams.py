"""The explorer of class activation maps: its page, and what it asks the kernel for."""

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the extra book is not installed")

from bokeh.models import Select

from dcfnet.show.views import View, cam_explorer
from tests.show.views.conftest import BOX, PARTS, gradcam, network, patch
from tests.support.views import drive, open_view


def explorer(patches=None, **options):
    return cam_explorer(
        network(),
        patches or {"first": patch(), "second": patch(1)},
        parts=options.pop("parts", PARTS),
        name="cams",
        alt="Maps.",
        **options,
    )


# What is drawn: the map's numbers, their scale, the box, and the sentence.
SHOWN = """() => {
  const models = [...dcfnetViews.mounted[0].view.model.references()];
  const plot = models.find((it) => it.type === "Figure" && it.toolbar.tools.some(
    (tool) => tool.type === "HoverTool"));
  const image = plot.renderers.find((it) => it.glyph.type === "Image").data_source.data.image[0];
  const mapper = models.find((it) => it.type === "LinearColorMapper");
  const { top, bottom, left, right } = models.find((it) => it.data?.top).data;
  return {
    values: [...image], shape: image.shape, scale: [mapper.low, mapper.high],
    box: [top, bottom, left, right].flat(), words: models.filter((it) => it.type === "Div").map(
      (it) => it.text).join(" "),
  };
}"""


class Page:
    """A view in a browser as a reader handles it; the test is the messenger to the kernel."""

    def __init__(self, view, tmp_path, open_page, live=None):
        self.tab, self.view = open_view(view, tmp_path, open_page)
        self.live = live

    def choose(self, title, label):
        self.view.get_by_label(title, exact=True).select_option(label=label)

    def press(self, band):
        self.view.get_by_role("button", name=band, exact=True).click()

    def shown(self):
        while self.live and self._carry():
            pass
        shown = self.view.evaluate(SHOWN)
        shown["values"] = np.reshape(shown["values"], shown["shape"])
        return shown

    def _carry(self):
        """Takes what the page asks for to the kernel, and the answer back."""
        get = "(_, name) => dcfnetViews.mounted[0].view.model.document.get_model_by_name(name)"
        keys = self.view.evaluate(f"(...args) => ({get})(...args).data.keys", "asked")
        asked = self.live.layout.select_one({"name": "asked"})
        if asked.data["keys"] == keys:
            return False
        asked.data = {"keys": keys}
        answer = self.live.layout.select_one({"name": "answer"}).data
        columns = {name: [np.asarray(it).tolist() for it in it] for name, it in answer.items()}
        self.view.evaluate(
            "(_, data) => { dcfnetViews.mounted[0].view.model.document"
            ".get_model_by_name('answer').data = data; }",
            columns,
        )
        return True


@pytest.fixture
def live(tmp_path, open_page):
    """The live view in a browser. (`View` gives its layout a page; Jupyter would be slow here.)"""
    view = explorer(regions={"box": BOX})
    return Page(View(view.layout, name="live", alt="Maps."), tmp_path, open_page, view)


def test_the_live_view_shows_what_is_asked_for(live):
    live.choose("Part", "Second PCFT: makes branch 2")
    live.press("2 B")
    both = live.shown()["values"]
    live.press("5 R")  # whose extremes are there, not its values
    shown = live.shown()
    assert not np.allclose(shown["values"], both)
    wanted = gradcam(patch(), 1)["pcft2"].map()[0]
    np.testing.assert_allclose(shown["values"], wanted, rtol=1e-4, atol=1e-9)
    bands = [float(gradcam(patch(), c)["pcft2"].map().max()) for c in range(8)]
    np.testing.assert_allclose(shown["scale"], [0, max(bands)], rtol=1e-4)

    live.choose("Patch", "second")
    live.choose("Averaged over", "box")
    live.choose("Shown", "signed map, no ReLU")
    live.press("5 R")
    live.choose("Colour scale", "its own")
    shown = live.shown()
    wanted = gradcam(patch(1), {1: 1.0, 4: 1.0}, BOX)["pcft2"].signed[0]
    np.testing.assert_allclose(shown["values"], wanted, rtol=1e-4, atol=1e-9)
    top = float(wanted.abs().max())
    np.testing.assert_allclose(shown["scale"], [-top, top], rtol=1e-4)
    assert shown["box"] == [4, 20, 8, 24]

    live.choose("Part", "Stage 3, T02: branch 2 to branch 0, as it arrives")
    shown = live.shown()
    assert shown["shape"] == [32, 32]
    assert "Learned share a<sub>02</sub>" in shown["words"]
    assert live.tab.wrong == []


def test_a_box_is_drawn_or_set(live):
    live.choose("Part", "Second PCFT: makes branch 2")
    canvas = live.view.locator("[role=group][tabindex='0']").last.bounding_box()
    corners = [
        (canvas["x"] + canvas["width"] * col / 32, canvas["y"] + canvas["height"] * row / 32)
        for row, col in ((4.5, 8.5), (19.5, 23.5))
    ]
    mouse = live.view.page.mouse
    mouse.move(*corners[0])
    mouse.down()
    mouse.move(*corners[1], steps=4)
    mouse.up()
    shown = live.shown()
    assert shown["box"] == [4, 20, 8, 24]
    wanted = gradcam(patch(), 4, BOX)["pcft2"].map()[0]
    np.testing.assert_allclose(shown["values"], wanted, rtol=1e-4, atol=1e-9)
    region = live.view.get_by_label("Averaged over", exact=True)
    assert region.evaluate("(it) => it.selectedOptions[0].text") == "your own box"

    live.choose("Averaged over", "whole image")
    assert live.shown()["box"] == [0, 32, 0, 32]
    live.view.get_by_role("slider", name="Rows, from").press("ArrowLeft")
    shown = live.shown()
    assert shown["box"] == [3, 20, 8, 24]
    wanted = gradcam(patch(), 4, np.s_[3:20, 8:24])["pcft2"].map()[0]
    np.testing.assert_allclose(shown["values"], wanted, rtol=1e-4, atol=1e-9)


def test_the_kernel_is_asked_for_no_more_than_is_compared(live):
    def asked():
        live.shown()
        return len(live.live.layout.select_one({"name": "asked"}).data["keys"])

    assert asked() == 8  # all bands, of which one is shown
    live.choose("Colour scale", "its own")
    assert asked() == 8  # the same map, which is there
    live.choose("Shown", "signed map, no ReLU")
    assert asked() == 8  # and what the ReLU leaves is made of it
    live.press("2 B")
    assert asked() == 1
    live.choose("Colour scale", "shared by both")
    assert asked() == (8 + 1) * len(PARTS)


def page_kinds(view):
    return next(
        it.options for it in view.page.layout.select({"type": Select}) if it.title == "Shown"
    )


def test_what_does_not_fit_is_left_out():
    assert "before" in dict(page_kinds(explorer(regions={"box": BOX})))
    size = 4 / 3 * 2 * (64 + 64 + 1024 + 1024)
    tight = explorer(regions={"box": BOX}, budget=size * (1 + 2 * 8 * 1.5))
    assert "before" not in dict(page_kinds(tight))
    with pytest.raises(ValueError, match=r"more than the budget of .* fewer patches"):
        explorer(budget=size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": ["stage3.fusion.nothing"]}, "unknown layer .* 'stage3.fusion.nothing'"),
        ({"parts": []}, "at least one name"),
        ({"patches": {"a": patch(), "b": patch(size=16)}}, "patches of one size"),
        ({"regions": {"none": np.s_[8:8, :]}}, "holds no pixel"),
        ({"regions": {"roof": {"first": BOX}}}, "'roof' has no box for the patch 'second'"),
    ],
)
def test_bad_input_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        explorer(**options)


def test_every_control_of_the_page_answers(tmp_path, open_page):
    view = explorer(regions={"box": BOX, "each": {"first": np.s_[:8, :8], "second": np.s_[8:, 8:]}})
    tab, shown = open_view(view.page, tmp_path, open_page, viewport={"width": 390, "height": 900})
    assert drive(shown) == 9
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.wrong == []


def test_the_page_shows_the_same_numbers(tmp_path, open_page):
    page = Page(explorer(regions={"box": BOX}).page, tmp_path, open_page)
    page.choose("Patch", "second")
    page.choose("Band", "3 G")
    page.choose("Averaged over", "box")
    page.choose("Part", "Second PCFT: makes branch 2")
    wanted = gradcam(patch(1), 2, BOX)["pcft2"]
    for label, values in {
        "map, ReLU after the sum": wanted.map(),
        "map, ReLU before the sum": wanted.map("before"),
        "signed map, no ReLU": wanted.signed,
        "feature map": wanted.features,
    }.items():
        page.choose("Shown", label)
        found = page.shown()["values"]
        error = np.abs(found - values[0].numpy()).max()
        assert error <= float(values.abs().max()) / 250, label
    assert page.tab.wrong == []
