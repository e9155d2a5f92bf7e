"""``python -m dcfnet.inside.claims [RUN ...]``: measure networks for the claims.

Without names, all runs that have ended and whose ``claims.csv`` is missing or belongs to other
weights; then methods that do not learn, if their results are missing, and how alike the maps of
several seeds are. The scenes are those of Longmont, on which the networks were trained.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from dcfnet.errors import DataError
from dcfnet.imagery.catalogue import load_scene
from dcfnet.imagery.wald import reduce_resolution
from dcfnet.inside.claims.committed import known, same_fold
from dcfnet.inside.claims.maps import agreement
from dcfnet.inside.claims.measured import (
    AGREEMENT,
    CLASSICAL,
    classical,
    hash_of_weights,
    measure,
    read_measured,
)
from dcfnet.inside.claims.trained import Trained, take_patches
from dcfnet.networks import DCFNet, load_trained
from dcfnet.paths import data_dir, is_file, written_whole
from dcfnet.training.runs import read_run

SCENES = ("wv3-longmont", "wv2-longmont")
METHODS = ("mtf-glp-fs", "bt-h")


def outdated(runs: Path) -> list[str]:
    """Names of the runs that have ended and whose network was not measured as it is now.

    Args:
        runs: The folder of all runs.
    """
    found = []
    for name in known():
        if not is_file(runs / name / "weights.safetensors"):
            continue
        try:
            current = read_measured(name, runs).weights == hash_of_weights(name, runs)
        except DataError:
            current = False
        if not current and read_run(name, runs).record.get("stopped"):
            found.append(name)
    return found


def main(names: Sequence[str]) -> None:
    """Measure runs by name, or those that need it."""
    runs = data_dir() / "runs"
    samples = [reduce_resolution(load_scene(name)) for name in SCENES]
    scenes = {sample.sensor.title: sample for sample in samples}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for name in names or outdated(runs):
        start = time.monotonic()
        measure(name, scenes, runs, device).write(runs)
        print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
    if names:
        return
    if not is_file(runs / CLASSICAL):
        _write(classical(scenes, METHODS), runs / CLASSICAL)
    patches = take_patches(samples[0], device=device)
    seeds = []
    for name in same_fold(runs):
        model = load_trained(name, runs).to(device)
        assert isinstance(model, DCFNet)
        seeds.append(Trained(name, model, patches))
    _write(agreement(seeds), runs / AGREEMENT)


def _write(table: pd.DataFrame, path: Path) -> None:
    with written_whole(path) as temporary:
        table.to_csv(temporary, index=False)


if __name__ == "__main__":
    main(sys.argv[1:])
