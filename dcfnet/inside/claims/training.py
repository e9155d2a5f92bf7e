"""Claims 1 to 3: how fast DCFNet learns, and whether a lower training loss means better images."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pandas as pd

from dcfnet.inside.claims.rule import Check, Finding, Numbers
from dcfnet.measure.tables import METRICS, OF_THE_CLAIMS
from dcfnet.training.runs import Run

GAINS = (0, 0.01, 0.02)
"""By what share a validation loss must be lower to count, as `History.optimal_epoch` takes it."""

PAPER_STEPS = 9714 // 32
"""Whole batches of 32 in an epoch of the paper, which has 9,714 training patches."""

Runs = Mapping[str, Mapping[int, Run]]
"""By a network's title and by fold."""


def lower_loss(
    ours: Mapping[int, Run], others: Runs, longer: Mapping[str, Run] | None = None
) -> Finding:
    """Claim 1: lower training loss in fewer epochs, a check for each other network.

    Losses are means over five epochs. The effect is the number of epochs that the other takes to
    its lowest training loss, minus those that DCFNet needs on the same fold to go below it; minus
    infinity if it never does.

    Args:
        ours: DCFNet's runs by fold.
        others: Those of the networks that it is compared with.
        longer: By title, trainings of others on fold 0 for more epochs; what becomes of the claim
            with them is noted.
    """
    checks: list[Check] = []
    costs = []
    for name, runs in others.items():
        effects, cost = {}, []
        for fold in sorted(ours.keys() & runs.keys()):
            run, other = ours[fold], runs[fold]
            losses, theirs = (_smooth(each.history["train_loss"]) for each in (run, other))
            takes, below = int(theirs.argmin()), np.flatnonzero(losses < theirs.min())
            needs = float(below[0]) if len(below) else np.inf
            effects[f"fold {fold}"] = np.array([takes - needs])
            if len(below):
                operations = (needs + 5) * run.operations_per_epoch
                cost.append(operations / ((takes + 5) * other.operations_per_epoch))
        checks.append(Check(f"below the lowest loss of {name} in fewer epochs", effects))
        if cost:
            low, middle, high = np.quantile(cost, (0, 0.5, 1))
            costs.append(f"{name} {middle:.2g} ({low:.2g} to {high:.2g})")
    notes = []
    if costs:
        notes.append(
            "Operations to get there, in those of the other network, median and range over folds: "
            f"{', '.join(costs)}."
        )
    for name, other in (longer or {}).items() if 0 in ours else ():
        lowest = _smooth(other.history["train_loss"]).min()
        below = np.flatnonzero(_smooth(ours[0].history["train_loss"]) < lowest)
        when = f"in epoch {below[0] + 5}" if len(below) else "in none"
        notes.append(f"Of {len(ours[0].history)} epochs on fold 0, below {name}: {when}.")
    return Finding(
        "1",
        "Lower training loss in fewer epochs",
        "Epochs saved: those that the other takes to its lowest loss, minus those to go below it",
        tuple(checks),
        tuple(notes),
    )


def _smooth(losses: Numbers, epochs: int = 5) -> Numbers:
    return np.convolve(losses, np.ones(epochs) / epochs, "valid")


def better_results(
    ours: Mapping[int, Run], others: Runs, results: pd.DataFrame, network: str = "DCFNet"
) -> Finding:
    """Claim 2: where DCFNet's training loss is lower, its results are better, on all test sets.

    A check for each other network and test set, made on the folds where DCFNet's final training
    loss, a mean over five epochs, is the lower one. The effect is the smallest of its relative
    gains in SAM, ERGAS and Q2n: above 0 where it is better in all three.

    Args:
        ours: DCFNet's runs by fold.
        others: Those of the networks that it is compared with.
        results: A row for each network, test set and fold, from `results_by_fold`.
        network: DCFNet's title there.
    """
    signs = np.array([METRICS[metric][1] for metric in OF_THE_CLAIMS])
    checks: list[Check] = []
    for title in results.index.unique("test set"):
        for name, runs in others.items():
            common = [
                fold
                for fold in sorted(ours.keys() & runs.keys())
                if {(network, title, fold), (name, title, fold)} <= set(results.index)
            ]
            effects = {}
            for fold in common:
                if _final(ours[fold]) < _final(runs[fold]):
                    here, there = (results.loc[n, title, fold].to_numpy() for n in (network, name))
                    effects[f"fold {fold}"] = np.array([(signs * (here / there - 1)).min()])
            what = f"{title}: better than {name} in all three metrics"
            # Where its loss is not the lower one the claim says nothing.
            reading = "" if len(effects) == len(common) else "loss not always the lower one"
            checks.append(Check(what, effects, reading))
    return Finding(
        "2",
        "Better test results where the training loss is lower",
        "Smallest relative gain in SAM, ERGAS and Q2n",
        tuple(checks),
    )


def _final(run: Run) -> float:
    return float(run.history["train_loss"][-5:].mean())


def optimal_epoch(runs: Mapping[str, Mapping[str, Run]], said: int = 300) -> Finding:
    """Claim 3: about 300 epochs to the optimal epoch.

    A check for each training set, its units the trainings whose optimal epoch is known, or is known
    to lie too late. The effect is a quarter of what is said, minus the distance from it, and where
    the optimal epoch lies later still, at most that. The verdict rests on the first training set,
    and on any lower loss, however little; others, and losses lower by so much at least, are
    readings.

    Args:
        runs: Training set to its runs by name.
        said: The number of the claim.
    """
    checks: list[Check] = []
    notes = []
    for (title, each), gain in itertools.product(runs.items(), GAINS):
        effects = {}
        for name, run in each.items():
            epochs = len(run.history)
            optimal = run.history.optimal_epoch(gain=gain)
            earliest = run.history.earliest_optimum(gain=gain) or 0
            if not gain:
                where = f"optimal epoch {'' if optimal else 'not before '}{earliest}"
                steps = f"{epochs * run.steps_per_epoch:,} steps"
                notes.append(f"{title}, {name}: {where}, {epochs} epochs, {steps}")
            if optimal or earliest > 1.25 * said:
                effects[name] = np.array([said / 4 - abs(earliest - said)])
        reading = title + (f", lower by {gain:.0%}" if gain else "")
        what = f"{title}: within a quarter of {said}"
        checks.append(Check(what, effects, reading if checks else ""))
    notes.append(f"{said} epochs of the paper are {said * PAPER_STEPS:,} steps")
    return Finding(
        "3",
        "About 300 epochs to the optimal epoch",
        f"{said // 4} epochs, minus the distance of the optimal epoch from {said}",
        tuple(checks),
        tuple(notes),
    )
