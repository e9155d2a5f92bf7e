"""The explorer of a network's parts, in a browser."""

import pytest
import torch

pytest.importorskip("bokeh", reason="the extra book is not installed")

import dcfnet.show.views as ex
from dcfnet.networks import build_network
from tests.support.views import drive, open_view


def parts(bands):
    torch.manual_seed(0)
    model = build_network("dcfnet", bands=4, width=0.1)
    image = torch.from_numpy(bands).float()[None] / 255
    low = torch.nn.functional.avg_pool2d(image, 4)
    return ex.part_explorer(
        model, image[:, :1], low, image, picture=bands[[2, 1, 0]].transpose(1, 2, 0), channels=3
    )


def test_a_part_is_found_in_list_and_drawing(bands, tmp_path, open_page):
    tab, view = open_view(parts(bands), tmp_path, open_page)
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
    assert drive(view) == 3
    assert tab.wrong == []


def chosen(control):
    return control.evaluate("(it) => it.selectedOptions[0].label")
