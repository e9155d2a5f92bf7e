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
import pandas as pd

from dcfnet.fusion.adapt import STEPS, adapt
from dcfnet.fusion.below import Below, below
from dcfnet.fusion.tiled import fuse_scene
from dcfnet.fusion.trial import JUDGED, tried
from dcfnet.imagery.catalogue import load_scene
from dcfnet.imagery.classical import bt_h, exp, mtf_glp_fs
from dcfnet.imagery.scene import Scene
from dcfnet.imagery.wald import full_resolution
from dcfnet.measure import metrics
from dcfnet.networks import load_trained
from tests.benchmarks.report import run

BORDER = 64
"""PAN pixels along the sides that are not measured at full resolution."""

ALL = ("fusionnet", "pannet", "dcfnet-narrow", "dcfnet")


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
                title = model.title + ", quarter width" * network.endswith("narrow")
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
    rows, sample = [], full_resolution(scene)
    for method in (exp, mtf_glp_fs, bt_h):
        found = [
            metrics.evaluate(held, method(block)[..., -held.shape[1] :], masked=True)
            for block, held in zip(blocks.blocks, blocks.held_back(), strict=True)
        ]
        row = pd.DataFrame(found)[list(JUDGED)].mean().round(4).to_dict()
        rows.append({"scene": scene.name, "network": method.title, **row})
        if scene.truth is not None:
            rows[-1] |= at_full(scene, method(sample))
    return rows


def at_full(scene: Scene, image: np.ndarray) -> dict[str, float]:
    """SAM, ERGAS and Q8 against the truth at full resolution, off the border."""
    inner = (slice(None), *[slice(BORDER, -BORDER)] * 2)
    judges = {"sam": metrics.sam, "ergas": metrics.ergas, "q2n": metrics.q2n}
    found = {name: judge(scene.truth[inner], image[inner]) for name, judge in judges.items()}
    return {f"full {name}": round(float(value), 4) for name, value in found.items()}


if __name__ == "__main__":
    run(measure)
