"""What became of each claim: its checks, made of what the committed runs hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import itemgetter

import numpy as np

from dcfnet.inside.claims.committed import (
    LENGTHS,
    TITLES,
    WIDTHS,
    Folder,
    ended,
    histories,
    pairs,
    results_by_fold,
    trainings,
    worse_without,
)
from dcfnet.inside.claims.context import SHARES
from dcfnet.inside.claims.measured import Key, Measured, Values
from dcfnet.inside.claims.rule import Check, Finding, Numbers
from dcfnet.inside.claims.training import better_results, lower_loss, optimal_epoch
from dcfnet.networks import NETWORKS
from dcfnet.training.runs import Run
from dcfnet.training.trials import COMPARED

FURTHER = 0.05
"""By how much at least a branch must see further: more than the noise of the draws."""

INSIDE = {
    "4": (
        "The main branch keeps its resolution and is rich in detail",
        "Share of PAN's detail that pixels of a fused branch tell, minus one half or another's",
    ),
    "5, means": (
        "Feature means of the main branch and of high-to-low transfers exceed the others'",
        "Difference of means",
    ),
    "5, spread": (
        "The same of what the output sees of them: their spread",
        "Logarithm of the ratio of spreads",
    ),
    "6, content": (
        "The main branch, supplemented by the others, carries high-level content",
        "None",
    ),
    "6, surroundings": (
        "In a weaker sense: it knows what surrounds a pixel",
        "Share told of the surroundings (17 x 17), minus the share that it is compared with",
    ),
    "7": (
        "Lower-resolution branches have larger receptive fields; the main one attends to texture",
        f"Logarithm of the ratio of radii, less {FURTHER}; difference of rank correlations",
    ),
    "8": (
        "All branches have similar class activation maps",
        "Rank correlation of two branches' maps, minus 0.5 or that with other patches",
    ),
    "9, used": (
        "PCFT helps the branches capture global context: as trained",
        f"Logarithm of the ratio of radii, with PCFT's crossing over without, less {FURTHER}",
    ),
    "9, needed": (
        "PCFT helps the branches capture global context: when retrained",
        f"Logarithm of the ratio of radii, with PCFT over retrained without, less {FURTHER}",
    ),
    "10, used": (
        "Parallel branches cooperate: as trained",
        "ERGAS with a transfer that hands on its means alone, minus with it",
    ),
    "10, needed": (
        "Parallel branches cooperate: when retrained",
        "ERGAS of the network retrained without transfers, minus that of the whole one; of other "
        "measures the share by which it is worse",
    ),
    "11": (
        "A class activation map represents its feature map's influence on the output",
        "Logarithm of the change of a band, a fifth of the pixels taken away in the map's order, "
        "over that in another; rank correlation over transfers",
    ),
}
"""Titles and measures of the claims that look inside."""

NOT_IDENTIFIABLE = (
    "A mean is not identifiable: networks with the same output differ in it. What the means are "
    "stands among the readings."
)
NO_LABELS = "What is high-level would have to be labelled in the scene, and is not."


def findings(directory: Folder = None) -> dict[str, list[Finding]]:
    """All claims, by group of networks, from the runs that are there.

    Args:
        directory: The folder of all runs, ``data/runs`` unless given.
    """
    others = {NETWORKS[n].title: histories(f"{n}/fold{{}}", directory) for n in COMPARED}
    results = results_by_fold(directory)
    found = {}
    for group, place in WIDTHS.items():
        ours = histories(place, directory)
        lengths = {title: ended(of, directory) for title, of in LENGTHS[group].items()}
        networks = trainings(group, directory)
        means, spread = _of_features(networks)
        found[group] = [
            lower_loss(ours, others, _longer(directory)),
            better_results(ours, others, results, TITLES[group]),
            optimal_epoch(lengths),
            _inside("4", _direct("4", networks)),
            replace(_inside("5, means", means), untestable=NOT_IDENTIFIABLE),
            _inside("5, spread", spread),
            replace(_inside("6, content", ()), untestable=NO_LABELS),
            _inside("6, surroundings", _direct("6", networks)),
            _inside("7", [*_order(networks), *_direct("7", networks)], _radii(networks)),
            _inside("8", _direct("8", networks)),
            _inside("9, used", _without_crossing(networks)),
            _inside("10, used", _direct("10", networks)),
            _inside("11", _direct("11", networks)),
        ]
    found["quarter width"] += [
        _inside("9, needed", _retrained_fields(directory)),
        _inside("10, needed", _retrained_alone(directory)),
    ]
    return found


# --- Checks from what was measured --------------------------------------------------------------


def _inside(claim: str, checks: Sequence[Check], notes: Sequence[str] = ()) -> Finding:
    return Finding(claim, *INSIDE[claim], tuple(checks), tuple(notes))


def _check(
    what: str,
    networks: Sequence[Measured],
    effect: Callable[[Values], Numbers],
    reading: str = "",
) -> Check:
    """A check whose effect follows from the values of each training."""
    first = {each.name: effect(each.first) for each in networks}
    return Check(what, first, reading, {each.name: effect(each.again) for each in networks})


def _direct(claim: str, networks: Sequence[Measured]) -> list[Check]:
    """The checks whose effects were measured as such."""
    keys = [key for key in (networks[0].first if networks else ()) if key[0] == claim]
    return [_check(key[1], networks, itemgetter(key), key[2]) for key in keys]


def _further(one: Key, than: Key) -> Callable[[Values], Numbers]:
    """The effect where one radius shall be larger than another."""
    return lambda values: np.log(values[one] / values[than]) - FURTHER


def _order(networks: Sequence[Measured]) -> list[Check]:
    """Claim 7: radii of the fields of stage 3's branches."""
    checks = []
    for share in SHARES:
        for i in (1, 2):
            effect = _further(
                ("radius", f"branch {i}", share), ("radius", f"branch {i - 1}", share)
            )
            what = f"branch {i} sees further than branch {i - 1} ({share})"
            checks.append(_check(what, networks, effect))
    return checks


def _radii(networks: Sequence[Measured]) -> list[str]:
    """Radii of all parts, in words."""
    notes = []
    for key in networks[0].first if networks else ():
        if key[0] == "radius":
            radii = [each.first[key][0] for each in networks]
            low, high = (f"{of(radii):.1f}" for of in (min, max))
            radius = low if low == high else f"{low} to {high}"
            notes.append(f"{key[2]} of {key[1].replace('output', 'the output')}: radius {radius}")
    return notes


def _without_crossing(networks: Sequence[Measured]) -> list[Check]:
    """Claim 9, used: with what PCFT brings in, the trained network's branches see further.

    To switch off all of a PCFT would take two convolutions away as well, and with them reach.
    """
    checks = []
    for where in ((f"branch {i}", share) for i in (1, 2) for share in SHARES):
        effect = _further(("radius", *where), ("radius without crossing", *where))
        checks.append(_check(f"{where[0]} sees further ({where[1]})", networks, effect))
    return checks


def _retrained_fields(directory: Folder) -> list[Check]:
    """Claim 9, needed: the verdict rests on networks as deep, trained without the crossing."""
    readings = {"depth-matched": "", "without-pcft": "retrained without PCFT, less deep"}
    checks = []
    for part, reading in readings.items():
        together = [_side_by_side(*pair) for pair in pairs(part, directory)]
        for where in ((f"branch {i}", share) for i in (1, 2) for share in SHARES):
            effect = _further(("radius", *where), ("without: radius", *where))
            checks.append(
                _check(f"{where[0]} sees further ({where[1]})", together, effect, reading)
            )
    return checks


def _of_features(networks: Sequence[Measured]) -> tuple[list[Check], list[Check]]:
    """Claim 5: checks of means, all of them readings, and of spread."""
    checks = _direct("5", networks)
    # The means of branches, at the end of the fusion, belong to either place of the transfers.
    branches = [check for check in checks if check.reading == "means of branches"]
    means = [check for check in checks if check.reading not in ("", "means of branches")]
    both = [
        replace(branch, reading=place)
        for place in dict.fromkeys(check.reading for check in means)
        for branch in branches
    ]
    return [*both, *means], [check for check in checks if not check.reading]


def _longer(directory: Folder) -> dict[str, Run]:
    """By title, trainings of other networks that had more epochs than those on the folds."""
    longer = ended(["fusionnet"], directory).values()
    return {f"{NETWORKS[run.network].title} of {len(run.history)}": run for run in longer}


def _retrained_alone(directory: Folder) -> list[Check]:
    """Claim 10, needed: the verdict rests on ERGAS, patch by patch; other measures are readings."""
    key, what = ("ergas", "as trained", ""), "no transfer at all, retrained"
    both = pairs("without-transfers", directory)
    effects = {f"seed {a.name[-1]}": b.first[key] - a.first[key] for a, b in both}
    checks = [Check(what, effects)]
    for (where, measure), row in worse_without("without-transfers", directory).iterrows():
        shares = {seed: np.array([share]) for seed, share in row.items()}
        checks.append(Check(what, shares, f"{measure}, {where}"))
    return checks


def _side_by_side(whole: Measured, without: Measured) -> Measured:
    """What was measured on both, as on one."""

    def both(a: Values, b: Values) -> Values:
        return {**a, **{(f"without: {key[0]}", *key[1:]): value for key, value in b.items()}}

    first, again = both(whole.first, without.first), both(whole.again, without.again)
    return Measured(f"seed {whole.name[-1]}", first, again, "")
