"""The runs that the claims rest on, found by their names: what is added counts by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp

from dcfnet.imagery.regions import FOLDS
from dcfnet.inside.claims.measured import (
    AGREEMENT,
    CLASSICAL,
    FILE,
    Measured,
    fold_of,
    read_measured,
)
from dcfnet.inside.claims.rule import LEAST
from dcfnet.measure.tables import METRICS, OF_THE_CLAIMS
from dcfnet.networks import NETWORKS
from dcfnet.paths import data_dir, is_file
from dcfnet.training.runs import Run, read_run
from dcfnet.training.trials import COMPARED, HIGH_PASS

Folder = str | Path | None
"""Of all runs; None is ``data/runs``."""

WIDTHS = {"paper's width": "dcfnet/fold{}", "quarter width": "dcfnet-narrow/fold{}"}
"""DCFNet on the three folds, by group."""

TITLES = {"paper's width": "DCFNet", "quarter width": "DCFNet, quarter width"}
"""What tables call DCFNet of each group."""

UNBRIGHTENED = "FusionNet, not brightened"
"""What tables call FusionNet, trained without exposure, which suits it better."""

GROUPS = {
    "paper's width": tuple(f"dcfnet/fold{fold}" for fold in range(3)),
    "quarter width": (
        *(f"dcfnet-narrow/fold{fold}" for fold in range(3)),
        *(f"parts/whole-seed{seed}" for seed in range(3)),
    ),
}
"""Trainings of the whole DCFNet by width."""

PART = "parts/{part}-seed{seed}"
"""Where narrow networks lie that were trained without a part, and whole ones beside them."""

RETRAINED = ("without-pcft", "depth-matched", "without-transfers")
"""What they were trained without, as in their names."""

SEEDS: dict[str, tuple[str, ...]] = {
    "FusionNet": ("fusionnet/fold0", *(f"seeds/fusionnet-seed{seed}" for seed in (1, 2))),
    TITLES["quarter width"]: tuple(PART.format(part="whole", seed=seed) for seed in range(3)),
}
"""Trainings on the ground of fold 0 from seeds 0, 1 and 2, by network; 150 and 120 epochs."""

HIGH_PASSED = {
    "PanNet": "pannet/fold{}",
    "PanNet, not high-passed": f"{HIGH_PASS['pannet']}/fold{{}}",
    "FusionNet": "fusionnet/fold{}",
    "FusionNet, high-passed": f"{HIGH_PASS['fusionnet']}/fold{{}}",
    TITLES["quarter width"]: "dcfnet-narrow/fold{}",
    f"{TITLES['quarter width']}, high-passed": f"{HIGH_PASS['dcfnet-narrow']}/fold{{}}",
}
"""Three networks on the three folds, with the high-pass of their inputs and without it."""

LENGTHS: dict[str, dict[str, tuple[str, ...]]] = {
    "paper's width": {"361 patches": ("dcfnet",)},
    "quarter width": {
        f"{count} patches": tuple(f"length/{count}-patches-seed{seed}" for seed in range(3))
        for count in (361, 180, 90)
    },
}
"""Runs at a constant rate, by width and training set."""


def known() -> list[str]:
    """Names of all runs whose networks the claims look at, whether they are there or not."""
    names = [name for group in (GROUPS | SEEDS).values() for name in group]
    for network in COMPARED:
        names += [f"{network}/fold{fold}" for fold in range(len(FOLDS))]
    for place in HIGH_PASSED.values():
        names += [place.format(fold) for fold in range(len(FOLDS))]
    names += [PART.format(part=part, seed=s) for part in RETRAINED for s in range(3)]
    return list(dict.fromkeys(names))


def _runs(directory: Folder) -> Path:
    return Path(directory) if directory is not None else data_dir() / "runs"


def trainings(group: str, directory: Folder = None) -> list[Measured]:
    """What was measured on the trainings of the whole DCFNet, one for each fold and seed.

    Two trainings of one fold and one seed see the same patches in the same order. They are not
    independent, so the first stands for both.

    Args:
        group: ``"paper's width"`` or ``"quarter width"``.
        directory: The folder of all runs, ``data/runs`` unless given.
    """
    runs = _runs(directory)
    found: dict[tuple[int, int], str] = {}
    for name in GROUPS[group]:
        if is_file(runs / name / FILE):
            found.setdefault((fold_of(name), int(name[-1])), name)
    return [read_measured(name, runs) for name in found.values()]


def pairs(part: str, directory: Folder = None) -> list[tuple[Measured, Measured]]:
    """Narrow networks: a whole one, and one of the same seed that was trained without a part.

    Args:
        part: One of `RETRAINED`.
        directory: The folder of all runs, ``data/runs`` unless given.
    """
    runs = _runs(directory)
    both = [[PART.format(part=each, seed=s) for each in ("whole", part)] for s in range(3)]
    found = [names for names in both if all(is_file(runs / name / FILE) for name in names)]
    return [(read_measured(a, runs), read_measured(b, runs)) for a, b in found]


def worse_without(part: str, directory: Folder = None) -> pd.DataFrame:
    """By what share networks are worse that were trained without a part: a column for each seed.

    Rows, by place and measure: SAM, ERGAS and Q2n as means over the test patches and of the whole
    test region, on each sensor; the lowest validation loss.

    Args:
        part: One of `RETRAINED`.
        directory: The folder of all runs, ``data/runs`` unless given.
    """
    columns: dict[str, dict[tuple[str, str], float]] = {}
    for both in pairs(part, directory):
        rows = columns[f"seed {both[0].name[-1]}"] = {}
        for kind, what, how in both[0].first:
            metric, place = (how, f"{what}, region") if kind == "test" else (kind, "patches")
            if metric in OF_THE_CLAIMS and (kind == "test" or what == "as trained"):
                whole, rest = (each.first[kind, what, how].mean() for each in both)
                title, sign = METRICS[metric]
                rows[place, title.split(" ")[0]] = sign * float(1 - rest / whole)
        runs = ended([each.name for each in both], directory).values()
        if len(runs) == 2:
            whole, rest = (run.history["valid_loss"].min() for run in runs)
            rows["validation ground", "loss"] = float(rest / whole - 1)
    return pd.DataFrame(columns)


def by_fold(place: str, file: str, directory: Folder = None) -> dict[int, str]:
    """Names of a network's runs that have a file, by fold.

    Args:
        place: Where they lie, for example ``"pnn/fold{}"``.
        file: Its name.
        directory: The folder of all runs, ``data/runs`` unless given.
    """
    names = {fold: place.format(fold) for fold in range(len(FOLDS))}
    return {k: name for k, name in names.items() if is_file(_runs(directory) / name / file)}


def histories(place: str, directory: Folder = None) -> dict[int, Run]:
    """By fold, the runs of a network that have ended; arguments as for `by_fold`."""
    names = by_fold(place, "run.json", directory)
    runs = ended(names.values(), directory)
    return {fold: runs[name] for fold, name in names.items() if name in runs}


def ended(names: Iterable[str], directory: Folder = None) -> dict[str, Run]:
    """Those of the named runs that are there and are not under way."""
    runs = _runs(directory)
    found = {name: read_run(name, runs) for name in names if is_file(runs / name / "run.json")}
    return {name: run for name, run in found.items() if run.record.get("stopped")}


def results_by_fold(directory: Folder = None) -> pd.DataFrame:
    """SAM, ERGAS and Q2n of every training on ground that it has not seen.

    Args:
        directory: The folder of all runs, ``data/runs`` unless given.

    Returns:
        A row for each network, by its title (or that of a width of DCFNet), test set and fold.
    """
    places = {TITLES[group]: place for group, place in WIDTHS.items()}
    places |= {NETWORKS[name].title: f"{name}/fold{{}}" for name in COMPARED}
    places[UNBRIGHTENED] = "fusionnet-no-exposure/fold{}"
    names = {network: by_fold(place, FILE, directory) for network, place in places.items()}
    return _results(names, "fold", directory)


def results_by_high_pass(directory: Folder = None) -> pd.DataFrame:
    """The same of the trainings of `HIGH_PASSED`."""
    names = {title: by_fold(place, FILE, directory) for title, place in HIGH_PASSED.items()}
    return _results(names, "fold", directory)


def results_by_seed(directory: Folder = None) -> pd.DataFrame:
    """The same of the trainings of `SEEDS`, with the seed in place of the fold."""
    runs = _runs(directory)
    names = {
        network: {seed: name for seed, name in enumerate(each) if is_file(runs / name / FILE)}
        for network, each in SEEDS.items()
    }
    return _results(names, "seed", directory)


def _results(
    names: Mapping[str, Mapping[int, str]], number: str, directory: Folder
) -> pd.DataFrame:
    """Test results of runs by network and by the number that tells its runs apart."""
    rows: dict[tuple[str, str, int], dict[str, float]] = {}
    for network, of_network in names.items():
        for k, name in of_network.items():
            values = read_measured(name, _runs(directory)).first
            for title in dict.fromkeys(what for kind, what, _ in values if kind == "test"):
                of_test = {metric: values["test", title, metric] for metric in OF_THE_CLAIMS}
                rows[network, title, k] = {key: float(v[0]) for key, v in of_test.items()}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(OF_THE_CLAIMS))
    table.index = pd.MultiIndex.from_tuples(rows, names=["network", "test set", number])
    return table


def difference_by_fold(
    results: pd.DataFrame, one: str, other: str, level: float = 0.95
) -> pd.DataFrame:
    """What one network has more than another, fold by fold.

    Args:
        results: From `results_by_fold`.
        one: A network there.
        other: Another one.
        level: Of the interval.

    Returns:
        A row for each test set and metric. Columns: ``folds``, on how many both were trained; the
        ``mean`` of the differences; ``low`` and ``high``, the borders of its interval over folds
        (Student's t), for which three folds are needed.
    """
    apart = (results.loc[one] - results.loc[other]).dropna()
    rows = {}
    for title, of_folds in apart.groupby(level="test set"):
        for metric, values in of_folds.items():
            row = {"folds": len(values), "mean": values.mean(), "low": np.nan, "high": np.nan}
            if len(values) >= LEAST:
                interval = ttest_1samp(values, 0).confidence_interval(level)
                row |= {"low": interval.low, "high": interval.high}
            rows[title, metric] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def agreement_of_maps(directory: Folder = None) -> pd.DataFrame:
    """How alike the maps of trainings from other seeds are, see `dcfnet.inside.claims.maps`."""
    return pd.read_csv(_runs(directory) / AGREEMENT)


def same_fold(directory: Folder = None) -> list[str]:
    """Names of the whole narrow networks on fold 0 whose weights are there."""
    names = [PART.format(part="whole", seed=seed) for seed in range(3)]
    return [name for name in names if is_file(_runs(directory) / name / "weights.safetensors")]


def classical_results(directory: Folder = None) -> pd.DataFrame:
    """The same of methods that do not learn, in the same test regions."""
    path = _runs(directory) / CLASSICAL
    return pd.read_csv(path).set_index(["network", "test set", "fold"])
