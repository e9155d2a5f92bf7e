import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.testing import assert_close

from dcfnet.inside.cams import transfer_part
from dcfnet.inside.claims.features import (
    detail,
    explained,
    feature_means,
    shifted,
    surroundings,
)
from dcfnet.inside.claims.trained import BRANCHES, FUSED, Trained
from tests.inside.claims.conftest import network, patches


def seen_as(each, **activations):
    """The same training, some of whose parts hold something else."""
    copy = Trained(each.name, each.model, each.patches)
    copy.__dict__["activations"] = each.activations | activations
    return copy


def looked_at_again(each):
    """The same training, of which nothing has been looked at yet."""
    return Trained(each.name, each.model, each.patches)


def effect(found, what, reading=""):
    """The median over patches, as a verdict takes it."""
    return np.median(found[what, reading])


def counted(found):
    return [np.median(values) for (_, reading), values in found.items() if not reading]


def test_explained_is_1_for_the_target_itself_and_not_above_0_for_noise():
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(4, 2, 16, 16, generator=generator)
    target = (2 * x[:, 0] - x[:, 1] + 3).numpy()
    assert explained(x, target) == pytest.approx(1, abs=1e-3)
    noise = torch.rand(4, 2, 16, 16, generator=generator)
    assert (explained(noise, target) < 0.05).all()
    target[:, :2] = 1e6  # a border that does not take part
    assert explained(x, target, margin=2) == pytest.approx(1, abs=1e-3)


# --- Claim 4 ------------------------------------------------------------------------------------


def test_detail_is_where_pan_is(trained):
    """PAN's detail in the main branch, what is left of it at lower resolution in the others."""
    pan = trained.patches.pan
    fine = pan - torch.from_numpy(gaussian_filter(pan.numpy(), (0, 0, 2, 2)))
    half, quarter = (torch.nn.functional.avg_pool2d(fine, n) for n in (2, 4))
    each = seen_as(trained, **dict(zip(FUSED, (fine, half, quarter), strict=True)))
    found = detail(each)
    assert effect(found, "tells at least half of PAN's detail") == pytest.approx(0.5, abs=0.01)
    assert all(median > 0 for median in counted(found))
    noise = torch.rand(pan.shape, generator=torch.Generator().manual_seed(3))
    poor = seen_as(trained, **dict(zip(FUSED, (noise, half, quarter), strict=True)))
    assert all(median < 0 for median in counted(detail(poor)))


# --- Claim 5 ------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_mean_moves_and_the_output_does_not(trained):
    before = feature_means(trained)
    model = shifted(trained.model, 1, 0, by=3.0)
    inputs = trained.patches.inputs
    assert_close(model(*inputs), trained.model(*inputs), rtol=1e-4, atol=1e-4)
    after = feature_means(Trained("shifted", model, trained.patches))
    what = "T10 above T01"
    arrives = "means of transfers as they arrive"
    change = effect(after, what, arrives) - effect(before, what, arrives)
    assert change == pytest.approx(-3, abs=1e-3)
    # What the output sees stays.
    assert counted(after) == pytest.approx(counted(before), abs=1e-3)
    same = "means of transfers at their last convolution"
    assert effect(after, what, same) == pytest.approx(effect(before, what, same), abs=1e-5)


@torch.no_grad()
def test_what_the_head_sees_of_a_branch_is_that_times_its_weights(fresh):
    before = effect(feature_means(fresh), "branch 0 above branch 1")
    start = fresh.model.channels[0]
    fresh.model.head.mix.conv.weight[:, start : start + fresh.model.channels[1]] *= 10
    after = effect(feature_means(looked_at_again(fresh)), "branch 0 above branch 1")
    assert after - before == pytest.approx(-np.log(10), abs=1e-4)


@torch.no_grad()
def test_the_share_of_a_transfer_grows_with_what_it_brings(fresh):
    what = "T10 above T01"
    before = effect(feature_means(fresh), what)
    fresh.model.get_submodule(transfer_part(1, 0)).last.norm.weight *= 1000
    assert effect(feature_means(looked_at_again(fresh)), what) < before - 0.5
    fresh.model.get_submodule(transfer_part(0, 1)).last.norm.weight *= 1e6
    # Both bring nearly all that their targets get.
    assert effect(feature_means(looked_at_again(fresh)), what) == pytest.approx(0, abs=0.05)


# --- Claim 6 ------------------------------------------------------------------------------------


def test_surroundings_are_told_by_who_knows_them(trained):
    gt = trained.patches.gt
    around = torch.nn.functional.avg_pool2d(gt, 17, 1, 8, count_include_pad=False)
    noise = torch.rand(gt.shape, generator=torch.Generator().manual_seed(2))
    knows = seen_as(trained, **{FUSED[0]: around, BRANCHES[0]: noise})
    forgets = seen_as(trained, **{FUSED[0]: noise, BRANCHES[0]: around})
    what = "NDVI: tells more than before the fusion"
    assert effect(surroundings(knows), what) > 0.3
    assert effect(surroundings(forgets), what) < -0.3
    assert len(counted(surroundings(knows))) == 4


def test_every_patch_has_an_effect():
    each = Trained("a", network(), patches(3))
    for measure in (detail, feature_means, surroundings):
        for values in measure(each).values():
            assert values.shape == (3,)
            assert np.isfinite(values).all()
