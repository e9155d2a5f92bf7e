import copy
from collections import Counter
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from torch import nn
from torch.testing import assert_close

from dcfnet import DataError
from dcfnet.imagery import wald
from dcfnet.imagery.simulated import camera as simulation
from dcfnet.inside.gradcam import GradCAM
from dcfnet.inside.sanity import rank_correlation
from dcfnet.networks import NETWORKS, DCFNet, DCFNetConfig
from tests.support.networks import build, images

FUSION = "stage3.fusion."


def inputs(batch=1):
    return images(batch=batch, seed=1)


@pytest.fixture(scope="module")
def dcfnet():
    return build()


@pytest.fixture
def cam(dcfnet):
    """After a forward pass of two images, with three layers of different size."""
    layers = [f"{FUSION}fused.0", f"{FUSION}transfers.0_to_2", f"{FUSION}transfers.2_to_0.last"]
    with GradCAM(dcfnet, layers) as cam:
        cam(*inputs(batch=2))
        yield cam


def called_once(model, *images):
    """The modules that a forward pass calls once and that return one tensor."""
    calls = Counter()
    handles = [
        module.register_forward_hook(
            lambda _, __, output, name=name: calls.update([name] * (2 - torch.is_tensor(output)))
        )
        for name, module in model.named_modules()
        if name
    ]
    model(*images)
    for handle in handles:
        handle.remove()
    return [name for name, count in calls.items() if count == 1]


def close(ours, theirs, tolerance=1e-5):
    """Equal up to a part of the largest value."""
    assert ours.shape == theirs.shape
    assert theirs.abs().max() > 0
    return (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


# --- The equations ----------------------------------------------------------------------------


class TwoLayers(nn.Module):
    """Two 1x1 convolutions: A = (x, 5 - 2x), fused = ReLU(A) times [[1, 2], [-1, 4]]."""

    def __init__(self, inplace=False):
        super().__init__()
        self.first = nn.Conv2d(1, 2, 1)
        self.relu = nn.ReLU(inplace)
        self.second = nn.Conv2d(2, 2, 1, bias=False)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([1.0, -2.0]).reshape(2, 1, 1, 1))
            self.first.bias.copy_(torch.tensor([0.0, 5.0]))
            self.second.weight.copy_(torch.tensor([[1.0, 2], [-1, 4]]).reshape(2, 2, 1, 1))

    def forward(self, x):
        return self.second(self.relu(self.first(x)))


X = torch.tensor([[[[1.0, 2], [3, 4]]]])


@pytest.mark.parametrize("inplace", [False, True])
def test_by_hand(inplace):
    with GradCAM(TwoLayers(inplace), ["first", "relu"]) as cam:
        fused = cam(X)
        first, relu = cam.maps().values()
        at_pixel = cam.maps(1, region=(0, 1))["first"]
        in_row = cam.maps(1, region=np.s_[1:, :])["first"]
        both = cam.maps({0: 2, 1: 0.5})["first"]

    def same(found, expected):
        assert found.tolist() == expected

    same(fused, [[[[7, 4], [3, 4]], [[11, 2], [-3, -4]]]])
    # ReLU passes channel 0 everywhere, channel 1 in the upper row; y is a mean of 4 pixels.
    same(first.activations, [[[[1, 2], [3, 4]], [[3, 1], [-1, -3]]]])
    same(first.alpha, [[[0.25, 0.25]], [[-0.25, 0.5]]])
    same(first.features, [[[2, 1.5], [1, 0.5]]])
    same(first.signed, [[[[1, 0.75], [0.5, 0.25]]], [[[1.25, 0], [-1.25, -2.5]]]])
    same(first.map(), [[[[1, 0.75], [0.5, 0.25]]], [[[1.25, 0], [0, 0]]]])
    same(first.map(relu="before"), [[[[1, 0.75], [0.75, 1]]], [[[1.5, 0.5], [0, 0]]]])
    # After the ReLU all four pixels of channel 1 count.
    same(relu.activations, [[[[1, 2], [3, 4]], [[3, 1], [0, 0]]]])
    same(relu.alpha, [[[0.25, 0.5]], [[-0.25, 1]]])
    same(relu.signed, [[[[1.75, 1], [0.75, 1]]], [[[2.75, 0.5], [-0.75, -1]]]])

    same(at_pixel.alpha, [[-0.25, 1]])
    same(at_pixel.signed, [[[2.75, 0.5], [-1.75, -4]]])
    same(in_row.alpha, [[-0.25, 0]])
    same(both.alpha, [[0.375, 0.75]])


# --- Other implementations --------------------------------------------------------------------


def captum_maps(model, layer, band, images, region):
    def score(*images):
        return model(*images)[:, band][(slice(None), *region)].mean(dim=(-2, -1))

    return LayerGradCam(score, model.get_submodule(layer)).attribute(images)[:, 0].detach()


@pytest.mark.parametrize("name", NETWORKS)
def test_equals_captum_at_every_layer(name):
    model, images = build(name), inputs(batch=2)
    layers = list(model.parts()) if name == "dcfnet" else called_once(model, *images)
    assert len(layers) > 2
    region = np.s_[5:20, 8:30]
    with GradCAM(model, layers) as cam:
        cam(*images)
        maps = cam.maps(3, region=region)
    for layer in layers:
        theirs = captum_maps(model, layer, 3, images, region)
        assert close(maps[layer].signed, theirs), layer


# --- Does it look at the weights? -------------------------------------------------------------


def patches():
    """Patches of a simulated scene, eight to train on and four to look at."""
    sample = wald.reduce_resolution(simulation.simulate_scene(128))
    images = []
    for image, size in ((sample.pan[None], 32), (sample.ms, 8), (sample.lms, 32), (sample.gt, 32)):
        image = torch.from_numpy(image.astype(np.float32) / 2047)
        images.append(
            image.unfold(1, size, size).unfold(2, size, size).flatten(1, 2).transpose(0, 1)
        )
    return [image[:8] for image in images], [image[12:] for image in images]


@pytest.fixture(scope="module")
def trained():
    """A narrow DCFNet that has learned something, and four patches."""
    (*known, truth), (*unknown, _) = patches()
    torch.manual_seed(0)
    model = DCFNet(DCFNetConfig(width=0.1875))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(30):
        loss = nn.functional.mse_loss(model(*known), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the statistics of all that is seen from here on
            module.reset_running_stats()
    with torch.no_grad():
        model(*known)
        model.eval()
        untrained = nn.functional.mse_loss(known[2], truth)
        assert nn.functional.mse_loss(model(*known), truth) < 0.5 * untrained
    return model, unknown


def agreement(some, others):
    """Rank correlation of the pixels of two maps, averaged over maps."""
    pairs = zip(some.flatten(0, -3), others.flatten(0, -3), strict=True)
    return np.mean([rank_correlation(a, b) for a, b in pairs])


LOOKED_AT = [
    "stage3.branches.0",
    *(f"{FUSION}transfers.{j}_to_{i}" for i in range(3) for j in range(3)),
    *(f"{FUSION}fused.{i}" for i in range(3)),
    "head.concat",
]


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("after", [True, False])
def test_maps_depend_on_weights(trained, before, after):
    """Adebayo et al., "Sanity Checks for Saliency Maps", 2018.

    Weights before the layers make the activations, those after them make alpha: a map must
    change with either. The correlation of the unchanged network with itself says what a map
    would score that ignored the weights.
    """
    model, images = trained
    torch.manual_seed(1)
    fresh = DCFNet(model.config)
    nn.init.normal_(fresh.head.out.weight, std=0.1)
    other = copy.deepcopy(model)
    late = ("head.",)
    other.load_state_dict(
        other.state_dict()
        | {
            name: value
            for name, value in fresh.state_dict().items()
            if (after if name.startswith(late) else before)
        }
    )
    maps = []
    for network in (model, other):
        with GradCAM(network, LOOKED_AT) as cam:
            cam(*images)
            maps.append(cam.maps())
    for layer in LOOKED_AT:
        some, others = maps[0][layer], maps[1][layer]
        maps_agree = abs(agreement(some.signed, others.signed))
        features_agree = agreement(some.features[None], others.features[None])
        assert maps_agree < 0.6 if before or after else maps_agree > 0.999, layer
        assert features_agree < 0.6 if before else features_agree > 0.999, layer


# --- Bands and regions ------------------------------------------------------------------------


def test_alpha_is_linear_in_bands(cam):
    each, sum_of = cam.maps(), cam.maps({1: 0.5, 4: -2, 7: 1})
    chosen = cam.maps([7, 1])
    for layer in cam.layers:
        alpha = each[layer].alpha
        assert close(sum_of[layer].alpha, 0.5 * alpha[1] - 2 * alpha[4] + alpha[7])
        assert_close(chosen[layer].alpha, alpha[[7, 1]], rtol=0, atol=0)


def test_a_box_is_the_mean_of_its_pixels(cam):
    box = cam.maps(2, region=np.s_[4:7, 28:30])
    pixels = [cam.maps(2, region=(i, j)) for i in range(4, 7) for j in (28, 29)]
    mask = np.zeros((32, 32), bool)
    mask[4:7, 28:30] = True
    for layer in cam.layers:
        mean = torch.stack([pixel[layer].alpha for pixel in pixels]).mean(dim=0)
        assert close(box[layer].alpha, mean)
        assert not close(box[layer].alpha, pixels[0][layer].alpha)
        for same in (mask, torch.from_numpy(mask)):
            assert_close(cam.maps(2, same)[layer].alpha, box[layer].alpha, rtol=0, atol=0)


@pytest.mark.parametrize("bands", [8, -1, [0, 8], [], {}, {9: 1.0}])
def test_no_such_band(cam, bands):
    with pytest.raises(ValueError, match="0 to 7"):
        cam.maps(bands)


@pytest.mark.parametrize("region", [(40, 3), (3, -33), np.s_[5:5, :], np.s_[40:, :],
                                    np.zeros((32, 32), bool)])  # fmt: skip
def test_no_such_pixels(cam, region):
    with pytest.raises(ValueError, match="32 x 32"):
        cam.maps(0, region)


@pytest.mark.parametrize("region", [3, [3, 4], (1, 2, 3, 4), (0.5, 1), np.ones((32, 32)),
                                    np.ones((8, 8), bool), "all"])  # fmt: skip
def test_no_region_at_all(cam, region):
    with pytest.raises(TypeError, match=r"pixel .* box .* mask"):
        cam.maps(0, region)


def test_no_such_reading_of_the_equation(cam):
    with pytest.raises(ValueError, match=r'"after".*"before".*never'):
        cam.maps(0)[cam.layers[0]].map("never")


# --- One forward pass, and nothing left behind ------------------------------------------------


def test_one_forward_pass_and_one_backward_pass_per_band(dcfnet, monkeypatch):
    calls = Counter()
    grad = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: calls.update("b") or grad(*a, **k))
    handle = dcfnet.stem.register_forward_hook(lambda *_: calls.update("f"))
    with GradCAM(dcfnet, dcfnet.parts()) as cam:
        cam(*inputs())
        cam.maps()
        cam.maps({0: 1, 5: 1})
    handle.remove()
    assert calls == {"f": 1, "b": 9}


def test_returns_what_the_network_returns(dcfnet):
    with torch.no_grad():
        expected = dcfnet(*inputs())
    with GradCAM(dcfnet, dcfnet.parts()) as cam:
        fused = cam(*inputs())
    assert not fused.requires_grad
    assert_close(fused, expected, rtol=0, atol=0)


def state(model):
    """What must be as it was: hooks, modes, parameters and what they collect."""
    return (
        [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks)
         for m in model.modules()],
        [m.training for m in model.modules()],
        [(p.requires_grad, p.grad is None) for p in model.parameters()],
        [value.clone() for value in model.state_dict().values()],
    )  # fmt: skip


class Unrelated(Exception):
    pass


@pytest.mark.parametrize("what", ["all is well", "wrong input", "wrong layer", "error in block"])
def test_the_network_is_as_it_was(what):
    model = build(width=0.125).train()
    model.stage1.eval()
    model.head.out.requires_grad_(False)
    model.stem[0].conv.weight.requires_grad_(False)
    model.head.register_forward_hook(lambda *_: None)
    before = state(model)
    pan, ms, lms = inputs(batch=2)
    error = {"wrong input": DataError, "wrong layer": TypeError, "error in block": Unrelated}
    layers = ["head.concat", "stage3.branches" if what == "wrong layer" else "stem"]
    try:
        with GradCAM(model, layers) as cam:
            cam(pan, ms, lms[:, :7] if what == "wrong input" else lms)
            cam.maps(0)
            assert state(model)[:3] == before[:3]
            if what == "error in block":
                raise Unrelated
    except Exception as caught:
        assert isinstance(caught, error[what])
    else:
        assert what == "all is well"
    after = state(model)
    assert after[:3] == before[:3]
    assert_close(after[3], before[3], rtol=0, atol=0)


@pytest.mark.parametrize("mode", [nullcontext, torch.no_grad, torch.inference_mode])
def test_in_training_mode_and_where_gradients_are_off_it_finds_the_same(dcfnet, cam, mode):
    expected, model = cam.maps(1), copy.deepcopy(dcfnet).train()
    with mode(), GradCAM(model, cam.layers) as quiet:
        quiet(*inputs(batch=2))
        found = quiet.maps(1)
    for layer in cam.layers:
        assert_close(found[layer].signed, expected[layer].signed, rtol=0, atol=0)
        assert not found[layer].signed.requires_grad


def test_the_fused_image_may_be_overwritten():
    with GradCAM(build("msdcnn"), "deep") as cam:  # the last step's derivative needs its output
        fused = cam(*inputs())
        expected = cam.maps(0)["deep"].alpha
        fused.zero_()
        assert_close(cam.maps(0)["deep"].alpha, expected, rtol=0, atol=0)


def test_the_next_pass_takes_the_place_of_the_last(dcfnet):
    pan, ms, lms = inputs()
    with GradCAM(dcfnet, "head.concat") as cam:
        cam(pan, ms, lms)
        first = cam.maps(0)["head.concat"]
        kept = first.signed.clone()
        cam(0.5 * pan, ms, lms)
        second = cam.maps(0)["head.concat"]
    assert_close(first.signed, kept, rtol=0, atol=0)
    assert not close(second.signed, kept)


def test_nested(dcfnet):
    with GradCAM(dcfnet, "head.concat") as outer:
        outer(*inputs())
        expected = outer.maps(0)["head.concat"].alpha
        with GradCAM(dcfnet, ["head.concat", "stem"]) as inner:
            inner(*(image.flip(-1) for image in inputs()))
            assert not close(inner.maps(0)["head.concat"].alpha, expected)
        found = outer.maps(0)["head.concat"].alpha
    assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("entered", [True, False])
def test_maps_need_a_forward_pass(dcfnet, entered):
    cam = GradCAM(dcfnet, "stem")
    if not entered:
        with cam:
            cam(*inputs())
    with pytest.raises(RuntimeError, match="forward pass"):
        cam.maps(0)


# --- Layers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "hint"),
    [
        ("stage3.fusion.fussed.0", "'stage3.fusion.fused.0'"),
        ("fusion.transfers.2_to_0", r"transfers\.2_to_0'"),
        ("zzz", r"layer of DCFNet 'zzz': there are \d+; model\.named_modules"),
        ("", "layer of DCFNet ''"),
    ],
)
def test_wrong_layer_name(dcfnet, layer, hint):
    with pytest.raises(ValueError, match=hint):
        GradCAM(dcfnet, ["stem", layer])


def test_no_layer(dcfnet):
    with pytest.raises(ValueError, match="at least one"):
        GradCAM(dcfnet, [])


def test_copy_for_inference(dcfnet):
    with pytest.raises(ValueError, match="fused_for_inference"):
        GradCAM(dcfnet.fused_for_inference(), "stem")


@pytest.mark.parametrize(
    ("layer", "error", "hint"),
    [
        ("stage3.fusion", TypeError, "returns a list.* for example 'stage3.fusion.transfers'"),
        ("stage3", ValueError, "did not call 'stage3'.*for example 'stage3.branches'"),
    ],
)
def test_not_a_layer_of_one_tensor(dcfnet, layer, error, hint):
    with GradCAM(dcfnet, ["stem", layer]) as cam, pytest.raises(error, match=hint):
        cam(*inputs())


def test_called_twice():
    with GradCAM(build("pnn"), "relu") as cam, pytest.raises(ValueError, match="more than once"):
        cam(*inputs())


class Odd(nn.Module):
    """A layer of each kind that has no maps, and one beside a shortcut."""

    def __init__(self, returns="image"):
        super().__init__()
        self.returns = returns
        self.pool = nn.Flatten()
        self.unused = nn.Conv2d(1, 2, 1)
        self.keep = nn.Identity()

    def forward(self, x):
        self.pool(x)
        self.unused(x)
        kept = self.keep(x)
        if self.returns == "overwritten":
            x.zero_()
        fused = 2 * kept + 3 * x
        others = {"detached": fused.detach(), "numbers": fused.mean((-2, -1))}
        return others.get(self.returns, fused)


def test_only_paths_through_the_layer_count():
    with GradCAM(Odd(), "keep") as cam:
        cam(X)
        assert cam.maps(0)["keep"].alpha.item() == 2 / 4


def test_steps_in_place_change_nothing():
    with GradCAM(Odd("overwritten"), "keep") as cam:
        fused = cam(X)
        found = cam.maps(0)["keep"]
    assert_close(fused, 2 * X)
    assert_close(found.activations, X)
    assert found.alpha.item() == 2 / 4


@pytest.mark.parametrize(
    ("layer", "returns"), [("unused", "image"), ("unused", "detached"), ("keep", "detached")]
)
def test_layer_without_consequence(layer, returns):
    with GradCAM(Odd(returns), layer) as cam:
        cam(X)
        with pytest.raises(ValueError, match=f"does not depend on layer '{layer}'"):
            cam.maps(0)


def test_layer_that_returns_no_image():
    with GradCAM(Odd(), "pool") as cam, pytest.raises(ValueError, match=r"\(1, 4\): expected"):
        cam(X)


def test_network_that_returns_no_image():
    with GradCAM(Odd("numbers"), "keep") as cam, pytest.raises(TypeError, match=r"got \(1, 1\)"):
        cam(X)
