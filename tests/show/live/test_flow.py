"""Figures 2 and 3 as flows: what they show is what torch finds, from disk and asked anew."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dcfnet.inside.cams import PatchCams, transfer_part
from dcfnet.networks import build_network
from dcfnet.networks.bricks import normalise
from dcfnet.show.live import fusion_flow, pcft_flow
from dcfnet.show.live.page import halves
from tests.support.pages import choose, click, shown, usable, wait_until

CARD = "button[data-part='{}']"
T02 = transfer_part(2, 0)


@pytest.fixture(scope="module")
def named(patches):
    return {"first": patches[0], "second": patches[1]}


@pytest.fixture(scope="module")
def fusion(models, named):
    return fusion_flow(models["narrow"], named, first="second", network="narrow")


@pytest.fixture(scope="module")
def pcft(models, named):
    return pcft_flow(models["narrow"], named, network="narrow")


@given(arrays(np.float64, (3, 5), elements=st.floats(-1e6, 1e6)))
def test_eight_bits_keep_each_side_of_zero(values):
    off = np.abs(halves(values).values - values)
    high, low = max(0, values.max()), max(0, -values.min())
    assert (off <= np.where(values > 0, high, low) / 254 * 1.0001 + 1e-12).all()


@pytest.mark.parametrize("kind", ["fusion", "pcft"])
def test_the_page_carries_what_gradcam_finds(kind, request, models, named):
    data = request.getfixturevalue(kind).data
    for name, patch in named.items():
        cams = PatchCams(models["narrow"], patch)
        carried = data["patches"][name]
        assert {node["part"] for node in data["nodes"]} <= set(carried["maps"])
        for part, maps in carried["maps"].items():
            for band in (0, 4, 7):
                wanted = cams.signed(part, band)
                assert np.abs(maps["signed"][band].values - wanted).max() <= (
                    np.abs(wanted).max() / 250
                )
            features = cams.features(part)
            off = np.abs(maps["features"].values - features).max()
            assert off <= np.abs(features).max() / 250


def test_a_ribbon_is_as_wide_as_what_passes(fusion, pcft, models, named):
    model, cams = models["narrow"], PatchCams(models["narrow"], named["first"])
    shares = model.stage3.fusion.shares()

    def widths(data):
        spread = data["patches"]["first"]["spread"]
        return {
            it["part"]: it["factor"] * spread[it["part"]] for it in data["ribbons"] if it["part"]
        }

    found = widths(fusion.data)
    assert len(found) == 9
    for i, j in np.ndindex(3, 3):
        term = shares[i, j].item() * cams.activations(transfer_part(j, i)).std(correction=0)
        assert found[transfer_part(j, i)] == pytest.approx(float(term), rel=1e-3)
    a, b = normalise(model.pcft2.pair).tolist()
    found = widths(pcft.data)
    for part, factor in (("pcft2.down1", a), ("pcft2.channel_fusion", b)):
        term = factor * cams.activations(part).std(correction=0)
        assert found[part] == pytest.approx(float(term), rel=1e-3)


def top(page):
    return float(page.evaluate("piece.dataset.top"))


def beside(page):
    """Of the maps that stand beside the chosen one as the supplement draws them, the ends."""
    return [float(end) for end in page.evaluate("piece.dataset.three").split(",")]


def test_the_supplement_s_own_way_stands_beside(fusion, opened_in, models, named):
    page = opened_in("chromium", fusion.html())
    panels = "[...document.querySelectorAll('.dcf-panels figure')]"
    last = f"{panels}.at(-1).querySelector('canvas').toDataURL()"
    seen = set()
    for patch in named:
        choose(page, "Patch", patch)
        for part in (T02, "stage3.branches.0"):
            click(page, CARD.format(part))
            cams = PatchCams(models["narrow"], named[patch])
            wanted = [np.abs(cams.signed(part, band)).max() for band in (4, 2, 0)]
            assert beside(page) == pytest.approx(wanted, rel=5e-3)
            seen.add(page.evaluate(last))
    assert len(seen) == 4  # another picture for each patch and part
    before = page.evaluate(last)
    for scale in ("shared", "own"):  # whatever the scale of the others
        click(page, f".dcf-controls [data-key={scale}]")
        choose(page, "Shown", "6")
        assert page.evaluate(last) == before
    caption = page.evaluate(f"{panels}.at(-1).textContent")
    assert "As the supplement draws it" in caption and "each to its own range" in caption
    assert not page.wrong


def test_a_reader_chooses_and_asks(fusion, opened, models, named):
    page = opened(fusion.html())
    cams = {name: PatchCams(models["narrow"], patch) for name, patch in named.items()}
    assert page.evaluate("engine().length") == 0

    # A part, by its map and by its ribbon; a band; a patch.
    click(page, CARD.format("stage3.fusion.fused.1"))
    assert page.evaluate("piece.dataset.part") == "stage3.fusion.fused.1"
    page.evaluate(
        f"document.querySelector('.dcf-ribbons [data-part=\"{T02}\"] path')"
        ".dispatchEvent(new Event('click', { bubbles: true }))"
    )
    assert page.evaluate("piece.dataset.part") == T02
    assert page.evaluate(f'document.querySelector("{CARD.format(T02)}").ariaPressed') == "true"
    for patch, band in (("first", 2), ("second", 6)):
        choose(page, "Patch", patch)
        choose(page, "Shown", str(band))
        wanted = np.abs(cams[patch].signed(T02, band)).max()
        assert top(page) == pytest.approx(wanted, rel=5e-3)
        number = shown(page, f"{CARD.format(T02)} .dcf-number").split(" · ×")
        assert float(number[0]) == pytest.approx(1e6 * wanted, rel=0.06)
        strongest = max(
            np.abs(cams[patch].signed(it["part"], band)).max() for it in fusion.data["nodes"]
        )
        assert float(number[1]) == pytest.approx(wanted / strongest, rel=0.06)

    # Scales and feature maps change the pictures; the supplement's have nothing to compare.
    picture = f'document.querySelector("{CARD.format(T02)} canvas").toDataURL()'
    seen = {page.evaluate(picture)}
    for scale in ("shared", "supplement", "own"):
        click(page, f".dcf-controls [data-key={scale}]")
        seen.add(page.evaluate(picture))
        assert ("own range" in shown(page, CARD.format(T02))) == (scale == "supplement")
    assert len(seen) == 3
    choose(page, "Shown", "features")
    assert page.evaluate(picture) not in seen
    choose(page, "Shown", "6")
    choose(page, "Transfers", "last")
    last = transfer_part(2, 0, "last convolution")
    assert top(page) == pytest.approx(np.abs(cams["second"].signed(last, 6)).max(), rel=5e-3)
    choose(page, "Transfers", "arrives")

    # The network comes on a click, and answers for a region.
    assert page.evaluate("engine().length") == 0
    click(page, ".dcf-run button")
    wait_until(page, "document.querySelector('.dcf-run .dcf-words').textContent.includes('here')")
    assert page.evaluate("engine().length") > 0
    click(page, ".dcf-buttons [data-key=box]")
    wait_until(
        page, "document.querySelector('.dcf-run .dcf-words').textContent.includes('answered')"
    )
    region = np.s_[24:40, 24:40]
    wanted = cams["second"].signed(T02, 6, region)
    assert top(page) == pytest.approx(np.abs(wanted).max(), rel=5e-3)
    wanted = [np.abs(cams["second"].signed(T02, band, region)).max() for band in (4, 2, 0)]
    assert beside(page) == pytest.approx(wanted, rel=5e-3)
    choose(page, "Reading", "before")
    wanted = cams["second"].map(T02, 6, "before", region)
    assert top(page) == pytest.approx(wanted.max(), rel=5e-3)
    assert not page.wrong


def test_no_click_holds_the_page_up(fusion, opened_in):
    page = opened_in("chromium", fusion.html())

    def everything():
        for part in (T02, "stage3.branches.0"):
            click(page, CARD.format(part))
        for scale in ("shared", "supplement", "own"):
            click(page, f".dcf-controls [data-key={scale}]")
            for shown_ in ("6", "all", "features"):
                choose(page, "Shown", shown_)
        choose(page, "Patch", "first")

    assert 1 < page.longest_task(everything) < 100
    assert not page.wrong


@pytest.mark.parametrize("kind", ["fusion", "pcft"])
@pytest.mark.parametrize("width", [390, 1000])
def test_everybody_can_read_it(kind, width, request, opened_in):
    page = opened_in("chromium", request.getfixturevalue(kind).html(), width=width)
    usable(page, width)
    maps = "[...document.querySelectorAll('.dcf-card canvas')].map((it) => it.clientWidth)"
    if width == 1000:  # all but the branches of the fusion, which stand in proportion
        large = [w for w in page.evaluate(maps) if w >= 150]
        assert len(large) == {"fusion": 9, "pcft": 10}[kind]


def test_what_cannot_be_drawn_is_refused(models, patches):
    with pytest.raises(ValueError, match="patches of one size, got no patch"):
        fusion_flow(models["narrow"], {})
    sizes = {"a": patches[0], "b": patches[0].crop(slice(0, 32), slice(0, 32))}
    with pytest.raises(ValueError, match="patches of one size"):
        fusion_flow(models["narrow"], sizes)
    with pytest.raises(ValueError, match="without its second PCFT"):
        pcft_flow(build_network("dcfnet", 8, width=0.125, without=("pcft2",)), sizes)
