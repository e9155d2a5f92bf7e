"""Batch normalisation with the statistics of a scene, held while a network is trained."""

import pytest
import torch

from dcfnet import build_network, load_scene
from dcfnet.fusion.below import WINDOW, WINDOWS, below
from dcfnet.fusion.norms import with_fixed_norms, with_norms_of


@pytest.fixture(scope="module")
def windows():
    town = load_scene("simulated")
    return below(town.crop(slice(0, 192), slice(0, 256))).windows


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_network("dcfnet", width=0.25).eval()


def statistics(model):
    return {name: value for name, value in model.named_buffers() if "running" in name}


def test_statistics_are_those_of_windows_at_the_scale_of_the_scene(network, windows):
    assert len(windows) == WINDOWS
    assert all(w.gt is None and w.ms.shape == (8, WINDOW, WINDOW) for w in windows)
    assert all(w.pan.shape == (4 * WINDOW, 4 * WINDOW) == w.mask.shape for w in windows)
    before = {name: value.clone() for name, value in statistics(network).items()}
    model = with_norms_of(network, windows)
    # The first convolution sees PAN and MS alone, so its statistics can be computed beside it.
    pan, _, lms = (torch.cat(parts) for parts in zip(*(w.inputs() for w in windows), strict=True))
    first = model.stem[0]
    seen = first.conv(torch.cat([pan, lms], dim=1)).detach().mean(dim=(0, 2, 3))
    torch.testing.assert_close(first.norm.running_mean, seen, rtol=1e-4, atol=1e-6)
    assert not model.training
    for name, value in statistics(network).items():  # the given one stays as it is
        assert torch.equal(value, before[name])


def test_without_windows_statistics_stay(network):
    for name, value in statistics(with_norms_of(network, ())).items():
        assert torch.equal(value, statistics(network)[name])


def test_training_leaves_fixed_statistics_alone_and_the_state_fits(network, windows):
    model = with_norms_of(network, windows)
    fixed = with_fixed_norms(model).train()
    inputs = windows[0].crop(slice(0, 32), slice(0, 32)).inputs()
    torch.testing.assert_close(fixed(*inputs), model(*inputs))
    optimiser = torch.optim.SGD(fixed.parameters(), lr=1e-3)
    fixed(*inputs).square().mean().backward()
    optimiser.step()
    for name, value in statistics(fixed).items():
        assert torch.equal(value, statistics(model)[name])
    given = model(*inputs).detach()
    model.load_state_dict(fixed.state_dict())
    torch.testing.assert_close(model(*inputs), fixed(*inputs))
    assert not torch.equal(model(*inputs), given)


def test_a_network_without_batch_normalisation_stays_as_it_is(windows):
    model = build_network("fusionnet")
    for found in (with_norms_of(model, windows), with_fixed_norms(model)):
        for name, value in found.state_dict().items():
            assert torch.equal(value, model.state_dict()[name])
