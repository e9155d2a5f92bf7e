"""What the claims need of a trained network: measured once, and kept beside its run.

To look into a network takes some minutes, or half an hour where it is wide. So what was found lies
in the run's folder as ``claims.csv``, and verdicts follow from such files alone: the weights need
not be there. ``python -m dcfnet.inside.claims`` makes the files that are missing or belong to
other weights.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dcfnet.errors import DataError
from dcfnet.imagery.classical import get_method
from dcfnet.imagery.regions import FOLDS, regions
from dcfnet.imagery.wald import Sample
from dcfnet.inside.claims.context import CROSSING, radii, texture
from dcfnet.inside.claims.cooperation import cooperation, errors, results
from dcfnet.inside.claims.features import detail, feature_means, surroundings
from dcfnet.inside.claims.maps import influence, similar_maps
from dcfnet.inside.claims.rule import Numbers
from dcfnet.inside.claims.trained import Found, Patches, Trained, take_patches
from dcfnet.measure.metrics import evaluate
from dcfnet.measure.tables import OF_THE_CLAIMS
from dcfnet.networks import DCFNet, PansharpeningNetwork, load_trained
from dcfnet.networks.one_pass import fuse
from dcfnet.paths import written_whole

FILE = "claims.csv"
CLASSICAL = "classical.csv"
"""Results of methods that do not learn, beside the runs."""
AGREEMENT = "agreement.csv"
"""How alike the maps of several trainings are, beside the runs."""
KEYS = ["measure", "what", "reading"]
Key = tuple[str, str, str]
"""The measure, which is the number of a claim or a word; what was measured; the reading, or how."""
Values = Mapping[Key, Numbers]
"""A number for each patch, or one."""

WHOLE: dict[str, Callable[[Trained], Found]] = {
    "4": detail,
    "5": feature_means,
    "6": surroundings,
    "7": texture,
    "8": similar_maps,
    "10": cooperation,
}
"""Claims that are measured on a whole DCFNet, and how."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured on a trained network.

    Attributes:
        name: Of its run.
        first: All values.
        again: Those that could depend on the order of the patches or on draws, a second time; of
            values for patches the median.
        weights: SHA-256 of the weights' file.
    """

    name: str
    first: Values
    again: Values
    weights: str

    def write(self, directory: Path) -> None:
        """Write the file into the folder of the run, with four significant digits."""
        length = max(len(values) for values in self.first.values())
        with (
            written_whole(directory / self.name / FILE) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            file.write(f"# weights {self.weights}\n")
            table = csv.writer(file, lineterminator="\n")
            table.writerow([*KEYS, "again", *range(length)])
            for key, values in self.first.items():
                second = f"{np.median(self.again[key]):.4g}" if key in self.again else ""
                table.writerow([*key, second, *(f"{value:.4g}" for value in values)])


def read_measured(name: str, directory: Path) -> Measured:
    """What was measured on a run's network.

    Args:
        name: Of the run.
        directory: The folder of all runs.

    Raises:
        DataError: There is no such file, or it is damaged.
    """
    path = directory / name / FILE
    try:
        weights = path.open(encoding="utf-8").readline().split()[2]
        table = pd.read_csv(path, skiprows=1, keep_default_na=False).set_index(KEYS)
        numbers = table.apply(pd.to_numeric, errors="raise")
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DataError(
            f"{path} holds no measures of a network ({error}): expected what "
            f"python -m dcfnet.inside.claims {name} writes"
        ) from None
    first, again = {}, {}
    for key, row in zip(table.index, numbers.to_numpy(float), strict=True):
        first[key] = row[1:][~np.isnan(row[1:])]
        if not np.isnan(row[0]):
            again[key] = row[:1]
    return Measured(name, first, again, weights)


def without_ms(each: Measured) -> float:
    """By how much ERGAS rises, as a share, where ``ms`` has lost all but its means."""
    whole, rest = (each.first["ergas", how, ""].mean() for how in ("as trained", "without ms"))
    return float(rest / whole - 1)


def hash_of_weights(name: str, directory: Path) -> str:
    """SHA-256 of a run's weights."""
    return hashlib.sha256((directory / name / "weights.safetensors").read_bytes()).hexdigest()


def fold_of(name: str) -> int:
    """Which fold a run was trained on, from its name: 0 unless it says another."""
    return int(name[-1]) if "/fold" in name else 0


def measure(
    name: str, scenes: Mapping[str, Sample], directory: Path, device: torch.device | str = "cpu"
) -> Measured:
    """Measure a run's network: its results, and if it is a DCFNet what lies inside.

    Args:
        name: Of the run, whose weights must be there.
        scenes: Test set to a whole scene, that which the network was trained on first. Of each the
            test region of the run's fold counts: scenes of one ground can be divided alike,
            whatever the sensor.
        directory: The folder of all runs.
        device: Where the network runs.
    """
    model, fold = load_trained(name, directory).to(device), fold_of(name)
    first: dict[Key, Numbers] = dict(_results(model, scenes, fold))
    again: Values = {}
    if isinstance(model, DCFNet):
        patches = take_patches(next(iter(scenes.values())), fold, device=device)
        first |= look_into(Trained(name, model, patches))
        order = np.random.default_rng(1).permutation(len(patches)).tolist()
        again = look_into(Trained(name, model, patches[order]), seed=1000)
    return Measured(name, first, again, hash_of_weights(name, directory))


def _results(model: PansharpeningNetwork, scenes: Mapping[str, Sample], fold: int) -> Values:
    fast, found = model.fused_for_inference(), {}
    for title, scene in scenes.items():
        test = scene.region("test", fold)
        values = evaluate(test, fuse(fast, test))
        for metric in OF_THE_CLAIMS:
            found["test", title, metric] = np.array([values[metric]])
    return found


def classical(scenes: Mapping[str, Sample], methods: Sequence[str]) -> pd.DataFrame:
    """Results of methods that do not learn in the test regions of all folds.

    As in the chapter on results, a method measures the whole scene before it fuses it.

    Args:
        scenes: Test set to a whole scene.
        methods: Names, see `dcfnet.imagery.classical.get_method`.
    """
    rows = []
    for name in methods:
        method = get_method(name)
        for title, scene in scenes.items():
            image = method(scene)
            for fold in range(len(FOLDS)):
                (window,) = regions(scene.shape, "test", fold)
                found = evaluate(scene.crop(*window), image[:, *window])
                values = {metric: round(found[metric], 4) for metric in OF_THE_CLAIMS}
                rows.append({"network": method.title, "test set": title, "fold": fold, **values})
    return pd.DataFrame(rows)


def look_into(each: Trained, seed: int = 0) -> Values:
    """All that the claims need from inside a DCFNet.

    Args:
        each: The network and its patches.
        seed: Of random signs and pixels.
    """
    found: dict[Key, Numbers] = {}

    def keep(title: str, values: Found) -> None:
        found.update({(title, *key): numbers for key, numbers in values.items()})

    for (metric, how), values in results(each).items():
        keep(metric, {(how, ""): values})
    keep("ergas", {("without ms", ""): _without_ms(each)})
    keep("radius", radii(each, seed=seed))
    if not each.model.config.without:
        keep("radius without crossing", radii(each, CROSSING, seed=seed))
        for claim, of in WHOLE.items():
            keep(claim, of(each))
        keep("11", influence(each, seed=seed))
    return found


def _without_ms(each: Trained) -> Numbers:
    """ERGAS of each patch where every pixel of ``ms`` has its band's mean; ``lms`` stays."""
    old = each.patches
    ms = old.ms.mean(dim=(-2, -1), keepdim=True).expand_as(old.ms)
    return errors(Trained(each.name, each.model, Patches(old.pan, ms, old.lms, old.gt, old.sensor)))
