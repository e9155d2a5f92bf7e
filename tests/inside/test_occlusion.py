import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, LayerFeatureAblation
from torch.testing import assert_close

from dcfnet import WV3, build_network
from dcfnet.imagery.filters import mtf_filter
from dcfnet.inside.attribution import Images, band_mean, flat
from dcfnet.inside.occlusion import HOW, keyhole, occlusion, without
from tests.inside.test_attribution import TwoWays, build, images
from tests.support.patches import noise


@pytest.fixture
def sample():
    return noise(48, 32)


# --- An input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", Images._fields)
def test_without_an_input(sample, name):
    image = getattr(sample, name)
    mean, blurred, elsewhere = (without(sample, name, how) for how in HOW)
    for lost in (mean, blurred, elsewhere):
        assert getattr(lost, name).shape == image.shape
        for other in {"gt", "ms", "lms", "pan"} - {name}:
            assert getattr(lost, other) is getattr(sample, other)
    bands = image.reshape(-1, *image.shape[-2:])
    for band, even in zip(bands, getattr(mean, name).reshape(bands.shape), strict=True):
        np.testing.assert_allclose(even, band.mean(), rtol=1e-5)
    found = getattr(blurred, name).reshape(bands.shape)
    np.testing.assert_allclose(
        found, mtf_filter(bands, [np.mean(WV3.mtf_gains)] * len(bands)), rtol=1e-4
    )
    assert found.std() < 0.5 * bands.std()
    found, (height, width) = getattr(elsewhere, name).reshape(bands.shape), bands.shape[1:]
    assert (found[:, height // 2, width // 2] == bands[:, 0, 0]).all()
    np.testing.assert_array_equal(np.sort(found, axis=None), np.sort(bands, axis=None))


def test_without_says_what_there_is(sample):
    with pytest.raises(ValueError, match="unknown input .lsm. .did you mean .lms."):
        without(sample, "lsm", "mean")
    with pytest.raises(ValueError, match="unknown stand-in .means. .did you mean .mean."):
        without(sample, "ms", "means")


# --- A cell -------------------------------------------------------------------------------------


def test_occlusion_by_hand():
    """fused = 5 pan - lms + 5 ms. At 0, a cell of pan = 1 costs 5 of 16 cells' mean."""
    inputs = Images(torch.ones(1, 1, 8, 8), torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 8, 8))
    fall = occlusion(TwoWays(), inputs, band_mean(0), cells=2, fill="zero")
    np.testing.assert_allclose(fall, np.full((1, 2, 2), 5 / 4), rtol=1e-6)
    # The part that sees pan with a weight of 6 in all.
    fall = occlusion(TwoWays(), inputs, band_mean(0), part="first", cells=4, fill="zero")
    np.testing.assert_allclose(fall, np.full((1, 4, 4), 6 / 16), rtol=1e-6)
    # All is as bright as the mean already.
    assert not occlusion(TwoWays(), inputs, band_mean(0), cells=2).any()


def masks(shapes, cells):
    """For each image the number of the cell that a pixel lies in, as captum wants it."""
    found = []
    for height, width in shapes:
        rows, cols = torch.arange(height) * cells // height, torch.arange(width) * cells // width
        found.append((rows[:, None] * cells + cols)[None, None])
    return tuple(found)


@pytest.mark.parametrize("name", ["pannet", "dcfnet"])
def test_equals_captum(name):
    model, inputs = build(name), images()
    target = band_mean(3, slice(8, 20), slice(4, 24))

    def score(*x):
        return target(model(*x))

    theirs = FeatureAblation(score)
    shapes = [tuple(image.shape[-2:]) for image in inputs]
    found = theirs.attribute(
        tuple(inputs),
        tuple(flat(inputs)),
        feature_mask=masks(shapes, 4),
        enable_cross_tensor_attribution=True,
    )
    ours = occlusion(model, inputs, target, cells=4)
    expected = found[0][:, 0, ::8, ::8]
    assert expected.abs().max() > 1e-3
    assert_close(torch.from_numpy(ours), expected, rtol=1e-3, atol=1e-6)


def test_of_a_part_equals_captum():
    model, inputs = build(), images(batch=1)
    target, part = band_mean(3, slice(8, 20), slice(4, 24)), "pcft2"
    layer = LayerFeatureAblation(lambda *x: target(model(*x)), model.get_submodule(part))
    theirs = layer.attribute(tuple(inputs), layer_mask=masks([(8, 8)], 4)[0])
    ours = occlusion(model, inputs, target, part=part, cells=4, fill="zero")
    expected = theirs[:, 0, ::2, ::2]
    assert expected.abs().max() > 1e-4
    assert_close(torch.from_numpy(ours), expected, rtol=1e-3, atol=1e-6)
    assert np.abs(occlusion(model, inputs, target, part=part, cells=4) - ours).max() > 1e-4


def test_occlusion_says_what_is_wrong():
    model, inputs = build(), images(batch=1)
    with pytest.raises(ValueError, match="8 x 8 pixels cannot be divided into 3 x 3"):
        occlusion(model, inputs, band_mean(0), part="pcft2", cells=3)
    with pytest.raises(ValueError, match="unknown fill .black."):
        occlusion(model, inputs, band_mean(0), fill="black")
    with pytest.raises(ValueError, match="unknown layer of DCFNet"):
        occlusion(model, inputs, band_mean(0), part="pcft3")
    assert not any(module._forward_hooks for module in model.modules())


# --- A keyhole ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "radius"), [("dicnn", 3), ("pnn", 8), ("msdcnn", 12)])
def test_a_keyhole_shows_how_far_a_network_sees(name, radius):
    """The halves of the kernels add up to the radius, 3 + 3 + 1 + 3 + 2 in MSDCNN."""
    model, inputs, other = build(name), images(size=64), images(size=64, seed=9)
    window = slice(28, 36), slice(24, 32)
    with torch.no_grad():
        whole = model(*inputs)[..., *window]
    for margin in (0, 4, 8, 12, 16):
        seen = keyhole(model, inputs, other, *window, margin)
        same = torch.allclose(seen, whole, rtol=1e-4, atol=1e-5)
        assert same == (margin >= radius), margin


def test_keyhole_leaves_its_inputs_alone():
    model, inputs, other = build(), images(size=64), images(size=64, seed=9)
    before = [image.clone() for image in (*inputs, *other)]
    keyhole(model, inputs, other, slice(0, 8), slice(56, 64), 12)
    for image, copy in zip((*inputs, *other), before, strict=True):
        assert torch.equal(image, copy)
    whole = keyhole(model, inputs, other, slice(0, 8), slice(56, 64), 64)
    assert_close(whole, model(*inputs)[..., :8, 56:].detach())
    for rows, margin in ((slice(2, 8), 4), (slice(0, 8), 6)):
        with pytest.raises(ValueError, match="multiples of 4"):
            keyhole(model, inputs, other, rows, slice(0, 8), margin)


def test_networks_that_do_not_read_ms_do_not_miss_it(sample):
    for name, reads in {"fusionnet": False, "pannet": True}.items():
        model = build_network(name).eval()
        with torch.no_grad():
            whole, lost = (model(*s.inputs()) for s in (sample, without(sample, "ms", "mean")))
        assert torch.equal(whole, lost) != reads
