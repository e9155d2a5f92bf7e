"""Taking DCFNet apart: what a discovery says is what the page and torch find."""

from dataclasses import replace

import numpy as np
import pytest

import dcfnet
from dcfnet.inside.cams import PatchCams
from dcfnet.inside.hooks import replaced
from dcfnet.measure.metrics import ergas
from dcfnet.show.live import apart, rounded
from dcfnet.show.live.apart import altered
from dcfnet.show.live.page import coded
from tests.support.pages import choose, click, settled, shown, usable, wait_until

GATE = "stage3.fusion.transfers.{}"


@pytest.fixture(scope="module")
def pieces(models, patches):
    """The piece for the narrow network alone, and its discoveries."""
    named = {"first": patches[0], "second": patches[1]}
    return apart({"narrow": models["narrow"]}, named)


@pytest.fixture
def page(pieces, opened):
    """The piece in a page of each browser."""
    return opened(pieces.html())


def test_pan_and_ms_are_altered_as_said(patches):
    patch = patches[0]
    ramp = np.tile(np.arange(64.0), (64, 1))
    moved = altered(replace(patch, pan=ramp), pan="shifted").pan
    assert np.allclose(moved[:, 2:-2], ramp[:, 2:-2] - 0.5)
    spike = np.zeros((64, 64))
    spike[30, 20] = 1
    blurred = altered(replace(patch, pan=spike), pan="blurred").pan
    y, x = np.mgrid[:64, :64]
    assert np.isclose(blurred.sum(), 1)
    assert np.isclose((blurred * ((y - 30) ** 2 + (x - 20) ** 2)).sum(), 2 * 4, rtol=0.03)
    even = altered(patch, ms="mean")
    assert np.allclose(even.ms, patch.ms.mean((1, 2), keepdims=True))
    assert even.lms is patch.lms
    assert np.array_equal(even.pan, patch.pan)


def test_arrays_for_scripts_fit_or_are_refused():
    assert np.array_equal(coded([[1, -2.5]], 0.5).values, [[1, -2.5]])
    with pytest.raises(ValueError, match="do not fit into 16 bits"):
        coded([40000])


def test_discoveries_say_what_they_found(pieces):
    for found in pieces.data["discoveries"]:
        said = found["told"]["narrow"]
        for value in found["numbers"]["narrow"].values():
            texts = [value] if isinstance(value, str) else [f"{value:.{d}f}" for d in (0, 1, 3)]
            assert any(text in said for text in texts), (said, value)


def test_a_reader_finds_what_the_discoveries_say(page, pieces):
    assert page.evaluate("engine().length") == 0
    assert shown(page, ".dcf-main").startswith("Run DCFNet here (5.5 MB)")
    # Without the network nothing is shown that belongs to something else.
    for title, other, shown_first in (("Patch", "first", "second"), ("PAN", "blurred", "as it is")):
        choose(page, title, other)
        assert shown(page, ".dcf-numbers") == ""
        choose(page, title, shown_first)
        assert shown(page, ".dcf-numbers").startswith("ERGAS")
    click(page, ".dcf-main")
    wait_until(page, "document.querySelector('.dcf-run .dcf-words').textContent.includes('fused')")
    assert page.evaluate("engine().length") > 0

    for i, found in enumerate(pieces.data["discoveries"]):
        click(page, f".dcf-find [data-key='{i}']")
        assert shown(page, ".dcf-asked") == found["question"]
        assert shown(page, ".dcf-told") == ""
        click(page, ".dcf-look")
        wait_until(page, "document.querySelector('.dcf-told').textContent")
        assert shown(page, ".dcf-told") == found["told"]["narrow"]
        numbers = found["numbers"]["narrow"]
        for key, name in (("before", "before"), ("after", "ergas"), ("inside", "inside")):
            if key in numbers:
                read = float(page.evaluate(f"piece.dataset.{name}"))
                assert read == pytest.approx(numbers[key], rel=2e-3), (found["title"], key)
        if i == 0:  # what it says of the transfers that it did not close
            for pair in ("2_to_0", "0_to_0"):
                click(page, f"[data-gate='{GATE.format(pair)}']")
            settled(page)
            read = float(page.evaluate("piece.dataset.ergas"))
            assert read == pytest.approx(numbers["own"], rel=2e-3)
        if i == 1:
            choose(page, "MS, for the PCFTs", "as it is")
            choose(page, "PAN", "shifted")
            read = float(page.evaluate("piece.dataset.ergas"))
            assert read == pytest.approx(numbers["shifted"], rel=2e-3)
    assert not page.wrong


def test_a_region_is_drawn_and_an_image_closed_as_torch_does(pieces, opened_in, models, patches):
    page = opened_in("chromium", pieces.html())
    model, patch = rounded(models["narrow"]), patches[1]
    click(page, ".dcf-main")
    wait_until(page, "document.querySelector('.dcf-run .dcf-words').textContent.includes('fused')")

    # A box, by the mouse: pixels 16 to 32 of 64, both ways.
    click(page, "[data-key='box']")
    frame = page.tab.page.locator(".dcf-frame").first
    frame.scroll_into_view_if_needed()
    box = frame.locator("canvas").bounding_box()
    at = [(box["x"] + box["width"] * s, box["y"] + box["height"] * s) for s in (16.5 / 64, 0.5)]
    mouse = page.tab.page.mouse
    mouse.move(*at[0])
    mouse.down()
    mouse.move(at[1][0] - 2, at[1][1] - 2, steps=4)
    mouse.up()
    settled(page)
    assert "256 pixels" in page.evaluate("document.body.textContent")
    region = np.s_[16:32, 16:32]
    found = PatchCams(model, patch, [pieces.data["first"]])
    cam = found.map(pieces.data["first"], patch.sensor.rgb[0], region=region)
    inside = 100 * cam[region].sum() / cam.sum()
    assert float(page.evaluate("piece.dataset.inside")) == pytest.approx(inside, rel=1e-3)

    # Keys move it by a pixel and make it larger.
    frame.press("ArrowRight")
    frame.press("+")
    settled(page)
    region = np.s_[16:33, 17:34]
    cam = found.map(pieces.data["first"], patch.sensor.rgb[0], region=region)
    inside = 100 * cam[region].sum() / cam.sum()
    assert float(page.evaluate("piece.dataset.inside")) == pytest.approx(inside, rel=1e-3)

    # Several transfers closed, PAN blurred.
    click(page, "summary")
    for pair in ("1_to_0", "2_to_0"):
        click(page, f"[data-gate='{GATE.format(pair)}']")
    choose(page, "PAN", "blurred")
    with replaced(model, {GATE.format(pair): zeros for pair in ("1_to_0", "2_to_0")}):
        expected = ergas(patch.gt, dcfnet.fuse(model, altered(patch, pan="blurred")))
    assert float(page.evaluate("piece.dataset.ergas")) == pytest.approx(expected, rel=1e-3)
    assert not page.wrong


def zeros(output):
    return 0 * output


def test_everybody_can_use_it(pieces, opened_in):
    usable(opened_in("chromium", pieces.html(), width=390), 390)
