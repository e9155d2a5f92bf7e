"""Colour images that are put together, compared and chosen, in a browser."""

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the extra book is not installed")

import dcfnet.show.views as ex
from tests.show.views.conftest import NAMES
from tests.support.views import drive, open_view


def composite(bands):
    panel, choices = ex.band_composite(
        bands, NAMES, {"true colour": (2, 1, 0), "infrared": (3, 2, 1)}, title="Bands"
    )
    return ex.column(ex.controls(*choices), panel.layout, sizing_mode="stretch_width")


def two_images(bands):
    images = [bands[list(order)].transpose(1, 2, 0) for order in ((2, 1, 0), (3, 2, 1))]
    panel, choices = ex.comparison(*images, labels=("true", "infrared"), title="Two images")
    return ex.column(ex.controls(*choices), panel.layout, sizing_mode="stretch_width")


def frames(bands):
    stack = np.stack([bands[[i, 1, 0]].transpose(1, 2, 0) for i in range(4)])
    panels, choices = ex.frame_panels({"Frames": stack, "One": stack[0]}, {"Band": NAMES})
    return ex.column(ex.controls(*choices), ex.side_by_side(*panels), sizing_mode="stretch_width")


def test_a_frame_is_chosen(bands, tmp_path, open_page):
    tab, view = open_view(frames(bands), tmp_path, open_page)
    assert drive(view) == 1
    assert tab.wrong == []


# The colours of the first pixel that is drawn last.
PIXEL = """() => [...dcfnetViews.mounted[0].view.model.references()]
  .filter((it) => it.data?.image)
  .map((it) => [...new Uint8Array(it.data.image[0].buffer)].slice(0, 3))"""


def test_bands_and_presets_agree(bands, tmp_path, open_page):
    tab, view = open_view(composite(bands), tmp_path, open_page)
    preset, red, *_ = view.locator("select").all()
    red.select_option(label="blue")
    assert preset.input_value() == "own choice"
    assert view.evaluate(PIXEL) == [bands[[0, 1, 0], 0, 0].tolist()]
    preset.select_option(label="infrared")
    assert red.evaluate("(it) => it.selectedOptions[0].label") == "near infrared"
    assert view.evaluate(PIXEL) == [bands[[3, 2, 1], 0, 0].tolist()]
    assert drive(view) == 4
    assert tab.wrong == []


def test_the_first_image_is_left_of_the_curtain(bands, tmp_path, open_page):
    tab, view = open_view(two_images(bands), tmp_path, open_page)
    below, above = sorted(view.evaluate(PIXEL))
    assert sorted([below, above]) == sorted(
        [bands[[2, 1, 0], 0, 0].tolist(), bands[[3, 2, 1], 0, 0].tolist()]
    )
    assert drive(view) == 2
    assert tab.wrong == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ex.comparison(
                np.zeros((4, 4, 3)), np.zeros((4, 5, 3)), labels=("a", "b"), title="x"
            ),
            "same shape",
        ),
        (lambda: ex.frame_panels({"x": np.zeros((2, 4, 4, 3))}, {"a": "bc"}), "of uint8"),
        (lambda: ex.frame_panels({"x": np.zeros((3, 4, 4, 3))}, {"a": "bc"}), "'x' must be"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
