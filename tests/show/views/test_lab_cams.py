"""The explorer of class activation maps in JupyterLab: the kernel answers."""

import shutil

import pytest

pytest.importorskip("jupyterlab", reason="the extra lab is not installed")
pytest.importorskip("jupyter_bokeh", reason="the extra lab is not installed")

from tests.conftest import ROOT
from tests.support.lab import run_all, serving, write_notebook
from tests.support.views import answers, picture

SETUP = """
import numpy as np
import torch
from dcfnet.imagery.simulated.camera import simulate_scene
from dcfnet.imagery.wald import reduce_resolution
from dcfnet.networks import build_network
from dcfnet.show.views import cam_explorer

torch.manual_seed(0)
model = build_network("dcfnet", bands=8, inject_details=False)
sample = reduce_resolution(simulate_scene())
"""
VIEW = """
explorer = cam_explorer(
    model,
    {"one": sample.crop(np.s_[:64], np.s_[:64]), "two": sample.crop(np.s_[64:128], np.s_[:64])},
    regions={"corner": np.s_[:16, :16]}, name="cams", alt="Maps to choose from.",
)
explorer
"""


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab server on this machine alone, with one notebook."""
    write_notebook(tmp_path / "cams.ipynb", SETUP, VIEW)
    with serving(tmp_path) as server:
        yield server


def test_the_kernel_answers_every_control(lab, open_page):
    tab = run_all(open_page, *lab, "cams.ipynb", views=1)
    page = tab.page
    live = page.locator(".dcf-view")
    live.locator("select").first.wait_for(timeout=30_000)
    page.wait_for_timeout(1000)

    def answered(what, change):
        before = picture(live)
        change()
        assert answers(live, before, 10), f"the kernel does not answer {what}"
        page.wait_for_timeout(300)

    def choose(title, label):
        answered(title, lambda: live.get_by_label(title, exact=True).select_option(label=label))

    answered("a sum of bands", lambda: live.get_by_text("2 B", exact=True).click())
    answered("a single band", lambda: live.get_by_text("5 R", exact=True).click())
    assert live.get_by_role("button", name="2 B", pressed=True).count() == 1
    assert live.get_by_role("button", name="5 R", pressed=False).count() == 1
    assert live.get_by_role("figure").get_attribute("aria-label") == "Maps to choose from."
    image = live.locator("[role=group][tabindex='0']").first
    answered("a key", lambda: image.press("+"))
    answered("a key", lambda: image.press("0"))
    choose("Patch", "two")
    choose("Part", "Head, concatenation of all branches")
    choose("Averaged over", "corner")
    choose("Image", "natural colour")
    choose("Colour map", "magma")
    choose("Colour scale", "shared by all parts")
    choose("Shown", "signed map, no ReLU")

    canvas = live.locator("[role=group][tabindex='0']").last.bounding_box()
    x, y, width, height = (canvas[key] for key in ("x", "y", "width", "height"))

    def draw():
        page.mouse.move(x + 0.25 * width, y + 0.25 * height)
        page.mouse.down()
        page.mouse.move(x + 0.5 * width, y + 0.5 * height, steps=5)
        page.mouse.up()

    answered("a box", draw)
    assert live.get_by_label("Averaged over", exact=True).evaluate(
        "(it) => it.selectedOptions[0].text"
    ) == ("your own box")
    sliders = [slider.get_attribute("aria-label") for slider in live.get_by_role("slider").all()]
    assert sliders[1:] == ["Rows, from", "Rows, to", "Columns, from", "Columns, to"]
    handle = live.get_by_role("slider", name="Rows, from")
    handle.focus()
    answered("a slider of rows", lambda: [handle.press("ArrowLeft") for _ in range(5)])
    assert [
        fault for fault in tab.wrong if "dcf" in fault.lower() or "bokeh" in fault.lower()
    ] == []
    assert [fault for fault in tab.wrong if fault.startswith("asks for")] == []


def test_a_chapter_is_run_and_its_explorer_answers(tmp_path, open_page, monkeypatch):
    monkeypatch.setenv("DCFNET_SCENE", "simulated")
    shutil.copy(ROOT / "book" / "11_inside_fusion.ipynb", tmp_path)
    with serving(tmp_path) as server:
        tab = run_all(open_page, *server, "11_inside_fusion.ipynb", views=1, seconds=240)
        page = tab.page
        live = page.locator(".dcf-view")
        live.scroll_into_view_if_needed()
        part = live.get_by_label("Part", exact=True)
        part.wait_for(timeout=60_000)
        page.wait_for_timeout(1000)
        for label in (
            "Stage 3, fused branch 0",
            "Stage 3, T02: branch 2 to branch 0, as it arrives",
        ):
            before = picture(live)
            part.select_option(label=label)
            assert answers(live, before, 10), f"the kernel does not answer {label}"
        before = picture(live)
        live.get_by_text("7 N", exact=True).click()
        assert answers(live, before, 10), "the kernel does not answer a band"
