"""The frame of views, in a browser."""

import pytest

pytest.importorskip("bokeh", reason="the extra book is not installed")

from bokeh.models import Select

import dcfnet.show.views as ex
from tests.support.views import drive, open_view


def dead(bands):
    """A view as it must not be: a control that nothing listens to."""
    panel = ex.image_panel(bands[0], title="Blue")
    control = Select(title="Nothing", value="a", options=["a", "b"])
    return ex.column(control, panel.layout, sizing_mode="stretch_width")


def test_a_dead_control_is_noticed(bands, tmp_path, open_page):
    _, view = open_view(dead(bands), tmp_path, open_page)
    with pytest.raises(AssertionError, match="does not answer Nothing"):
        drive(view)


def test_a_view_has_a_name():
    with pytest.raises(ValueError, match="name"):
        ex.View(ex.column(), name="", alt="x")


def test_scripts_may_come_twice(bands, tmp_path, open_page):
    """As in a notebook, where each cell brings them."""
    views = [
        ex.View(ex.image_panel(band, title=name).layout, name=name, alt="x")
        for name, band in zip(("one", "two"), bands, strict=False)
    ]
    page = tmp_path / "views.html"
    page.write_text(f"<!doctype html>{views[0].html()}{views[1].html()}", "utf-8")
    tab = open_page(page.as_uri(), inside=tmp_path.as_uri())
    tab.page.wait_for_function("() => document.querySelectorAll('[data-state=ready]').length === 2")
    assert tab.page.evaluate("dcfnetViews.mounted.length") == 2
    assert tab.wrong == []
