import pytest
import torch
from torch import nn
from torch.testing import assert_close

from dcfnet.inside.hooks import activations, kept, replaced, require_parts, resumed
from dcfnet.networks import build_network
from tests.support.networks import images


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_network("dcfnet", width=0.1, inject_details=False).eval()


def hooks(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def test_activations_are_what_the_parts_return_and_hooks_are_gone(model):
    inputs = images()
    seen = activations(model, ["head.concat", "stem"], *inputs)
    assert list(seen) == ["head.concat", "stem"]
    with torch.no_grad():
        expected = model.stem(torch.cat((inputs[0], inputs[2]), dim=1))
    assert_close(seen["stem"], expected)
    with pytest.raises(
        ValueError, match=r"'stage3\.branch\.0' \(did you mean 'stage3\.branches\.0"
    ):
        activations(model, ["stage3.branch.0"], *inputs)
    with pytest.raises(ValueError, match="pan must have"):
        activations(model, ["stem"], inputs[2], *inputs[1:])
    assert hooks(model) == 0


def test_what_is_kept_has_its_graph_and_is_of_the_last_pass(model):
    inputs = images()
    with kept(model, ["stem"]) as seen:
        model(*inputs)
        first = seen["stem"]
        model(2 * inputs[0], *inputs[1:])
    assert seen["stem"].requires_grad
    assert not torch.equal(seen["stem"], first)


def test_replaced_parts_hand_on_something_else_for_the_time_of_the_block():
    model = nn.Sequential(nn.Identity(), nn.ReLU())
    x = torch.tensor([-1.0, 2.0])
    with replaced(model, {"0": lambda output: 3 * output, "1": lambda output: output + 1}):
        assert model(x).tolist() == [1, 7]
    with pytest.raises(KeyError), replaced(model, {"0": torch.zeros_like}):
        assert model(x).tolist() == [0, 0]
        raise KeyError
    assert model(x).tolist() == [0, 2]


@pytest.mark.parametrize("copy", [False, True], ids=["as it is", "for inference"])
@pytest.mark.parametrize("part", ["pcft2", "stage3.fusion.fused.0", "stage1"])
def test_a_pass_that_begins_behind_a_part_returns_the_same(model, part, copy):
    network = model.fused_for_inference() if copy else model
    inputs = images()

    def doubled():
        with torch.no_grad(), replaced(network, {part: lambda output: 2 * output}):
            return network(*inputs)

    expected = doubled()
    with resumed(network, part, *inputs):
        convolution = network.stem[0].conv
        convolution.register_forward_pre_hook(lambda *_: pytest.fail("it is run again"))
        assert_close(doubled(), expected, rtol=0, atol=0)
        assert_close(doubled(), expected, rtol=0, atol=0)
    convolution._forward_pre_hooks.clear()
    assert hooks(network) == 0
    assert_close(doubled(), expected, rtol=0, atol=0)


def test_who_passes_again_behind_a_part_is_run_again():
    layer = nn.ReLU()
    model = nn.Sequential(layer, nn.Identity(), layer)
    x = torch.tensor([-1.0, 2.0])
    with resumed(model, "1", x), replaced(model, {"1": torch.neg}):
        assert model(x).tolist() == [0, 0]


def test_a_second_name_of_a_module_is_known_too():
    layer = nn.ReLU()
    model = nn.Sequential(layer, nn.Sequential(layer))
    assert require_parts(model, ["1.0", "0", "1.0"]) == ("1.0", "0")
    with pytest.raises(ValueError, match="layer of Sequential '2'"):
        require_parts(model, ["2"])
