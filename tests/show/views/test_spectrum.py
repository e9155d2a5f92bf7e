"""The spectrum of a pixel, in a browser."""

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the extra book is not installed")

import dcfnet
import dcfnet.show.views as ex
from dcfnet.imagery.composite import band_limits
from tests.show.views.conftest import NAMES
from tests.support.views import drive, open_view

WAVELENGTHS = [660, 480, 545, 832]


def spectra(bands):
    panel = ex.image_panel(bands[[2, 1, 0]].transpose(1, 2, 0), title="True colour")
    plot, at = ex.spectrum_probe(
        panel, bands * 8.0, WAVELENGTHS, names=NAMES, value_name="digital number"
    )
    return ex.column(panel.layout, ex.controls(*at), plot, sizing_mode="stretch_width")


def test_every_control_answers(bands, tmp_path, open_page):
    tab, view = open_view(spectra(bands), tmp_path, open_page)
    assert drive(view) == 2
    assert tab.wrong == []


def test_a_scene_brings_its_bands_its_pan_and_its_spectra(tmp_path, open_page):
    window = dcfnet.load_scene("simulated").crop(slice(96, 128), slice(128, 160))
    layout = ex.band_explorer(
        window, band_limits(window.ms), {"natural": (4, 2, 1), "infrared": (6, 4, 2)}
    )
    tab, view = open_view(layout, tmp_path, open_page)
    assert view.locator("[role=group]").count() == 2
    assert drive(view) == 7
    assert tab.wrong == []


LINE = """() => {
  const line = [...dcfnetViews.mounted[0].view.model.references()].find((it) => it.data?.nm);
  return [[...line.data.nm], [...line.data.value], [...line.data.band]];
}"""


def test_clicking_an_image_moves_the_probe(bands, tmp_path, open_page):
    _, view = open_view(spectra(bands), tmp_path, open_page)
    image = view.locator("[role=group]")
    box = image.bounding_box()
    image.click(position={"x": box["width"] * 2.5 / 32, "y": box["height"] * 4.5 / 24})
    now = [slider.get_attribute("aria-valuenow") for slider in view.get_by_role("slider").all()]
    assert now == ["4.0", "2.0"]
    wavelengths, values, names = view.evaluate(LINE)
    order = np.argsort(WAVELENGTHS)
    assert wavelengths == sorted(WAVELENGTHS) and names == [NAMES[i] for i in order]
    np.testing.assert_allclose(values, 8.0 * bands[order, 4, 2], atol=8 * 255 / 500)
