"""Which statistics batch normalisation should have when DCFNet is adapted, by trying them.

    python -m tests.benchmarks.adapt_statistics [--networks dcfnet-narrow dcfnet] [--json FILE]

Beside the way that `adapt` goes, which holds the statistics of the training (`adapt_folds`), they
may be those of the scene, with the weights as they were or adapted, or go along with the patches
as in a training. Networks, scenes and ground are those of `adapt_folds`.
"""

import copy
from collections.abc import Iterator
from typing import Any
from unittest import mock

from dcfnet.fusion.adapt import adapt
from dcfnet.fusion.below import Below, below
from dcfnet.fusion.tiled import fuse_scene
from dcfnet.fusion.trial import tried
from dcfnet.imagery.catalogue import load_scene
from dcfnet.imagery.wald import full_resolution
from dcfnet.networks import PansharpeningNetwork, load_trained
from tests.benchmarks.adapt_folds import at_full, called
from tests.benchmarks.bench_adapt import with_norms_of
from tests.benchmarks.report import run


def measure(networks: tuple[str, ...] = ("dcfnet-narrow", "dcfnet")) -> Iterator[dict[str, Any]]:
    """A row for each training, scene and way."""
    rows: list[dict[str, Any]] = []
    for network in networks:
        for scene in map(load_scene, ("wv2-longmont", "simulated")):
            blocks, sample = below(scene), full_resolution(scene)
            for fold in range(3):
                model = load_trained(f"{network}/fold{fold}")
                normed = with_norms_of(model, sample)
                models = {
                    "statistics of the scene": normed,
                    "adapted, statistics of the scene": adapt(normed, blocks, seed=fold).model,
                    "adapted, statistics of the patches": going_along(model, blocks, fold),
                }
                table = tried(models, blocks).round(4)
                print(f"{scene.name}, {network}/fold{fold}\n{table}", flush=True)
                for how, each in models.items():
                    of = {"scene": scene.name, "network": called(network, model), "fold": fold}
                    row = of | {"how": how} | table.loc[how].to_dict()
                    if scene.truth is not None:
                        row |= at_full(scene, fuse_scene(each, scene))
                    rows.append(row)
                yield {"rows": rows}


def going_along(model: PansharpeningNetwork, blocks: Below, seed: int) -> PansharpeningNetwork:
    """Adapted while the statistics follow the patches, as in a training."""
    with mock.patch("dcfnet.fusion.adapt.with_fixed_norms", copy.deepcopy):
        return adapt(model, blocks, seed=seed).model


if __name__ == "__main__":
    run(measure)
