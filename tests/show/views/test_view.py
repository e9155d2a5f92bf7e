"""The frame of views, in a browser."""

import numpy as np
import pytest

import dcfnet.show.views as ex
from tests.support.views import drive, open_view


def frames(title):
    image = np.zeros((8, 8, 3), np.uint8)
    return ex.frame_panels({"Frame": np.stack([image, image + 9])}, {title: ["a", "b"]})


def test_a_dead_control_is_noticed(tmp_path, open_page):
    """A view as it must not be: a control that nothing listens to."""
    _, view = open_view(frames("Frame"), tmp_path, open_page)
    view.locator("select").evaluate("(it) => { it.onchange = null; }")
    with pytest.raises(AssertionError, match="does not answer Frame"):
        drive(view)


def test_a_view_has_a_name():
    with pytest.raises(ValueError, match="name"):
        ex.View(frames("Frame"), name="", alt="x")


def test_scripts_may_come_twice(tmp_path, open_page):
    """As in a notebook, where each cell brings them."""
    one, two = (ex.View(frames(name), name=name, alt="x").html() for name in ("one", "two"))
    page = tmp_path / "views.html"
    page.write_text(f"<!doctype html><meta charset=utf-8>{one}{two}", "utf-8")
    tab = open_page(page.as_uri(), inside=tmp_path.as_uri())
    tab.page.wait_for_function("() => document.querySelectorAll('[data-state=ready]').length === 2")
    assert tab.page.locator(".dcf-frame").count() == 2
    for view in tab.page.locator(".dcf-view").all():
        assert drive(view) == 1
    assert tab.wrong == []
