"""A network in a page that is read from disk, in Chromium and in Firefox, against torch."""

import contextlib
import json
import shutil
import statistics
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

import dcfnet
from dcfnet.inside.switches import closed
from dcfnet.show.live import rounded
from tests.conftest import opening
from tests.show.live.conftest import regions
from tests.support.pages import Chromium, click, wait_until, write_page

EARLY, LATE, TURNED = 2e-3, 1e-4, 0.05  # as in test_graphs.py
GATES = {"stage3.fusion.transfers.2_to_0": 0, "pcft2": 0}


@pytest.fixture(scope="module")
def address(site):
    """Of a page that does nothing by itself, beside the networks."""
    return write_page(site, "page", Path(__file__).with_name("page.html").read_text())


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def page(request, address, site):
    """The page in each browser, in which the network has been started once for all tests."""
    with contextlib.ExitStack() as stack:
        if request.param == "chromium":
            open_page = stack.enter_context(opening(request.getfixturevalue("chromium")))
            page = Chromium(open_page, address, f"file://{site}/")
        else:
            page = request.getfixturevalue("firefox")
            page.open(address)
        page.before = page.evaluate("[engine().length, button.textContent]")
        start(page)
        yield page


def start(page):
    click(page, "button")
    wait_until(page, "document.querySelector('output').textContent")


def image(array):
    return {"data": np.asarray(array, float).ravel().tolist(), "shape": list(array.shape)}


def sample_in_js(sample, **more):
    return json.dumps({name: image(getattr(sample, name)) for name in ("pan", "ms", "lms")} | more)


def fuse_in(page, sample, **more):
    answer = page.evaluate(f"fuse({sample_in_js(sample, **more)})")
    return np.array(answer["data"]).reshape(answer["shape"])


def test_a_click_brings_the_network_and_it_gives_what_torch_gives(page, models, patches):
    model = models["narrow"]
    assert page.before == [0, "Run the network here (5.5 MB)"]
    assert page.evaluate("engine().length") == 7  # six of the runtime, one of the network
    steps = page.evaluate("steps")
    assert [step["step"] for step in steps] == [*["loading"] * 8, "starting", "ready"]
    assert steps[-1]["bytes"] == steps[-1]["total"] > 5e6

    # The page answers while it loads and computes.
    one = sample_in_js(patches[0])
    page.evaluate(
        f"(async ({{pan, ms, lms}}) => {{ await net.fuse(image(pan), image(ms), image(lms));"
        f" await net.maps([0]); }})({one})"
    )
    assert page.evaluate("Math.max(0, ...tasks)") < 100

    off = defaultdict(list)
    near = rounded(model)
    layers = list(model.parts())
    for patch, (name, area) in zip(patches, regions(64, 64).items(), strict=True):
        fused = fuse_in(page, patch)
        assert np.abs(fused - dcfnet.fuse(model, patch)).max() < 0.05
        mask = area.ravel().astype(int).tolist() if name != "whole" else None
        found = page.evaluate(f"maps([4, 2], {json.dumps(mask)})")["layers"]
        with dcfnet.GradCAM(near, layers) as cam:
            cam(*patch.inputs())
            expected = cam.maps({4: 1, 2: 1}, area)
        assert set(found) == set(expected)
        for layer, maps in expected.items():
            largest = float(maps.signed.abs().max())
            alone = {
                "features": (maps.features, float(maps.features.abs().max())),
                "signed": (maps.signed, largest),
                "after": (maps.map(), largest),
                "before": (maps.map("before"), float(maps.map("before").max())),
                "alpha": (maps.alpha, float(maps.alpha.abs().max())),
            }
            assert found[layer]["shape"] == list(maps.activations.shape[1:])
            for kind, (values, scale) in alone.items():
                error = np.abs(np.array(found[layer][kind]) - values.numpy().ravel()).max()
                off[layer, kind].append(error / scale)
    for (layer, kind), errors in off.items():
        late = layer.startswith(("pcft2", "stage3", "head"))
        assert statistics.median(errors) < (LATE if late else EARLY), (layer, kind, errors)
        assert max(errors) < TURNED, (layer, kind, errors)
    assert not page.wrong


def test_gates_and_tiles(page, models, patches):
    model, patch = models["narrow"], patches[1]

    # A transfer and a PCFT are closed, as in torch.
    opened, shut = fuse_in(page, patch), fuse_in(page, patch, gates=GATES)
    fusion = model.stage3.fusion
    before = fusion.shares().detach().clone()
    before[0, 2] = 0
    with pytest.MonkeyPatch.context() as patched, closed(model, "pcft2"):
        patched.setattr(fusion, "shares", lambda: before)
        expected = dcfnet.fuse(model, patch)
    assert np.abs(shut - expected).max() < 0.05
    assert np.abs(shut - opened).max() > 1

    # A scene in tiles, as the package cuts them; MS is interpolated in the page.
    whole = dcfnet.load_scene("simulated")
    scene = dcfnet.Scene(
        **{
            **vars(whole),
            "ms": whole.ms[:, 100:140, 60:84],
            "pan": whole.pan[400:560, 240:336],
            "mask": whole.mask[100:140, 60:84],
        }
    )
    pair = ", ".join(
        f"image({json.dumps(image(array))}, Uint16Array)" for array in (scene.pan, scene.ms)
    )
    answer = page.evaluate(
        f"(async () => {{ const seen = []; const made = await net.fuseWhole({pair}, {{tile: 64,"
        " onProgress: ({done, total}) => seen.push([done, total])}); return {seen, ...plain(made)};"
        "})()"
    )
    expected = dcfnet.fuse_scene(model, scene, tile=64)
    assert answer["shape"] == list(expected.shape)
    assert np.abs(np.array(answer["data"]).reshape(answer["shape"]) - expected).max() < 0.1
    total = answer["seen"][-1][1]
    assert answer["seen"] == [[done, total] for done in range(total + 1)]

    stopped = page.evaluate(
        f"(async () => {{ const stop = new AbortController(); let seen = 0;"
        f" try {{ await net.fuseWhole({pair}, {{tile: 64, signal: stop.signal,"
        " onProgress: () => { if (++seen === 2) stop.abort(); }}); } catch (error) {"
        " return [error.name, seen]; } })()"
    )
    assert stopped == ["AbortError", 2]

    # What goes wrong is said, and the network goes on.
    assert page.evaluate("said(() => net.maps([1], null, ['nothing']))") != ""
    assert np.array_equal(fuse_in(page, patch), opened)
    assert not page.wrong


def test_the_paper_s_width_comes_to_the_runtime_that_is_there(address, opened_at, models, patches):
    page = opened_at("chromium", address)
    start(page)
    assert page.evaluate("dcfnetLive.megabytes('paper')") < 8
    page.evaluate("(async () => { net = await dcfnetLive.load('paper'); })()")
    fused = fuse_in(page, patches[0])
    assert np.abs(fused - dcfnet.fuse(models["paper"], patches[0])).max() < 0.05
    found = page.evaluate("maps([4], null, ['head.concat'])")["layers"]["head.concat"]
    with dcfnet.GradCAM(rounded(models["paper"]), "head.concat") as cam:
        cam(*patches[0].inputs())
        expected = cam.maps(4)["head.concat"].signed.numpy().ravel()
    assert np.abs(found["signed"] - expected).max() < LATE * np.abs(expected).max()
    assert not page.wrong


def test_a_browser_that_cannot_says_so(address, opened_at):
    page = opened_at("chromium", address)
    page.evaluate("delete window.WebAssembly")
    sentence = page.evaluate("dcfnetLive.unsupported()")
    assert sentence.startswith("This browser lacks WebAssembly, so it cannot run the network")


def test_a_file_that_is_missing_is_named(address, open_page, site, tmp_path):
    shutil.copytree(site, tmp_path / "site")
    (tmp_path / "site/_static/live/runtime-2.js").unlink()
    address = f"file://{tmp_path}/site/"
    page = Chromium(open_page, f"{address}page.html", address)
    said = page.evaluate("said(() => dcfnetLive.load('narrow'))")
    assert "live/runtime-2.js could not be loaded" in said
