from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from dcfnet.inside.claims.maps import agreement, influence, likeness, similar_maps, without_first
from dcfnet.inside.claims.trained import FUSED, LAST_PCFT, Trained
from tests.inside.claims.conftest import network, patches

# --- Claim 8 ------------------------------------------------------------------------------------


def test_likeness_is_spearmans_of_the_same_patch_and_of_all_others():
    first, second = np.random.default_rng(0).integers(0, 5, (2, 2, 3, 4, 4)).astype(float)
    same, other = likeness(first, second)
    of = np.array(
        [
            [[spearmanr(a.ravel(), b.ravel()).statistic for b in second[c]] for a in first[c]]
            for c in range(2)
        ]
    ).mean(axis=0)
    assert same == pytest.approx(np.diag(of))
    assert other == pytest.approx((of.sum(axis=1) - np.diag(of)) / 2)


def test_a_map_of_one_value_is_like_no_other():
    maps = np.random.default_rng(0).random((1, 2, 4, 4))
    flat = np.zeros_like(maps)
    for pair in ((maps, flat), (flat, maps), (flat, flat)):
        same, other = likeness(*pair)
        assert same.tolist() == other.tolist() == [0, 0]


def showing(each, *maps):
    """A training whose branches at the last PCFT have these maps (B, h, w)."""
    seen = {
        part: replace(
            each.maps[part], activations=shown[:, None], alpha=torch.ones(3, len(shown), 1)
        )
        for part, shown in zip(LAST_PCFT, maps, strict=True)
    }
    one = Trained("shown", each.model, each.patches)
    one.__dict__["maps"] = each.maps | seen
    return one


def test_similar_means_alike_and_more_so_than_other_patches(trained):
    one, two, three = torch.rand(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    still = one[:1].expand(4, 8, 8)
    for maps, as_claimed in (
        ((one, one, one), [True, True, True]),
        ((one, one**3, 2 * one), [True, True, True]),  # only the order of pixels counts
        ((one, two, three), [False, False, False]),
        ((one, one, two), [True, False, False]),
        ((still, still, still), [False, False, False]),  # alike, as any two patches are
    ):
        found = similar_maps(showing(trained, *maps))
        counted = [np.median(v) > 1e-9 for (_, reading), v in found.items() if not reading]
        assert counted == as_claimed


def test_readings_of_claim_8_do_not_count(trained):
    found = similar_maps(trained)
    assert [reading for _, reading in found].count("") == 3
    assert len({reading for _, reading in found}) == 6
    assert all(values.shape == (4,) for values in found.values())


def test_a_training_agrees_with_itself_and_hardly_with_another(trained):
    other = Trained("other", network(seed=5), trained.patches)
    table = agreement([trained, trained, other]).groupby(["one", "two"])
    assert table.size().to_dict() == {("tiny", "tiny"): 6, ("tiny", "other"): 12}
    same, elsewhere = table["same"].mean(), table["other"].mean()
    assert same["tiny", "tiny"] > max(same["tiny", "other"], elsewhere["tiny", "tiny"]) + 0.1


def test_a_map_that_is_the_same_everywhere_is_flat_and_like_no_other(trained):
    black = network()
    with torch.no_grad():
        black.head.out.weight.zero_()  # nothing raises any band
    table = agreement([trained, Trained("black", black, trained.patches)])
    assert (table["flat"] == 1).all()
    assert (table["same"] == 0).all()
    assert agreement([trained, trained])["flat"].max() < 1


# --- Claim 11 -----------------------------------------------------------------------------------


def test_the_first_pixels_of_an_order_are_taken_and_chance_decides_between_equals():
    features = torch.arange(8.0).reshape(1, 2, 2, 2)
    order = torch.tensor([[[0.0, 3], [0, 1]]])
    chance = torch.tensor([[[0.9, 0.1], [0.2, 0.3]]])
    taken = without_first(features, order, chance, 0.5)
    assert taken[0, 0].tolist() == [[0, 1.5], [2, 1.5]]
    assert taken[0, 1].tolist() == [[4, 5.5], [6, 5.5]]
    most = without_first(features, order, chance, 0.75)
    assert most[0, 0].tolist() == [[0, 1.5], [1.5, 1.5]]  # the one that chance has first


@torch.no_grad()
def test_pixels_go_by_their_influence_where_the_map_is_the_influence():
    """A head that passes channel 0 of branch 0 on: its map is the image itself."""
    each = Trained("a", network(), patches())
    head = each.model.head
    for layer in (head.mix.conv, head.out):
        layer.weight.zero_()
        layer.bias.zero_()
    head.mix.conv.weight[0, 0] = 1
    head.out.weight[:, 0] = 1
    head.mix.norm.running_mean.zero_()
    found = influence(each)
    what = "branch {}: pixels go by the map, more than at random"
    own, *idle = (found[what.format(i), ""] for i in range(3))
    assert (own > 0.1).all()
    assert idle == [pytest.approx(0)] * 2  # nothing depends on them
    # Turned over, the map has the pixels first that matter least.
    upside_down = replace(each.maps[FUSED[0]], alpha=-each.maps[FUSED[0]].alpha)
    each.__dict__["maps"] = each.maps | {FUSED[0]: upside_down}
    turned = influence(each)[what.format(0), ""]
    assert (turned < own).all()


@torch.no_grad()
def test_influence_within_parts_and_between_them(trained):
    found = influence(trained)
    between = found["transfers with larger maps matter more", ""]
    assert between.shape == (4,)
    assert (np.abs(between) <= 1).all()
    assert [reading for _, reading in found].count("") == 7
    assert len({reading for _, reading in found}) == 3
    other = influence(trained, seed=1)
    changed = [key for key in found if not np.array_equal(found[key], other[key])]
    assert ("transfers with larger maps matter more", "") not in changed
    assert ("branch 0: pixels go by the map, more than at random", "") in changed
