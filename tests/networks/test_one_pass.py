import numpy as np
import pytest
import torch

from dcfnet import DataError, build_network
from dcfnet.networks import NETWORKS
from dcfnet.networks.one_pass import fuse
from tests.support.patches import noise


@pytest.fixture
def sample():
    return noise(48, 64)


@pytest.mark.parametrize("name", NETWORKS)
def test_digital_numbers_in_and_out(name, sample):
    torch.manual_seed(0)
    model = build_network(name)
    fused = fuse(model, sample)
    assert fused.shape == sample.lms.shape and fused.dtype == np.float32
    pan, ms, lms = (
        torch.from_numpy(np.asarray(image, np.float32) / 2047)[None]
        for image in (sample.pan[None], sample.ms, sample.lms)
    )
    with torch.no_grad():
        expected = model.eval()(pan, ms, lms)[0].numpy() * 2047
    np.testing.assert_allclose(fused, expected, rtol=1e-4, atol=0.05)


def test_the_networks_mode_is_restored_even_after_an_error(sample):
    model = build_network("fusionnet", bands=4).train()
    with pytest.raises(DataError):
        fuse(model, sample)
    assert model.training
    model = build_network("fusionnet").train()
    fuse(model, sample)
    assert model.training
