"""Views in JupyterLab: a notebook is run there in a browser without network."""

import pytest

pytest.importorskip("jupyterlab", reason="the extra lab is not installed")
pytest.importorskip("jupyterlab_myst", reason="the extra lab is not installed")
pytest.importorskip("jupyter_bokeh", reason="the extra lab is not installed")

from tests.support.lab import run_all, serving, write_notebook
from tests.support.views import answers, drive, picture

VIEW = """
import numpy as np
import dcfnet.show.views as ex

row, column = np.mgrid[:48, :64]
waves = [127 + 120 * np.sin(column / (5 + k) + row / 9) for k in range(3)]
bands = np.stack(waves).astype(np.uint8)
panel, choices = ex.band_composite(
    bands, ["one", "two", "three"], {"first": (0, 1, 2), "second": (2, 1, 0)}, title="Bands"
)
page = ex.View(
    ex.column(ex.controls(*choices), panel.layout, sizing_mode="stretch_width"),
    name="bands", alt="Three bands as a colour image.",
)
page
"""
LIVE = """
from bokeh.models import Select

answer = ex.image_panel(bands[0] * 1.0, title="Answer")
band = Select(title="Band", value="0", options=["0", "1", "2"])
band.on_change("value", lambda attr, old, new: answer.source.data.update(
    image=[bands[int(new)].astype(np.float32)]))
ex.LiveView(ex.column(band, answer.layout, sizing_mode="stretch_width"), page=page)
"""


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab server on this machine alone, with one notebook."""
    write_notebook(tmp_path / "views.ipynb", VIEW, LIVE)
    with serving(tmp_path) as server:
        yield server


def test_views_work_live(lab, open_page):
    tab = run_all(open_page, *lab, "views.ipynb", views=2)
    page = tab.page
    assert drive(page.locator(".dcf-view[data-view]")) == 4

    live = page.locator(".dcf-view:not([data-view])")
    live.locator("select").wait_for(timeout=20_000)
    page.wait_for_timeout(500)
    before = picture(live)
    live.locator("select").select_option("2")
    assert answers(live, before), "the kernel does not answer"
    assert [
        fault for fault in tab.wrong if "dcf" in fault.lower() or "bokeh" in fault.lower()
    ] == []
    assert [fault for fault in tab.wrong if fault.startswith("asks for")] == []


TEXT = """
$$
x^2 = 2
$$ (eq-two)

By {eq}`eq-two` a {term}`transfer <PCFT>` is meant.

::::{admonition} Exercise: a root
:class: tip
What is $x$?

:::{dropdown} Solution
It is $\\sqrt 2$.
:::
::::
"""


def test_text_reads_as_in_the_book(tmp_path, open_page):
    write_notebook(tmp_path / "text.ipynb", text=TEXT)
    with serving(tmp_path) as (address, token):
        tab = open_page(f"{address}/lab/tree/text.ipynb?token={token}&reset", inside=address)
        exercise = tab.page.locator(".jp-MarkdownCell aside", has_text="Exercise: a root")
        exercise.wait_for(timeout=30_000)
        assert exercise.get_by_text("What is").is_visible()
        solution = exercise.locator("details")
        assert solution.get_by_text("It is").is_hidden()
        solution.locator("summary").click()
        assert solution.get_by_text("It is").is_visible()
        text = tab.page.locator(".jp-MarkdownCell").inner_text()
        assert "By (1) a transfer is meant." in text
        assert not set("{`$") & set(text)
        assert [fault for fault in tab.wrong if fault.startswith("asks for")] == []
