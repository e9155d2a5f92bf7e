"""The first page: its picture, its curtain, what it fuses, and the doors."""

import numpy as np
import pytest

import dcfnet
from dcfnet.fusion.tiled import fuse_scene
from dcfnet.imagery.regions import regions
from dcfnet.imagery.wald import full_resolution, reduce_resolution
from dcfnet.inside.claims.committed import classical_results, results_by_fold
from dcfnet.inside.hooks import replaced
from dcfnet.measure.metrics import ergas
from dcfnet.networks.one_pass import fuse
from dcfnet.show.live import curtain, doors
from dcfnet.show.live.curtain import opening
from tests.support.pages import click, shown, usable, wait_until


@pytest.fixture(scope="module")
def scene():
    return dcfnet.load_scene("simulated")


@pytest.fixture(scope="module")
def piece(models, scene):
    """The picture, made by the narrow network for the sake of time."""
    return curtain(dict.fromkeys(("narrow", "paper"), models["narrow"]), scene, "chapter.html")


def test_the_picture_shows_ground_for_testing(scene):
    (area,) = regions(reduce_resolution(scene).shape, "test")
    for inner, outer in zip(opening(scene), area, strict=True):
        assert outer.start <= inner.start < inner.stop <= outer.stop


def test_what_a_branch_adds_is_what_the_image_loses_without(piece, models, scene):
    model = models["narrow"]
    sample = full_resolution(scene.crop(*opening(scene)))
    whole = fuse(model, sample)
    own = [f"stage3.fusion.transfers.1_to_{i}" for i in range(3)]
    with replaced(model, dict.fromkeys(own, lambda output: 0 * output)):
        square = ((fuse(model, sample) - whole) ** 2).mean(axis=0)
    h, w = (side // 4 for side in square.shape)
    expected = np.sqrt(square.reshape(h, 4, w, 4).mean(axis=(1, 3)))
    found = piece.data["branches"].values[1]
    assert found.shape == expected.shape
    inner = np.s_[12:-12, 12:-12]  # the piece fused a margin as well
    assert np.corrcoef(found[inner].ravel(), expected[inner].ravel())[0, 1] > 0.95


def test_doors_lead_on_and_say_what_was_measured(models, scene):
    html = doors(models["narrow"], scene, ("one.html", "two.html", "three.html"))._repr_html_()
    assert html.count('class="dcf-door"') == html.count("<img") == html.count(' alt="') == 3
    assert all(f'href="{name}.html"' in html for name in ("one", "two", "three"))
    region = reduce_resolution(scene).region("test")
    error = ergas(region.gt, fuse(models["narrow"], region))
    assert f"the network that the book takes apart has {error:.2f};" in html
    for results, name in ((results_by_fold(), "DCFNet"), (classical_results(), "MTF-GLP-FS")):
        by_fold = results["ergas"].sort_index().loc[name, "WorldView-3"]
        assert all(f"{by_fold[fold]:.2f}" in html for fold in range(3))


def test_the_curtain_moves_and_a_place_is_asked_about(piece, opened):
    page = opened(piece.html())
    assert page.evaluate("engine().length") == 0
    coarse = "document.querySelector('.dcf-coarse').style.clipPath"
    before = page.evaluate(coarse)
    page.evaluate(
        "(() => { const slider = document.querySelector('[type=range]'); slider.value = 20;"
        " slider.dispatchEvent(new Event('input')); })()"
    )
    assert page.evaluate(coarse) != before

    pictures = {}
    for name in piece.data["pictures"]:
        click(page, f"[data-key='{name}']")
        pictures[name] = page.evaluate("document.querySelector('.dcf-curtain img').src")
        assert shown(page, ".dcf-words") == piece.data["words"][name]
    assert len(set(pictures.values())) == 4

    branches = piece.data["branches"].values
    _, rows, cols = branches.shape
    page.evaluate(
        "document.querySelector('.dcf-curtain').dispatchEvent("
        "new KeyboardEvent('keydown', { key: 'ArrowDown' }))"
    )
    at = branches[:, int((0.5 + 1 / rows) * rows), cols // 2]
    said = ", ".join(f"{value:.0f}" for value in np.floor(at + 0.5))
    assert f"changes by {said} digital numbers" in shown(page, ".dcf-told")
    assert page.evaluate("document.querySelector('.dcf-live-body a').getAttribute('href')") == (
        "chapter.html"
    )

    click(page, ".dcf-main")
    wait_until(page, "piece.dataset.fused")
    assert "fused in this page just now" in shown(page, ".dcf-words")
    part = dcfnet.load_scene("simulated")
    part = part.crop(*opening(part))
    expected = fuse_scene(dcfnet.load_trained("dcfnet-narrow/fold0"), part).mean()
    assert float(page.evaluate("piece.dataset.fused")) == pytest.approx(expected, abs=0.02)
    assert not page.wrong


def test_everybody_can_use_it(piece, opened_in):
    usable(opened_in("chromium", piece.html(), width=390), 390)
