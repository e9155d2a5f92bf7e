"""The parts of views, alone and in a browser."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("bokeh", reason="the extra book is not installed")

from bokeh.models import Select

from dcfnet import explorers as ex
from tests.views import drive

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


@pytest.mark.parametrize("make", [composite, maps, spectra, two_images, frames])
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
