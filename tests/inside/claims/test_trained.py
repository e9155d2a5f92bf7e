import numpy as np
import pytest
import torch
from torch.testing import assert_close

from dcfnet.imagery.wald import reduce_resolution
from dcfnet.inside.claims import trained as units
from dcfnet.inside.claims.trained import (
    BRANCHES,
    FUSED,
    Trained,
    ergas,
    take_patches,
)
from dcfnet.inside.gradcam import GradCAM
from dcfnet.inside.hooks import activations
from tests.conftest import simulated
from tests.inside.claims.conftest import network, patches


@pytest.fixture(scope="module")
def sample():
    return reduce_resolution(simulated())


def test_patches_are_those_of_the_folds_test_region(sample):
    whole = [take_patches(sample, fold, size=32) for fold in range(3)]
    for fold, found in enumerate(whole):
        region = sample.region("test", fold)
        top_left = torch.from_numpy(region.pan[:32, :32] / np.float32(2047))
        assert_close(found.pan[0, 0], top_left)
        assert found.gt.shape == (len(found), 8, 32, 32)
    some = whole[0][1:4:2]
    assert_close(some.lms, whole[0].lms[[1, 3]])


def test_what_is_seen_is_grad_cam_of_all_patches_at_once(trained, monkeypatch):
    monkeypatch.setattr(units, "CHUNK", 3)
    each = Trained("again", trained.model, trained.patches)
    with GradCAM(trained.model, FUSED) as cam:
        cam(*trained.patches.inputs)
        expected = cam.maps(each.bands)
    for name in FUSED:
        assert_close(each.activations[name], expected[name].activations)
        assert_close(each.maps[name].alpha, expected[name].alpha, rtol=1e-4, atol=1e-8)
    last = "stage3.fusion.transfers.2_to_0.last.conv"
    expected = activations(trained.model, [last, BRANCHES[1]], *trained.patches.inputs)
    for name, values in expected.items():
        assert_close(each.activations[name], values, rtol=1e-4, atol=1e-4)


def test_errors_are_those_of_the_fused_image():
    batch = patches(2)
    assert ergas(batch.gt, batch) == pytest.approx(0, abs=1e-3)
    with torch.no_grad():
        assert (ergas(network()(*batch.inputs), batch) > 1).all()
