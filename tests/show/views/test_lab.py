"""Views in JupyterLab: a notebook is run there in a browser without network."""

import numpy as np
import pytest
import torch

import dcfnet
from dcfnet.inside.cams import PatchCams, transfer_part
from dcfnet.inside.hooks import replaced
from dcfnet.measure.metrics import ergas

pytest.importorskip("jupyterlab", reason="the extra lab is not installed")
pytest.importorskip("jupyterlab_myst", reason="the extra lab is not installed")
pytest.importorskip("anywidget", reason="the extra lab is not installed")

from tests.support.lab import run_all, serving, write_notebook
from tests.support.views import drive

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
PIECE = """
import dcfnet
from dcfnet.show.live import apart, fusion_flow

sample = dcfnet.reduce_resolution(dcfnet.load_scene("simulated"))
patches = {
    "one": sample.crop(np.s_[:64], np.s_[:64]), "two": sample.crop(np.s_[64:128], np.s_[:64]),
}
model = dcfnet.load_trained("narrow-whole-0")
apart({"narrow": model}, patches)
"""
FLOW = """
fusion_flow(model, patches, network="narrow")
"""


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


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address and the token of a JupyterLab server on this machine alone."""
    folder = tmp_path_factory.mktemp("lab")
    write_notebook(folder / "views.ipynb", VIEW, PIECE, FLOW)
    write_notebook(folder / "text.ipynb", text=TEXT)
    with serving(folder) as server:
        yield server


def test_views_work_and_the_kernel_answers(lab, open_page):
    tab = run_all(open_page, *lab, "views.ipynb", views=1)
    page = tab.page
    assert drive(page.locator(".dcf-view[data-view]")) == 4

    sample = dcfnet.reduce_resolution(dcfnet.load_scene("simulated"))
    patch = sample.crop(np.s_[64:128], np.s_[:64])
    model = dcfnet.load_trained("narrow-whole-0")
    pieces = page.locator(".dcf-live[data-state=ready]")
    pieces.nth(1).wait_for(timeout=120_000)
    piece = pieces.filter(has=page.locator(".dcf-find"))
    piece.get_by_text("fused in").wait_for(timeout=60_000)
    before = float(piece.locator(".dcf-live-body").get_attribute("data-ergas"))
    assert before == pytest.approx(ergas(patch.gt, dcfnet.fuse(model, patch)), rel=1e-3)
    piece.locator("summary").first.click()
    name = "stage3.fusion.transfers.0_to_0"
    piece.locator(f"[data-gate='{name}']").uncheck()
    with replaced(model, {name: torch.zeros_like}):
        shut = ergas(patch.gt, dcfnet.fuse(model, patch))
    for _ in range(100):
        page.wait_for_timeout(200)
        found = float(piece.locator(".dcf-live-body").get_attribute("data-ergas"))
        if found != before:
            break
    assert found == pytest.approx(shut, rel=1e-3)

    flow = pieces.filter(has=page.locator(".dcf-flow"))
    flow.locator("summary").click()
    flow.get_by_label("Reading").select_option("before")
    flow.get_by_text("The network has answered").wait_for(timeout=60_000)
    part = transfer_part(2, 0)
    band = patch.sensor.rgb[0]
    one = sample.crop(np.s_[:64], np.s_[:64])
    wanted = PatchCams(model, one, [part]).map(part, band, "before").max()
    found = float(flow.locator(".dcf-live-body").get_attribute("data-top"))
    assert found == pytest.approx(wanted, rel=1e-3)
    faults = [it for it in tab.wrong if "dcf" in it.lower() or "bokeh" in it.lower()]
    assert faults == []
    assert [fault for fault in tab.wrong if fault.startswith("asks for")] == []


def test_text_reads_as_in_the_book(lab, open_page):
    address, token = lab
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
