from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from dcfnet.imagery.sensors import WV3
from dcfnet.inside import claims
from dcfnet.inside.claims import Check, Finding, FindingTable, Patches, verdict
from dcfnet.networks import build_network
from dcfnet.networks.dcfnet import REMOVABLE
from dcfnet.training.history import COLUMNS, History

CROSSING = [name for name in REMOVABLE if ".transfers." in name]


@pytest.fixture(scope="module")
def model():
    """A tiny network that has not been trained, whose output depends on all of its parts."""
    torch.manual_seed(0)
    return build_network("dcfnet", width=0.1, inject_details=False).eval()


def patches(count=4, size=32):
    generator = torch.Generator().manual_seed(0)
    shapes = (1, size), (8, size // 4), (8, size), (8, size)
    return Patches(*(torch.rand(count, c, n, n, generator=generator) for c, n in shapes), WV3)


def run(losses, valid=None, steps=11):
    valid = losses if valid is None else valid
    rows = [
        {**dict.fromkeys(COLUMNS, 0.0), "epoch": i + 1, "train_loss": a, "valid_loss": b}
        for i, (a, b) in enumerate(zip(losses, valid, strict=True))
    ]
    return SimpleNamespace(history=History(rows), steps_per_epoch=steps)


# --- The rule -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("yes", "holds"), [(4, True), (3, True), (2, None), (1, False), (0, False)]
)
def test_check_at_its_borders(yes, holds):
    assert Check("", np.where(np.arange(4) < yes, 1.0, -1.0)).holds is holds


def test_check_without_an_effect_does_not_hold_and_few_units_leave_it_open():
    assert Check("", np.zeros(4)).holds is False
    assert Check("", np.ones(1), least=2).holds is None
    assert Check("", np.ones(2), least=2).holds is True
    assert Check("", np.zeros(0)).holds is None
    assert "no seeds yet" in str(Check("", np.zeros(0), "seeds"))


@pytest.mark.parametrize(
    ("signs", "word"),
    [
        ([1, 1], "supported"),
        ([-1, -1], "not supported"),
        ([1, -1], "mixed"),
        ([1, 0], "mixed"),
        ([-1, 0], "mixed"),
        ([], "cannot be tested here"),
    ],
)
def test_verdict(signs, word):
    of = {1: np.ones(4), -1: -np.ones(4), 0: np.array([1.0, -1.0])}
    assert verdict([Check("", of[sign]) for sign in signs]) == word


def test_table_has_a_row_per_claim_and_escapes_text():
    found = [Finding(i, f"a < {i}", "m", "1 ± 2", "mixed") for i in (1, 2)]
    text = FindingTable(found)._repr_html_()
    assert text.count("<tr>") == 3
    assert "a &lt; 2" in text
    assert "mixed" in repr(FindingTable(found))


# --- Training -----------------------------------------------------------------------------------


def test_lower_loss_counts_epochs():
    ours, theirs = run([1.0] * 5 + [0.1] * 10), run(np.linspace(2, 0.5, 30))
    found = claims.lower_loss({"dcfnet": ours, "pnn": theirs})
    assert found.verdict == "supported"
    # Theirs is lowest with its last window, 25; ours is below 0.55 with window 3: 2/5 + 3 x 0.1/5.
    assert found.checks[0].effects == [25 - 3]
    never = claims.lower_loss({"dcfnet": theirs, "pnn": ours})
    assert never.verdict == "not supported"
    assert never.checks[0].effects == [-np.inf]
    assert claims.lower_loss({"dcfnet": ours}).verdict == "cannot be tested here"


def test_better_results_asks_only_where_the_loss_is_lower():
    runs = {"dcfnet": run([1.0] * 5), "pnn": run([2.0] * 5), "pannet": run([0.5] * 5)}
    rows = {
        "dcfnet": {"sam": 2.0, "ergas": 2.0, "q2n": 0.9},
        "pnn": {"sam": 3.0, "ergas": 1.0, "q2n": 0.8},
        "pannet": {"sam": 1.0, "ergas": 1.0, "q2n": 1.0},
    }
    blocks = pd.DataFrame({("sam", "dcfnet"): [1.0, 3.0], ("sam", "pnn"): [2.0, 2.0]})
    found = claims.better_results(runs, pd.DataFrame.from_dict(rows, orient="index"), blocks)
    assert [check.holds for check in found.checks] == [True, False, True]
    assert found.verdict == "mixed"
    assert found.notes == ("SAM against PNN: better in 50% of the blocks",)


@pytest.mark.parametrize(
    ("epoch", "steps", "word"),
    [
        (225, 303, "supported"),
        (375, 152, "supported"),
        (224, 303, "not supported"),
        (376, 303, "not supported"),
        (300, 11, "cannot be tested here"),
    ],
)
def test_optimal_epoch_at_its_borders(epoch, steps, word):
    loss = np.concatenate([np.linspace(2, 1, epoch), np.full(100, 1.5)])
    assert claims.optimal_epoch(run(loss, steps=steps)).verdict == word
    short = run(loss[:-1], steps=steps)
    assert claims.optimal_epoch(short).verdict == "cannot be tested here"


# --- What the parts hold ------------------------------------------------------------------------


def test_high_share_tells_fine_from_coarse():
    x = torch.arange(32.0)
    coarse, fine = (torch.cos(2 * torch.pi * f * x).expand(1, 1, 32, 32) for f in (0.0625, 0.4))
    assert claims.high_share(coarse, 0.25)[0] < 0.01
    assert claims.high_share(fine, 0.25)[0] > 0.99
    assert claims.high_share(torch.ones(2, 3, 8, 8), 0.25).tolist() == [0, 0]


def test_explained_is_1_for_the_target_itself_and_not_above_0_for_noise():
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(4, 2, 16, 16, generator=generator)
    target = (2 * x[:, 0] - x[:, 1] + 3).numpy()
    assert claims.explained(x, target) == pytest.approx(1, abs=1e-3)
    noise = torch.rand(4, 2, 16, 16, generator=generator)
    assert (claims.explained(noise, target) < 0.05).all()
    target[:, :2] = 1e6  # a border that does not take part
    assert claims.explained(x, target, margin=2) == pytest.approx(1, abs=1e-3)


def test_measures_of_parts_have_an_effect_per_patch(model):
    batch = patches()
    for measure, count in ((claims.detail, 4), (claims.feature_means, 5), (claims.high_level, 6)):
        found = measure(model, batch)
        assert len(found.checks) == count
        assert all(check.effects.shape == (4,) for check in found.checks)
        assert all(np.isfinite(check.effects).all() for check in found.checks)


def test_feature_means_order():
    """With only the identity left of branch 1, whose features are larger, branch 0 is below."""
    torch.manual_seed(0)
    model = build_network("dcfnet", width=0.1).eval()
    with torch.no_grad():
        model.stage3.fusion.weight[1] *= 1000
    found = claims.feature_means(model, patches())
    assert found.checks[0].holds is False
    with torch.no_grad():
        model.stage3.fusion.weight[0] *= 1e6
    found = claims.feature_means(model, patches())
    assert found.checks[0].holds is True
    assert found.checks[1].holds is True


def test_receptive_fields(model):
    found = claims.radii(model, patches(2))
    assert all(radius.shape == (2,) and (radius > 0).all() for radius in found.values())
    of = dict(zip(claims.BRANCHES, (np.full(4, r) for r in (1.0, 2.0, 3.0)), strict=True))
    assert claims.receptive_fields(of).verdict == "supported"
    of[claims.BRANCHES[2]] = np.full(4, 2.0)
    assert claims.receptive_fields(of).verdict == "mixed"


def test_similar_maps(model):
    found, signed = claims.activation_maps(model, patches())
    assert {m.shape for m in (*found.values(), *signed.values())} == {(8, 4, 8, 8)}
    assert all((found[name] >= signed[name]).all() for name in claims.FUSED)
    assert len(claims.similar_maps(found, signed).notes) == 6
    one = np.random.default_rng(0).random((8, 4, 8, 8))
    same = claims.similar_maps(dict.fromkeys(claims.FUSED, one))
    assert same.verdict == "supported"
    other = [np.random.default_rng(i).random((8, 4, 8, 8)) for i in range(3)]
    assert claims.similar_maps(dict(zip(claims.FUSED, other, strict=True))).verdict == (
        "not supported"
    )
    # Alike, but no more than any two patches are.
    still = np.broadcast_to(one[:, :1], one.shape)
    assert claims.similar_maps(dict.fromkeys(claims.FUSED, still)).verdict == "not supported"


# --- Without a part -----------------------------------------------------------------------------


def test_a_part_that_does_nothing_makes_no_difference():
    torch.manual_seed(0)
    model = build_network("dcfnet", width=0.1, inject_details=False).eval()
    idle = "stage3.fusion.transfers.1_to_0"
    with torch.no_grad():
        model.stage3.fusion.weight[0, 1] = 0
    found = claims.cooperation(model, patches(), {}, names=[idle])
    assert found.checks[0].effects == pytest.approx(0, abs=1e-9)
    assert found.checks[1].holds is None  # no seeds


def test_context_and_cooperation_take_seeds(model):
    torch.manual_seed(1)
    other = build_network("dcfnet", width=0.1, without=("pcft1", "pcft2")).eval()
    pairs = {0: (model, other), 1: (model, other)}
    batch = patches(2)
    found = claims.context(model, batch, pairs)
    assert [len(check.effects) for check in found.checks] == [2, 2, 2, 2]
    found = claims.cooperation(model, batch, {0: (model, model)}, names=CROSSING[:1])
    assert found.checks[-1].effects == [0]
    assert found.checks[-1].holds is None


def test_errors_are_those_of_the_network(model):
    batch = patches(2)
    with torch.no_grad():
        fused = model(*batch.inputs)
    own = Patches(batch.pan, batch.ms, batch.lms, fused, WV3)
    assert claims.errors(model, own) == pytest.approx(0, abs=1e-3)
    assert (claims.errors(model, batch) > 1).all()


def test_runs_that_are_not_there_are_left_out(tmp_path):
    assert claims.pairs_of_runs("without-pcft", directory=tmp_path) == {}
