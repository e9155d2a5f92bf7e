"""What adapting brings to three trainings of each network, on two scenes that none has seen.

    python -m tests.benchmarks.adapt_folds [--networks fusionnet dcfnet] [--json FILE]

The trainings are those of 150 epochs on folds 0, 1 and 2; the fold is the seed of the adapting as
well. On the WorldView-2 image of the book's town networks are measured one scale down, on the
ground held back (`tried`); on the simulated town, whose truth is known, at full resolution as well.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from dcfnet.fusion.adapt import STEPS, adapt
from dcfnet.fusion.below import Below, below
from dcfnet.fusion.tiled import fuse_scene
from dcfnet.fusion.trial import JUDGED, tried
from dcfnet.imagery.catalogue import load_scene
from dcfnet.imagery.classical import bt_h, exp, mtf_glp_fs
from dcfnet.imagery.scene import Scene
from dcfnet.imagery.wald import full_resolution
from dcfnet.inside.claims.committed import HIGH_PASSED
from dcfnet.measure import metrics
from dcfnet.networks import load_trained
from tests.benchmarks.report import run

BORDER = 64
"""PAN pixels along the sides that are not measured at full resolution."""

ALL = ("fusionnet", "fusionnet-high-pass", "pannet", "dcfnet-narrow", "dcfnet")

NAMED = {place.partition("/")[0]: title for title, place in HIGH_PASSED.items()}
"""How tables call the trainings of a folder, where that is not its network's title."""


def measure(networks: tuple[str, ...] = ALL) -> Iterator[dict[str, Any]]:
    """A row for each training, as it was and adapted; those of methods without learning once."""
    result: dict[str, Any] = {"steps": STEPS, "patches": {}, "without learning": [], "rows": []}
    for network in networks:
        for scene in map(load_scene, ("wv2-longmont", "simulated")):
            blocks = below(scene)
            if network == networks[0]:
                result["without learning"] += unlearned(scene, blocks)
            for fold in range(3):
                model = load_trained(f"{network}/fold{fold}")
                title = NAMED.get(network, model.title)
                wall, processor = time.perf_counter(), time.process_time()
                found = adapt(model, blocks, seed=fold)
                took = {
                    "seconds": round(time.perf_counter() - wall, 1),
                    "processor seconds": round(time.process_time() - processor, 1),
                }
                result["patches"][scene.name] = found.patches
                models = {"as it was": model, "adapted": found.model}
                table = tried(models, blocks).round(4)
                print(f"{scene.name}, {network}/fold{fold}: {took}\n{table}", flush=True)
                for how, each in models.items():
                    row = {"scene": scene.name, "network": title, "fold": fold, "how": how}
                    row |= table.loc[how].to_dict()
                    if scene.truth is not None:
                        row |= at_full(scene, fuse_scene(each, scene))
                    result["rows"].append(row | (took if how == "adapted" else {}))
                yield result


def unlearned(scene: Scene, blocks: Below) -> list[dict[str, Any]]:
    """The rows of methods that do not learn, on the ground that networks are measured on."""
    methods, sample = (exp, mtf_glp_fs, bt_h), full_resolution(scene)
    table, rows = tried({}, blocks, methods).round(4), []
    for method in methods:
        row = {"scene": scene.name, "network": method.title} | table.loc[method.title].to_dict()
        rows.append(row | ({} if scene.truth is None else at_full(scene, method(sample))))
    return rows


def at_full(scene: Scene, image: np.ndarray) -> dict[str, float]:
    """SAM, ERGAS and Q8 against the truth at full resolution, off the border."""
    inner = (slice(None), *[slice(BORDER, -BORDER)] * 2)
    pair = scene.truth[inner], image[inner]
    return {f"full {name}": round(float(getattr(metrics, name)(*pair)), 4) for name in JUDGED}


if __name__ == "__main__":
    run(measure)
