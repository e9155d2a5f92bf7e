import numpy as np
import pytest
import torch
from torch import nn

from dcfnet.imagery.sensors import WV3
from dcfnet.imagery.wald import reduce_resolution
from dcfnet.inside.cams import PatchCams, part_table, pictured, transfer_part
from dcfnet.inside.gradcam import GradCAM
from dcfnet.networks import build_network
from tests.conftest import simulated


@pytest.fixture(scope="module")
def sample():
    return reduce_resolution(simulated())


@pytest.fixture(scope="module")
def patch(sample):
    return sample.crop(slice(64, 128), slice(64, 128))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = build_network("dcfnet", 8, width=0.125).eval()
    nn.init.normal_(model.head.out.weight)
    return model


@pytest.fixture(scope="module")
def found(model, patch):
    return PatchCams(model, patch)


def test_every_part_has_a_map_of_its_own_size(model, found):
    parts = model.parts()
    assert set(parts) - set(found.parts) == {"pcft1.ms_up"}
    for name in found.parts:
        shape = parts[name].shape(64, 64)[1:]
        assert found.features(name).shape == found.map(name, 7).shape == shape
    assert found.fused.shape == (8, 64, 64)


def test_map_before_the_last_convolution_is_the_detail_itself(model, found, patch):
    detail = found.fused - patch.lms / WV3.max_value
    for band in (0, 4):
        expected = (detail[band] - model.head.out.bias[band].item()) / 64**2
        np.testing.assert_allclose(found.signed("head.mix", band), expected, atol=1e-7)


def test_patches_lie_in_the_test_region(sample):
    patches = pictured(sample.region("test"))
    assert list(patches) == ["patch 1", "patch 2", "patch 3"]
    assert all(patch.pan.shape == (64, 64) for patch in patches.values())
    with pytest.raises(ValueError, match="holds no patch"):
        pictured(sample.crop(slice(0, 32), slice(0, 64)))


def test_table_counts_zeros(model, found):
    row = part_table({"here": found}, {"all": "head.concat"}, [2, 5]).loc["all", "here"]
    shown = np.stack([found.map("head.concat", band) for band in (2, 5)])
    assert row["zero"] == (shown == 0).mean()
    assert row["map"] == pytest.approx(1e6 * shown.mean())
    assert row["feature"] == pytest.approx(found.features("head.concat").mean())


def test_maps_are_those_of_grad_cam_whatever_was_asked_before(model, patch, found):
    part, box = "stage3.fusion.fused.1", np.s_[8:24, 4:60]
    mask = np.zeros((64, 64), bool)
    mask[box] = True
    with GradCAM(model, part) as cam:
        cam(*patch.inputs())
        one, both = cam.maps(2, box)[part], cam.maps({2: 1, 6: 1}, box)[part]
    for _ in range(2):
        np.testing.assert_array_equal(found.map(part, 2, region=box), one.map()[0])
        np.testing.assert_array_equal(found.map(part, 2, region=mask), one.map()[0])
        np.testing.assert_allclose(
            found.signed(part, [2, 6], region=box), both.signed[0], atol=1e-9
        )
        assert not np.array_equal(found.map(part, 2), one.map()[0])


def test_a_transfer_can_be_hooked_at_its_last_convolution(model, found):
    assert transfer_part(1, 1, "last convolution").endswith("1_to_1")
    name = transfer_part(2, 0, "last convolution")
    assert found.map(name, 0).shape == (16, 16)
    assert found.map(transfer_part(2, 0), 0).shape == (64, 64)
    with pytest.raises(ValueError, match="hook must be"):
        transfer_part(2, 0, "somewhere")
