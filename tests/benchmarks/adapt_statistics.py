"""Which statistics batch normalisation should have when DCFNet is adapted, by trying them.

    python -m tests.benchmarks.adapt_statistics [--names dcfnet-narrow/fold0 dcfnet] [--json FILE]

They may be those of the training, which `adapt` holds; those of the scene, with the weights as they
were or adapted; or go along with the patches as in a training. Scenes are those of `adapt_folds`:
the WorldView-2 image, measured on the ground held back and over the whole of it, one scale down,
and the simulated town, at full resolution as well.
"""

import copy
import itertools
from collections.abc import Iterator
from typing import Any
from unittest import mock

from dcfnet.fusion.adapt import adapt
from dcfnet.fusion.below import Below, below
from dcfnet.fusion.tiled import fuse_scene
from dcfnet.fusion.trial import JUDGED, tried
from dcfnet.imagery.catalogue import load_scene
from dcfnet.imagery.wald import Sample, full_resolution, reduce_resolution
from dcfnet.inside.claims.measured import fold_of
from dcfnet.measure.metrics import evaluate
from dcfnet.networks import PansharpeningNetwork, load_trained
from dcfnet.networks.one_pass import fuse
from tests.benchmarks.adapt_folds import at_full
from tests.benchmarks.bench_adapt import with_norms_of
from tests.benchmarks.report import run

NAMES = ("dcfnet-narrow/fold0", "dcfnet-narrow/fold1", "dcfnet-narrow/fold2", "dcfnet")


def measure(names: tuple[str, ...] = NAMES) -> Iterator[dict[str, Any]]:
    """A row for each training, scene and way; a training's fold is the seed of its adapting."""
    rows: list[dict[str, Any]] = []
    for name, place in itertools.product(names, ("wv2-longmont", "simulated")):
        scene = load_scene(place)
        blocks, seed, model = below(scene), fold_of(name), load_trained(name)
        normed = with_norms_of(model, full_resolution(scene))
        models = {
            "as it was": model,
            "statistics of the scene": normed,
            "adapted, statistics of the training": adapt(model, blocks, seed=seed).model,
            "adapted, statistics of the scene": adapt(normed, blocks, seed=seed).model,
            "adapted, statistics of the patches": going_along(model, blocks, seed),
        }
        table = tried(models, blocks).round(4)
        print(f"{place}, {name}\n{table}", flush=True)
        for how, each in models.items():
            row = {"scene": place, "training": name, "how": how} | table.loc[how].to_dict()
            if scene.truth is None:
                row |= over_all(each, reduce_resolution(scene))
            else:
                row |= at_full(scene, fuse_scene(each, scene))
            rows.append(row)
        yield {"rows": rows}


def over_all(model: PansharpeningNetwork, sample: Sample) -> dict[str, float]:
    """SAM, ERGAS and Q8 of a whole sample in one piece, off its border."""
    fused, inner = fuse(model, sample), slice(16, -16)
    found = evaluate(sample.crop(inner, inner), fused[:, inner, inner])
    return {f"whole {name}": round(found[name], 4) for name in JUDGED}


def going_along(model: PansharpeningNetwork, blocks: Below, seed: int) -> PansharpeningNetwork:
    """Adapted while the statistics follow the patches, as in a training."""
    with mock.patch("dcfnet.fusion.adapt.with_fixed_norms", copy.deepcopy):
        return adapt(model, blocks, seed=seed).model


if __name__ == "__main__":
    run(measure)
