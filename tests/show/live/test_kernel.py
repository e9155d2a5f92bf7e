"""What the kernel answers in JupyterLab is what the graphs of a page answer."""

import numpy as np
import pytest

pytest.importorskip("anywidget", reason="the extra lab is not installed")

import dcfnet
from dcfnet.show.live.kernel import KernelPage
from tests.show.live.conftest import regions

GATES = {"stage3.fusion.transfers.2_to_0": 0, "pcft2": 0.5}


def test_answers_are_those_of_gradcam(models, patches):
    model, patch = models["narrow"], patches[0]
    answers = KernelPage("", "", {"narrow": model})
    images = [np.asarray(it, np.float32) for it in (patch.pan, patch.ms, patch.lms)]
    fused = answers.fuse("narrow", images, {}, patch.sensor.max_value)
    assert np.abs(fused - dcfnet.fuse(model, patch)).max() < 0.05
    layers = list(model.parts())
    weights = [0.0, 0.0, 0.5, 0.0, 0.5, 0.0, 0.0, 0.0]
    with dcfnet.GradCAM(model, layers) as cam:
        cam(*patch.inputs())
        for area in regions(64, 64).values():
            found = answers.maps(weights, area, layers)
            for layer, maps in cam.maps({2: 0.5, 4: 0.5}, area).items():
                largest = float(maps.signed.abs().max())
                assert float((found[layer].signed - maps.signed).abs().max()) <= 1e-5 * largest


@pytest.mark.slow
def test_gates_are_those_of_pages(models, patches, tmp_path):
    from tests.show.live.runtime import Runtime

    model, patch = models["narrow"], patches[1]
    images = [np.asarray(it, np.float32) for it in (patch.pan, patch.ms, patch.lms)]
    found = KernelPage("", "", {"narrow": model}).fuse("narrow", images, GATES, 2047)
    expected = 2047 * Runtime(model, tmp_path).fuse(*patch.inputs(), GATES)[0]
    assert np.abs(found - expected).max() < 0.05


def test_a_wrong_question_is_answered_in_words(models, monkeypatch):
    page = KernelPage("", "", models)
    sent = []
    monkeypatch.setattr(page, "send", lambda content, buffers: sent.append(content))
    question = {"id": 7, "command": "fuse", "network": "wide", "shapes": [], "gates": {}}
    page._answer(page, question | {"maximum": 2047}, [])
    assert sent[0]["id"] == 7
    assert "KeyError" in sent[0]["error"] or "wide" in sent[0]["error"]
