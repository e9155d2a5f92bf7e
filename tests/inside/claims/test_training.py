from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from dcfnet.inside.claims.training import better_results, lower_loss, optimal_epoch
from dcfnet.training.history import COLUMNS, History


def run(losses, valid=None, steps=11, operations=1.0):
    valid = losses if valid is None else valid
    rows = [
        {**dict.fromkeys(COLUMNS, 0.0), "epoch": i + 1, "train_loss": a, "valid_loss": b}
        for i, (a, b) in enumerate(zip(losses, valid, strict=True))
    ]
    return SimpleNamespace(
        history=History(rows), steps_per_epoch=steps, operations_per_epoch=operations
    )


def test_lower_loss_counts_epochs():
    ours = run([1.0] * 5 + [0.1] * 10, operations=3.0)
    theirs = run(np.linspace(2, 0.5, 30))
    folds = range(3)
    found = lower_loss(dict.fromkeys(folds, ours), {"PNN": dict.fromkeys(folds, theirs)})
    assert found.verdict == "supported"
    # Theirs is lowest with its last window, 25; ours is below 0.55 with window 3: 2/5 + 3 x 0.1/5.
    assert found.checks[0].of_trainings.tolist() == [25 - 3] * 3
    assert f"PNN {3 * 8 / 30:.1f}" in found.notes[0]
    never = lower_loss(dict.fromkeys(folds, theirs), {"PNN": dict.fromkeys(folds, ours)})
    assert never.verdict == "not supported"
    assert never.checks[0].of_trainings.tolist() == [-np.inf] * 3
    assert never.notes == ()
    assert "-inf" in never.table()["effect"].iloc[0]


def test_lower_loss_names_what_a_longer_training_of_another_leaves_of_it():
    ours = dict.fromkeys(range(3), run(np.linspace(2, 0.5, 30)))
    longer = {"PNN of 90": run([0.8] * 90), "PNN of 99": run([0.1] * 99)}
    found = lower_loss(ours, {"PNN": dict.fromkeys(range(3), run(np.linspace(3, 1, 30)))}, longer)
    losses = np.linspace(2, 0.5, 30)
    first = next(k for k in range(5, 31) if losses[k - 5 : k].mean() < 0.8)
    assert found.notes[1:] == (
        f"Of 30 epochs on fold 0, below PNN of 90: in epoch {first}.",
        "Of 30 epochs on fold 0, below PNN of 99: in none.",
    )
    assert found.verdict == "supported"


def test_lower_loss_compares_on_one_fold():
    ours = {0: run([1.0] * 9), 1: run([0.1] * 9)}
    theirs = {1: run([0.5] * 9), 2: run([0.01] * 9)}
    (check,) = lower_loss(ours, {"PNN": theirs}).checks
    assert list(check.effects) == ["fold 1"]
    assert lower_loss(ours, {"PNN": {}}).verdict == "cannot be tested here"


def results(**by_network):
    rows = {
        (name, "here", fold): dict(zip(("sam", "ergas", "q2n"), values, strict=True))
        for name, values in by_network.items()
        for fold in range(3)
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(rows, names=["network", "test set", "fold"])
    return table


@pytest.mark.parametrize(
    ("theirs", "effect"),
    [
        ((2.5, 2.5, 0.8), 2 / 2.5 - 1),  # the smallest gain: SAM and ERGAS fall by a fifth
        ((2.5, 1.0, 0.8), 1 - 2 / 1.0),
        ((2.5, 2.5, 0.95), 0.9 / 0.95 - 1),
    ],
)
def test_better_means_better_in_all_three_metrics(theirs, effect):
    runs = dict.fromkeys(range(3), run([1.0] * 5)), dict.fromkeys(range(3), run([2.0] * 5))
    table = results(DCFNet=(2.0, 2.0, 0.9), PNN=theirs)
    found = better_results(runs[0], {"PNN": runs[1]}, table)
    expected = min(1 - 2 / 2.5, 0.9 / 0.8 - 1) if theirs == (2.5, 2.5, 0.8) else effect
    assert found.checks[0].of_trainings == pytest.approx(expected)
    assert found.verdict == ("supported" if expected > 0 else "not supported")


def test_better_results_asks_only_where_the_loss_is_lower():
    low, high = run([1.0] * 5), run([2.0] * 5)
    table = results(DCFNet=(2.0, 2.0, 0.9), PNN=(1.0, 1.0, 1.0))
    ours = dict.fromkeys(range(3), low)
    sometimes = better_results(ours, {"PNN": {0: high, 1: high, 2: run([0.5] * 5)}}, table)
    assert sometimes.verdict == "cannot be tested here"
    assert list(sometimes.checks[0].effects) == ["fold 0", "fold 1"]
    never = better_results(ours, {"PNN": dict.fromkeys(range(3), run([0.5] * 5))}, table)
    assert never.verdict == "cannot be tested here"
    assert not never.counted
    unmeasured = better_results(ours, {"DiCNN": dict.fromkeys(range(3), high)}, table)
    assert unmeasured.verdict == "cannot be tested here"


@pytest.mark.parametrize(
    ("epoch", "word"),
    [
        (226, "supported"),
        (374, "supported"),
        (225, "not supported"),
        (375, "not supported"),
    ],
)
def test_optimal_epoch_at_its_borders(epoch, word):
    loss = np.concatenate([np.linspace(2, 1, epoch), np.full(100, 1.5)])
    runs = {"361 patches": {str(i): run(loss) for i in range(3)}}
    found = optimal_epoch(runs)
    assert found.verdict == word
    assert f"optimal epoch {epoch}" in found.notes[0]
    short = {"361 patches": {str(i): run(loss[:-1]) for i in range(3)}}
    assert optimal_epoch(short).verdict == "cannot be tested here"
    assert f"optimal epoch not before {epoch}" in optimal_epoch(short).notes[0]
    more = optimal_epoch({**runs, "90 patches": {"0": run(loss)}})
    assert more.verdict == word
    others = [name for name in more.readings().index if "lower" not in name]
    assert others == ["90 patches"]


def test_a_training_that_still_learns_beyond_the_border_speaks_against_the_claim():
    falling = {str(i): run(np.linspace(2, 1, 400)) for i in range(3)}
    found = optimal_epoch({"361 patches": falling})
    assert found.verdict == "not supported"
    assert found.checks[0].of_trainings.tolist() == [75 - 100] * 3
    # A loss that must be lower by two per cent: the curve falls by a quarter of one in an epoch.
    assert found.readings().loc["361 patches, lower by 2%", "verdict"] == "not supported"
    flat = np.concatenate([np.linspace(2, 1, 300), np.linspace(1, 0.995, 150)])
    slow = optimal_epoch({"361 patches": {str(i): run(flat) for i in range(3)}})
    assert slow.verdict == "not supported"  # it still falls beyond 375
    assert slow.readings().loc["361 patches, lower by 1%", "verdict"] == "supported"
    # However it goes on, it comes no nearer.
    on = run(np.concatenate([np.linspace(2, 1, 400), np.full(100, 1.5)]))
    assert on.history.optimal_epoch() == 400
