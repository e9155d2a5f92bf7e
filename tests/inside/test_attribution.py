from functools import partial

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, LayerConductance, LayerGradientXActivation
from scipy.ndimage import gaussian_filter
from torch import nn
from torch.testing import assert_close

from dcfnet.inside import attribution
from dcfnet.inside.attribution import Images
from dcfnet.inside.gradcam import GradCAM
from dcfnet.networks import NETWORKS
from tests.support import networks
from tests.support.patches import noise

BRANCHES = [f"stage3.branches.{i}" for i in range(3)]


build = partial(networks.build, width=0.1, anew=True)


def images(batch=2, size=32, seed=1):
    return Images(*networks.images(size, batch=batch, seed=seed))


class TwoWays(nn.Module):
    """fused = 3 (2 pan) - (pan + lms) + 5 up(ms), in two parts beside one another and a way past.

    Every derivative is known: by way of ``first`` 6 of pan, by way of ``second`` -1 of pan and of
    lms; ms takes no part.
    """

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Identity(), nn.Identity()

    def forward(self, pan, ms, lms):
        past = 5 * nn.functional.interpolate(ms, scale_factor=4)
        return 3 * self.first(2 * pan) - self.second(pan + lms) + past


def in_window(value):
    """(1, 1, 8, 8) with a value in rows 2 to 3 of columns 4 to 7."""
    out = torch.zeros(1, 1, 8, 8)
    out[..., 2:4, 4:] = value
    return out


# --- Integrated gradients -----------------------------------------------------------------------


def test_by_hand():
    """y is the mean over 8 pixels; from 0 on, each is given its derivative times its value."""
    generator = torch.Generator().manual_seed(0)
    inputs = Images(*(torch.rand(1, 1, n, n, generator=generator) for n in (8, 2, 8)))
    path = attribution.straight([torch.zeros_like(i) for i in inputs], inputs)
    target = attribution.band_mean(0, slice(2, 4), slice(4, None))
    due = attribution.integrated_gradients(TwoWays(), path, target, steps=1)
    assert_close(due.pan, in_window(5 / 8) * inputs.pan)
    assert_close(due.lms, in_window(-1 / 8) * inputs.lms)
    # The window covers 8 of the 16 pixels of one MS pixel.
    assert_close(due.ms, torch.tensor([[[[0, 5.0], [0, 0]]]]) * inputs.ms)

    through = attribution.integrated_through(TwoWays(), ["first", "second"], path, target, steps=3)
    assert list(through) == ["first", "second"]
    assert_close(through["first"].pan, in_window(6 / 8) * inputs.pan)
    assert_close(through["second"].pan, in_window(-1 / 8) * inputs.pan)
    assert_close(through["second"].lms, in_window(-1 / 8) * inputs.lms)
    for rest in (through["first"].lms, through["first"].ms, through["second"].ms):
        assert not rest.any()

    grid = due.on_grid()
    assert grid.shape == (1, 8, 8)
    assert grid[0, 0, 5] == pytest.approx(5 * inputs.ms[0, 0, 0, 1].item() / 16)
    assert grid.sum() == pytest.approx(sum(v.item() for v in due.totals().values()), rel=1e-5)


def test_a_cube_takes_as_many_steps_as_it_takes():
    class Cube(nn.Module):
        def forward(self, pan, ms, lms):
            return pan**3

    start, end = (Images(*(torch.full((1, 1, n, n), v) for n in (4, 1, 4))) for v in (1.0, 3.0))
    path = attribution.straight(start, end)
    found = [
        attribution.integrated_gradients(Cube(), path, attribution.band_mean(0), steps)
        .pan.sum()
        .item()
        for steps in (1, 2, 100)
    ]
    # 27 - 1; with one step 3 (2)^2 2; with two 3 (1.5)^2 + 3 (2.5)^2.
    assert found == pytest.approx([24, 25.5, 26], rel=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_equals_captum(name):
    model, inputs, start = build(name), images(), images(seed=2)
    target = attribution.structure(slice(8, 20), slice(4, 24))

    def score(pan, ms, lms):
        # captum wants every input to be used
        return target(model(pan, ms, lms)) + 0 * ms.sum(dim=(1, 2, 3))

    theirs = IntegratedGradients(score).attribute(
        tuple(inputs), tuple(start), n_steps=4, method="riemann_middle"
    )
    ours = attribution.integrated_gradients(
        model, attribution.straight(start, inputs), target, steps=4
    )
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b.float(), rtol=1e-3, atol=1e-5 * b.abs().max().item() + 1e-12)
    uses_ms = name in ("dcfnet", "pannet")
    assert bool(ours.ms.any()) == uses_ms


@pytest.mark.parametrize("kind", ["straight", "sharpening"])
def test_nothing_is_left_over(kind):
    model, inputs = build(), images(batch=1, size=16)
    path = (
        attribution.straight(attribution.flat(inputs), inputs)
        if kind == "straight"
        else attribution.sharpening(inputs, 2.0)
    )
    target = attribution.structure(slice(None), slice(None))
    with torch.no_grad():
        difference = target(model(*path(1.0))) - target(model(*path(0.0)))
    due = attribution.integrated_gradients(model, path, target, steps=60)
    assert_close(sum(due.totals().values()), difference, rtol=0.02, atol=0)

    # No way misses the branches of stage 3 in a network that adds no lms, and none passes two.
    parts = attribution.integrated_through(model, BRANCHES, path, target, steps=5)
    whole = attribution.integrated_gradients(model, path, target, steps=5)
    for kind_of in Images._fields:
        parted = sum(getattr(part, kind_of) for part in parts.values())
        assert_close(parted, getattr(whole, kind_of), rtol=1e-3, atol=1e-6)
    sizes = [sum(v.abs().sum() for v in part.totals().values()) for part in parts.values()]
    assert min(sizes) > 0


def test_what_comes_through_a_part_equals_captums_conductance():
    """captum takes differences of the part's outputs, not derivatives: equal for many steps."""
    model, inputs = build(), images(batch=1, size=16)
    start = attribution.flat(inputs)
    target = attribution.structure(slice(None), slice(None))
    found = attribution.integrated_through(
        model, BRANCHES, attribution.straight(start, inputs), target, steps=50
    )
    for part, due in found.items():
        layer = LayerConductance(lambda *x: target(model(*x)), model.get_submodule(part))
        theirs = layer.attribute(tuple(inputs), tuple(start), n_steps=150).sum().item()
        assert sum(due.totals().values()).item() == pytest.approx(theirs, rel=0.05)


def test_the_network_is_as_it_was():
    model = build("fusionnet").train()
    next(model.parameters()).requires_grad_(False)
    before = [p.requires_grad for p in model.parameters()]
    inputs = images(batch=1)
    path = attribution.straight(attribution.flat(inputs), inputs)
    with torch.inference_mode():  # also where derivatives are switched off
        due = attribution.integrated_gradients(model, path, attribution.band_mean(0), steps=2)
    assert due.pan.any()
    assert not due.pan.requires_grad
    assert model.training
    assert [p.requires_grad for p in model.parameters()] == before
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(ValueError, match=r"no layer .*'stage3\.branch\.0'|stage3"):
        attribution.integrated_through(build(), ["stage3.branch.0"], path, attribution.band_mean(0))
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        attribution.integrated_gradients(model, path, attribution.band_mean(0), steps=0)


# --- Paths and targets --------------------------------------------------------------------------


def test_paths_end_at_the_inputs():
    inputs = images(batch=1)
    flat = attribution.flat(inputs)
    for image, even in zip(inputs, flat, strict=True):
        assert_close(even.mean(dim=(-2, -1)), image.mean(dim=(-2, -1)))
        assert_close(even.std(dim=(-2, -1)), torch.zeros(image.shape[:2]), atol=1e-6, rtol=0)
    straight = attribution.straight(flat, inputs)
    for a, b in zip(straight(0.25), inputs, strict=True):
        assert_close(a, 0.75 * b.mean(dim=(-2, -1), keepdim=True) + 0.25 * b)
    sharpening = attribution.sharpening(inputs, 4.0)
    for a, b in zip(sharpening(1.0), inputs, strict=True):
        assert torch.equal(a, b)
    pan, ms, lms = sharpening(0.5)
    for ours, image, width in ((pan, inputs.pan, 2), (ms, inputs.ms, 0.5), (lms, inputs.lms, 2)):
        for band, expected in zip(ours[0].numpy(), image[0].numpy(), strict=True):
            expected = gaussian_filter(expected, width, mode="nearest")
            np.testing.assert_allclose(band, expected, rtol=1e-5)


def test_structure_by_hand():
    fused = torch.zeros(2, 1, 4, 4)
    fused[0, 0, 1, 1] = 3.0
    fused[1, 0, :, 2:] = 2.0
    # Above and left of the bright pixel one difference is 3; at the pixel both are.
    whole = attribution.structure(slice(None), slice(None))(fused)
    assert_close(whole, torch.tensor([3 + 3 + 18**0.5, 3 * 2.0]), atol=1e-4, rtol=0)
    window = attribution.structure(slice(0, 1), slice(None))(fused)
    assert_close(window, torch.tensor([3.0, 2.0]), atol=1e-4, rtol=0)
    two_bands = attribution.structure(slice(None), slice(None))(fused.expand(2, 3, 4, 4))
    assert_close(two_bands, 3 * whole)


def test_detail_is_what_lms_cannot_give():
    truth, lms = images(seed=3).lms.double(), images(seed=4).lms.double()
    d = attribution.detail(truth, lms)
    plane = (-2, -1)
    assert_close(d.sum(plane), torch.zeros(2, 8).double())
    assert_close((d * lms).sum(plane), torch.zeros(2, 8).double())
    # Least squares, by numpy, of one band.
    x, y = lms[1, 2].numpy().ravel(), truth[1, 2].numpy().ravel()
    gain, offset = np.polyfit(x, y, 1)
    np.testing.assert_allclose(d[1, 2].numpy().ravel(), y - gain * x - offset, atol=1e-9)
    # A band of lms that is the same everywhere gives nothing but its mean.
    flat = attribution.detail(truth, torch.ones_like(lms))
    assert_close(flat, truth - truth.mean(plane, keepdim=True))

    of_all, of_one = (attribution.recovered(truth, lms, band) for band in (None, 5))
    for y in (of_all, of_one):
        assert_close(y(truth), torch.ones(2).double())
        assert_close(y(3 * lms + 0.2), torch.zeros(2).double())
        assert_close(y(lms + 0.5 * d), torch.full((2,), 0.5).double())
    others = truth.clone()
    others[:, 5] = lms[:, 5]
    assert_close(of_one(others), torch.zeros(2).double())
    assert (of_all(others) > 0.5).all()
    of_each = attribution.recovered(truth, lms, [2, 5])(others)
    assert_close(of_each, torch.tensor([1.0, 0.0]).double())


def test_local_attribution_map_of_a_linear_network():
    """Derivatives are the same all along the path: the map is they times what blurring took."""
    generator = torch.Generator().manual_seed(0)
    inputs = Images(*(torch.rand(1, 1, n, n, generator=generator) for n in (8, 2, 8)))
    path = attribution.sharpening(inputs, 1.5)
    target = attribution.band_mean(0, slice(2, 4), slice(4, None))
    due = attribution.integrated_gradients(TwoWays(), path, target, steps=7)
    pan = inputs.pan[0, 0].numpy()
    lost = torch.from_numpy(pan - gaussian_filter(pan, 1.5, mode="nearest"))
    assert_close(due.pan, in_window(5 / 8) * lost)


# --- Spread -------------------------------------------------------------------------------------


def test_gini_by_hand_and_by_definition():
    assert attribution.gini(np.ones((3, 3))) == pytest.approx(0)
    assert attribution.gini([0, 0, 0, 5]) == pytest.approx(0.75)
    assert attribution.gini([1, 2, 3, 4]) == pytest.approx(0.25)
    values = np.random.default_rng(0).normal(size=(5, 7))
    sizes = np.abs(values).ravel()
    pairs = np.abs(sizes[:, None] - sizes[None, :]).mean()
    assert attribution.gini(values) == pytest.approx(pairs / (2 * sizes.mean()))
    assert attribution.gini(-3 * values) == pytest.approx(attribution.gini(values))
    assert attribution.diffusion_index(values) == pytest.approx(
        100 - 100 * attribution.gini(values)
    )
    with pytest.raises(ValueError, match="0 everywhere"):
        attribution.gini(np.zeros(4))


def test_reach_by_hand():
    values = np.zeros((12, 12))
    window = slice(4, 8), slice(4, 8)
    values[5, 5] = -6
    assert attribution.reach(values, *window) == 0
    values[3, 8] = 2  # one pixel off, across the corner
    values[5, 11] = 2  # four pixels to the right
    held = {0.6: 0, 0.8: 1, 1.0: 4, 0.7: 0.5}
    for share, distance in held.items():
        assert attribution.reach(values, *window, share) == pytest.approx(distance)
    with pytest.raises(ValueError, match="0 everywhere"):
        attribution.reach(np.zeros((4, 4)), *window)


# --- HiResCAM -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_hires_cam_equals_captum(name):
    model, inputs = build(name), images()
    region = np.s_[5:20, 8:30]
    layers = (
        ["stage3.fusion.fused.0", "pcft2", "head.mix"]
        if name == "dcfnet"
        else [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)][1:3]
    )
    target = attribution.band_mean(3, *region)
    with GradCAM(model, layers) as cam:
        cam(*inputs)
        found, averaged = attribution.hires_cam(cam, 3, region), cam.maps(3, region)
    for layer in layers:
        score = LayerGradientXActivation(lambda *x: target(model(*x)), model.get_submodule(layer))
        theirs = score.attribute(tuple(inputs)).sum(1).detach()
        assert_close(found[layer], theirs, rtol=1e-3, atol=1e-5 * theirs.abs().max().item())
        assert not torch.allclose(found[layer], averaged[layer].signed, rtol=0.1)


def test_hires_cam_is_grad_cam_where_derivatives_are_the_same_everywhere():
    model, inputs = build(), images()
    with GradCAM(model, "head.mix") as cam:
        cam(*inputs)
        found, averaged = attribution.hires_cam(cam, 3), cam.maps(3)
    assert_close(found["head.mix"], averaged["head.mix"].signed, rtol=1e-3, atol=1e-6)


def test_images_of_samples():
    parts = [noise(16, 32).crop(slice(0, 16), slice(x, x + 16)) for x in (0, 16)]
    both = Images.of(parts)
    for k, part in enumerate(parts):
        for ours, theirs in zip(both, part.inputs(), strict=True):
            assert torch.equal(ours[k], theirs[0])
