"""A scene's bands and the spectrum of a pixel, in a browser."""

from dataclasses import replace

import numpy as np

import dcfnet
import dcfnet.show.views as ex
from dcfnet.imagery.composite import band_limits, stretch
from tests.support.views import drive, open_view

PIXEL = """(view, at) => [...view.querySelectorAll("canvas")[at ?? 0].getContext("2d")
  .getImageData(0, 0, 1, 1).data].slice(0, 3)"""


def test_a_scene_brings_its_bands_its_pan_and_its_spectra(tmp_path, open_page):
    window = dcfnet.load_scene("simulated").crop(slice(96, 120), slice(128, 160))
    sensor, limits = window.sensor, band_limits(window.ms)
    presets = {"natural": (4, 2, 1), "infrared": (6, 4, 2)}
    tab, view = open_view(ex.band_explorer(window, limits, presets), tmp_path, open_page)
    assert view.locator(".dcf-frame[role=group]").count() == 2

    # Bands and presets agree.
    shown = stretch(window.ms, limits)[:, 0, 0].astype(int)
    preset, red, *_ = view.locator("select").all()
    assert preset.input_value() == "natural"
    np.testing.assert_allclose(view.evaluate(PIXEL), shown[[4, 2, 1]], atol=1)
    red.select_option(label=sensor.band_names[0])
    assert preset.input_value() == "own choice"
    np.testing.assert_allclose(view.evaluate(PIXEL), shown[[0, 2, 1]], atol=1)
    preset.select_option(label="infrared")
    assert red.evaluate("(it) => it.selectedOptions[0].label") == sensor.band_names[6]
    np.testing.assert_allclose(view.evaluate(PIXEL), shown[[6, 4, 2]], atol=1)
    assert drive(view) == 7

    # A click on the image moves the probe, a drag does not.
    image = view.locator("canvas").first
    box = image.bounding_box()
    image.click(position={"x": box["width"] * 2.5 / 32, "y": box["height"] * 4.5 / 24})
    sliders = view.get_by_role("slider").all()
    assert [slider.input_value() for slider in sliders] == ["4", "2"]
    order = np.argsort(sensor.centres)
    values = view.evaluate("(view) => view.querySelector('.dcf-live-body').values")
    assert values == window.ms[order, 4, 2].tolist()
    image.press("+")
    tab.page.mouse.move(box["x"] + 90, box["y"] + 90)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + 30, box["y"] + 30, steps=3)
    tab.page.mouse.up()
    assert [slider.input_value() for slider in sliders] == ["4", "2"]

    # The pointer reads the spectrum.
    dot = view.locator(".dcf-chart circle").first.bounding_box()
    tab.page.mouse.move(dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2)
    said = view.locator(".dcf-readout").inner_text()
    assert said == f"{sensor.band_names[order[0]]}: {values[0]} digital numbers"
    assert tab.wrong == []


def test_the_first_row_of_an_image_is_at_its_top_and_a_scale_has_its_ends(tmp_path, open_page):
    window = dcfnet.load_scene("simulated").crop(slice(96, 120), slice(128, 160))
    pan = np.full(window.pan.shape, 50, window.pan.dtype)
    pan[:8] = 900
    limits = band_limits(window.ms)
    drawing = ex.band_explorer(replace(window, pan=pan), limits, {"a": (4, 2, 1)})
    _, view = open_view(drawing, tmp_path, open_page)
    assert view.evaluate(PIXEL, 1) == [255] * 3
    assert view.locator(".dcf-scale").nth(1).inner_text().split() == ["50", "900"]
    view.locator("canvas").nth(1).hover(position={"x": 1, "y": 1})
    said = view.locator(".dcf-readout").inner_text()
    assert said == "PAN, row 0, column 0 of 96 × 128: 900 digital numbers"
