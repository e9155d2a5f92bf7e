"""The spectrum of a pixel, in a browser."""

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the extra book is not installed")

import dcfnet
import dcfnet.show.views as ex
from dcfnet.imagery.composite import band_limits
from tests.support.views import drive, open_view

LINE = """() => {
  const line = [...dcfnetViews.mounted[0].view.model.references()].find((it) => it.data?.nm);
  return [[...line.data.nm], [...line.data.value], [...line.data.band]];
}"""


def test_a_scene_brings_its_bands_its_pan_and_its_spectra(tmp_path, open_page):
    window = dcfnet.load_scene("simulated").crop(slice(96, 120), slice(128, 160))
    sensor = window.sensor
    presets = {"natural": (4, 2, 1), "infrared": (6, 4, 2)}
    tab, view = open_view(
        ex.band_explorer(window, band_limits(window.ms), presets), tmp_path, open_page
    )
    assert view.locator("[role=group]").count() == 2
    assert drive(view) == 7

    # A click on the image moves the probe.
    image = view.locator("[role=group]").first
    box = image.bounding_box()
    image.click(position={"x": box["width"] * 2.5 / 32, "y": box["height"] * 4.5 / 24})
    now = [slider.get_attribute("aria-valuenow") for slider in view.get_by_role("slider").all()]
    assert now == ["4.0", "2.0"]
    wavelengths, values, names = view.evaluate(LINE)
    order = np.argsort(sensor.centres)
    assert wavelengths == sorted(sensor.centres)
    assert names == [sensor.band_names[i] for i in order]
    np.testing.assert_allclose(values, window.ms[order, 4, 2], atol=np.ptp(window.ms) / 500)
    assert tab.wrong == []
