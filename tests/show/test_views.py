"""The parts of views, alone and in a browser."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("bokeh", reason="the extra book is not installed")

from bokeh.models import Select

import dcfnet.show.views as ex
from dcfnet.networks import build_network
from tests.support.views import drive

NAMES = ["blue", "green", "red", "near infrared"]
WAVELENGTHS = [480, 545, 660, 832]


@pytest.fixture
def bands():
    row, column = np.mgrid[:24, :32]
    waves = [127 + 120 * np.sin(column / (2 + k) + row / (3 + k)) for k in range(len(NAMES))]
    return np.stack(waves).astype(np.uint8)


def composite(bands):
    panel, choices = ex.band_composite(
        bands, NAMES, {"true colour": (2, 1, 0), "infrared": (3, 2, 1)}, title="Bands"
    )
    return ex.column(ex.controls(*choices), panel.layout, sizing_mode="stretch_width")


def maps(bands):
    first = ex.image_panel(bands[0] * 8.0, title="Blue", unit="DN")
    second = ex.image_panel(bands[1], title="Green", share=first)
    chooser = ex.palette_chooser(first, second)
    return ex.column(chooser, ex.side_by_side(first, second), sizing_mode="stretch_width")


def spectra(bands):
    panel = ex.image_panel(bands[[2, 1, 0]].transpose(1, 2, 0), title="True colour")
    plot, at = ex.spectrum_probe(
        panel, bands * 8.0, WAVELENGTHS, names=NAMES, value_name="digital number"
    )
    return ex.column(panel.layout, ex.controls(*at), plot, sizing_mode="stretch_width")


def two_images(bands):
    images = [bands[list(order)].transpose(1, 2, 0) for order in ((2, 1, 0), (3, 2, 1))]
    panel, choices = ex.comparison(*images, labels=("true", "infrared"), title="Two images")
    return ex.column(ex.controls(*choices), panel.layout, sizing_mode="stretch_width")


def frames(bands):
    stack = np.stack([bands[[i, 1, 0]].transpose(1, 2, 0) for i in range(4)])
    panels, choices = ex.frame_panels({"Frames": stack}, {"Band": NAMES})
    numbers = ex.bars(np.arange(8.0).reshape(4, 2), ["one", "two"], choices, title="Numbers")
    return ex.column(
        ex.controls(*choices), ex.side_by_side(*panels), numbers, sizing_mode="stretch_width"
    )


def parts(bands):
    torch.manual_seed(0)
    model = build_network("dcfnet", bands=4, width=0.1)
    image = torch.from_numpy(bands / np.float32(255))[None]
    low = torch.nn.functional.avg_pool2d(image, 4)
    return ex.part_explorer(
        model, image[:, :1], low, image, picture=bands[[2, 1, 0]].transpose(1, 2, 0), channels=3
    )


def dead(bands):
    """A view as it must not be: a control that nothing listens to."""
    panel = ex.image_panel(bands[0], title="Blue")
    control = Select(title="Nothing", value="a", options=["a", "b"])
    return ex.column(control, panel.layout, sizing_mode="stretch_width")


def show(layout, tmp_path, open_page):
    view = ex.View(layout, name="trial", alt="A view made for this test alone.")
    page = tmp_path / "view.html"
    page.write_text(f"<!doctype html><html lang=en><body>{view.html()}</body></html>", "utf-8")
    tab = open_page(page.as_uri(), inside=tmp_path.as_uri())
    tab.page.wait_for_selector(".dcf-view[data-state=ready]", timeout=20_000)
    return tab, tab.page.locator(".dcf-view")


@pytest.mark.parametrize("make", [composite, maps, spectra, two_images, frames, parts])
def test_every_part_answers(make, bands, tmp_path, open_page):
    tab, view = show(make(bands), tmp_path, open_page)
    assert drive(view) > 0
    assert tab.wrong == []


def test_a_dead_control_is_noticed(bands, tmp_path, open_page):
    _, view = show(dead(bands), tmp_path, open_page)
    with pytest.raises(AssertionError, match="does not answer Nothing"):
        drive(view)


def test_pixels_are_the_bands(bands, tmp_path, open_page):
    """What the canvas shows are the bands' numbers, row 0 at the top."""
    panel = ex.image_panel(bands[[2, 1, 0]].transpose(1, 2, 0), title="True colour")
    _, view = show(panel.layout, tmp_path, open_page)
    shown = view.evaluate(
        """() => {
          const models = [...dcfnetViews.mounted[0].view.model.references()];
          const { data } = models.find((model) => model.data?.cube);
          return [...new Uint8Array(data.image[0].buffer)];
        }"""
    )
    rgba = np.array(shown, np.uint8).reshape(24, 32, 4)
    assert np.array_equal(rgba[..., :3].transpose(2, 0, 1), bands[[2, 1, 0]])
    assert (rgba[..., 3] == 255).all()


def test_clicking_an_image_moves_the_probe(bands, tmp_path, open_page):
    _, view = show(spectra(bands), tmp_path, open_page)
    image = view.locator("[role=group]")
    box = image.bounding_box()
    image.click(position={"x": box["width"] * 2.5 / 32, "y": box["height"] * 4.5 / 24})
    now = [slider.get_attribute("aria-valuenow") for slider in view.get_by_role("slider").all()]
    assert now == ["4.0", "2.0"]


CHOSEN = """async (node, index) => {
  const { model } = dcfnetViews.mounted[0].view;
  const models = [...model.references()];
  const choice = models.find((it) => it.data?.index);
  choice.data = { index: [index] };
  await new Promise((done) => setTimeout(done, 100));
  const shown = models.find((it) => it.data?.image && it.data.image[0].shape[0] > 1);
  const mapper = models.find((it) => it.type === "LinearColorMapper");
  const ticker = models.find((it) => it.type === "FixedTicker");
  const [image] = shown.data.image;
  return [[...image], image.shape, mapper.low, mapper.high, ticker.ticks];
}"""


def test_each_map_has_its_own_size_and_scale(tmp_path, open_page):
    y, x = np.mgrid[:12, :16]
    maps = [y * 1e-3 + x, -50.0 - x[:3, :4], np.full((6, 8), 0.25)]
    panel, _ = ex.map_panel(maps, title="Maps")
    _, view = show(panel.layout, tmp_path, open_page)
    for index in (1, 2, 0):
        values, shape, low, high, ticks = view.evaluate(CHOSEN, index)
        expected = maps[index]
        assert tuple(shape) == expected.shape
        assert low == expected.min()
        np.testing.assert_allclose(values, expected.ravel(), atol=(high - low) / 500)
        assert high == pytest.approx(expected.max() if np.ptp(expected) else low + 1)
        assert 1 < len(ticks) < 8 and low < ticks[0] < ticks[-1] < high


def test_a_part_is_found_in_list_and_drawing(bands, tmp_path, open_page):
    tab, view = show(parts(bands), tmp_path, open_page)
    part, maps = view.locator("select").all()[:2]
    facts = view.locator("[aria-live]")
    frame = view.locator("[data-part='stage3.branches.2'] > rect")
    stroke = "(it) => getComputedStyle(it).stroke"
    before = frame.evaluate(stroke)
    assert chosen(part) == "Stem"
    assert view.locator("optgroup").count() == 8
    assert "13 × 6 × 8" not in facts.inner_text()

    frame.click(position={"x": 4, "y": 10})  # beside the words on it
    facts.get_by_text("13 × 6 × 8").wait_for()
    assert chosen(part) == "Stage 3, branch 2"
    assert frame.evaluate(stroke) != before
    labels = maps.evaluate("(it) => [...it.options].map((option) => option.label)")
    assert labels[0] == "mean of channels" and len(labels) == 4

    maps.select_option(index=3)
    part.select_option(label="First PCFT, MS at half size")
    facts.get_by_text("4 × 12 × 16").wait_for()
    assert frame.evaluate(stroke) == before
    assert maps.evaluate("(it) => it.selectedIndex") == 3
    assert tab.wrong == []


def chosen(control):
    return control.evaluate("(it) => it.selectedOptions[0].label")


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(-1e3, 1e3), st.floats(0, 1e4))
def test_quantised_values_are_near(values, low, extent):
    plain = ex.quantise(values)
    spread = max(values) - min(values)
    assert np.abs(plain.values() - values).max() <= spread / 510 * (1 + 1e-9) + 1e-9
    clipped = ex.quantise(values, low, low + extent)
    error = np.abs(clipped.values() - np.clip(values, low, low + extent)).max()
    assert error <= extent / 510 * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ex.quantise([1.0, np.nan]), "finite"),
        (lambda: ex.quantise([1.0], 3, 2), "low <= high"),
        (lambda: ex.image_panel(np.zeros(3), title="x"), r"\(H, W\)"),
        (lambda: ex.image_panel(np.zeros((2, 2, 3)), title="x"), "uint8"),
        (lambda: ex.band_composite(np.zeros((2, 4, 4), np.uint8), NAMES, {}, title="x"), "4 bands"),
        (
            lambda: ex.band_composite(
                np.zeros((4, 4, 4), np.uint8), NAMES, {"x": (0, 1, 4)}, title="x"
            ),
            "bands 0 to 3",
        ),
        (lambda: ex.View(ex.column(), name="", alt="x"), "name"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("kind", ["numbers", "colour"])
def test_the_first_row_of_an_image_is_at_its_top(kind, tmp_path, open_page):
    image = np.zeros((16, 16), np.uint8)
    image[:4] = 255
    panel = ex.image_panel(
        image if kind == "numbers" else np.dstack([image] * 3), title="Top", **GREY[kind]
    )
    _, view = show(panel.layout, tmp_path, open_page)
    tones = view.page.evaluate(TONES)
    assert tones["top"] > 200 > 50 > tones["bottom"]


GREY = {"numbers": {"palette": "grey"}, "colour": {}}
# Mean brightness of the upper and the lower eighth of the largest canvas.
TONES = """() => {
  const canvases = [];
  const walk = (node) => {
    for (const child of node.querySelectorAll("*")) {
      if (child.tagName === "CANVAS") canvases.push(child);
      if (child.shadowRoot) walk(child.shadowRoot);
    }
  };
  walk(document);
  const canvas = canvases.reduce((a, b) => (a.width * a.height >= b.width * b.height ? a : b));
  const {width, height} = canvas;
  const tone = (y) => {
    const data = canvas.getContext("2d").getImageData(width / 4, y, width / 2, height / 8).data;
    return data.filter((_, i) => i % 4 === 0).reduce((a, b) => a + b, 0) / (data.length / 4);
  };
  return {top: tone(height / 16), bottom: tone((13 * height) / 16)};
}"""
