import numpy as np
import pytest
import torch
from torch import nn

from dcfnet.inside.sanity import (
    cascade,
    deletion,
    evenness,
    randomised,
    rank_correlation,
    shuffle_weights,
)
from dcfnet.networks import build_network
from tests.support.networks import images


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = build_network("dcfnet", 4, width=0.125).eval()
    nn.init.normal_(model.head.out.weight)
    return model


@pytest.fixture(scope="module")
def inputs():
    return images(bands=4, batch=2)


def test_rank_correlation_by_hand():
    a = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert rank_correlation(a, np.exp(a)) == pytest.approx(1)
    assert rank_correlation(a, -a) == pytest.approx(-1)
    # Ranks 1 2 3 4 and 1.5 1.5 3 4: covariance 4.5, variances 5 and 4.5.
    b = np.array([[0.0, 0.0], [1.0, 2.0]])
    assert rank_correlation(a, b) == pytest.approx(4.5 / np.sqrt(5 * 4.5))
    assert np.isnan(rank_correlation(a, np.zeros((2, 2))))
    with pytest.raises(ValueError, match="one shape"):
        rank_correlation(a, a[:1])


def test_shuffling_keeps_values_and_loses_their_order():
    layer = nn.Conv2d(3, 5, 3)
    before = layer.weight.detach().clone()
    shuffle_weights(layer, torch.Generator().manual_seed(0))
    assert not torch.equal(layer.weight, before)
    assert torch.equal(layer.weight.flatten().sort()[0], before.flatten().sort()[0])


def test_layers_are_randomised_one_after_another_in_a_copy(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    changed = [
        {
            name
            for name, value in network.state_dict().items()
            if not torch.equal(value, before[name])
        }
        for _, network in randomised(model, ["head.out", "stem"])
    ]
    assert {name.split(".")[0] for name in changed[0]} == {"head"}
    assert {name.split(".")[0] for name in changed[1]} == {"head", "stem"}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_maps_notice_lost_weights(model, inputs):
    parts = ["head.concat", "stage3.fusion.fused.0"]
    alike = cascade(model, ["head.out", "stem"], parts, inputs, seeds=[0])
    assert {name: values.shape for name, values in alike.items()} == dict.fromkeys(
        parts, (1, 2, 2, 4)
    )
    for values in alike.values():  # would be 1 for maps that ignore the weights
        assert np.nanmean(values) < 0.9
    same = cascade(model, [], parts, inputs, seeds=[0])
    assert same["head.concat"].shape == (1, 0)


def test_derivatives_of_a_linear_head_are_the_same_everywhere(model, inputs):
    found = evenness(model, ["head.mix", "stage2.branches.0"], inputs, 1)
    assert found["head.mix"] == pytest.approx(1, abs=1e-6)
    assert 0 <= found["stage2.branches.0"] < 1


def test_deletion_takes_the_highest_first_and_ends_at_the_mean():
    activations = torch.tensor([[[[0.0, 1.0], [2.0, 5.0]]]])
    shares, images = deletion(lambda x: 2 * x, activations, np.array([[0, 1], [2, 3]]), steps=4)
    assert shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert images[0, 0].tolist() == [[0, 2], [4, 10]]
    assert images[1, 0].tolist() == [[0, 2], [4, 4]]
    assert images[2, 0].tolist() == [[0, 2], [4, 4]]
    assert images[4, 0].tolist() == [[4, 4], [4, 4]]
    with pytest.raises(ValueError, match="order must be"):
        deletion(lambda x: x, activations, np.zeros((3, 3)))
