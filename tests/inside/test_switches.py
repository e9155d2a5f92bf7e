import pytest
import torch

from dcfnet.inside.switches import closed, switched_off
from dcfnet.networks import build_network
from dcfnet.networks.dcfnet import REMOVABLE
from tests.support.networks import images


@pytest.fixture(scope="module")
def model():
    """A tiny network that has not been trained, whose output depends on all of its parts."""
    torch.manual_seed(0)
    return build_network("dcfnet", 4, width=0.1, inject_details=False).eval()


@pytest.fixture(scope="module")
def inputs():
    return images(bands=4, batch=2)


@pytest.mark.parametrize("name", REMOVABLE)
def test_a_switched_off_part_changes_the_image_and_comes_back(model, inputs, name):
    with torch.no_grad():
        before = model(*inputs)
        with switched_off(model, name):
            without = model(*inputs)
        assert not torch.equal(before, without)
        with pytest.raises(KeyError), switched_off(model, [name]):
            raise KeyError
        assert torch.equal(before, model(*inputs))


def test_without_a_pcft_a_network_is_one_built_so(model, inputs):
    names = ["pcft1.crossing", "pcft2"]
    built = build_network("dcfnet", 4, width=0.1, inject_details=False, without=tuple(names)).eval()
    state = model.state_dict()
    built.load_state_dict({key: state[key] for key in built.state_dict()})
    with torch.no_grad(), switched_off(model, names):
        torch.testing.assert_close(model(*inputs), built(*inputs))


def test_unknown_part(model):
    with pytest.raises(ValueError, match="unknown removable part"), switched_off(model, "stem"):
        pass


def test_a_closed_part_hands_on_its_means(model, inputs):
    with torch.no_grad():
        before = model(*inputs)
        with closed(model, None):
            assert torch.equal(model(*inputs), before)
        with closed(model, "head.out"):
            means = model(*inputs)
        torch.testing.assert_close(means, before.mean((-2, -1), keepdim=True).expand_as(means))
        assert torch.equal(model(*inputs), before)


@pytest.mark.parametrize("part", ["pcft2.down0", "stage2.branches.0.0.add", "stage1.0.expand"])
def test_a_part_is_closed_in_a_network_made_for_inference_as_in_any(model, inputs, part):
    fast = model.fused_for_inference()
    with torch.no_grad(), closed(model, part), closed(fast, part):
        expected, found = model(*inputs), fast(*inputs)
    assert (found - expected).abs().max() < 4e-6 * expected.abs().max()
