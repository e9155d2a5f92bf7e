"""How good a network is on a scene, before the scene is fused: tried one scale down.

There the scene is its own truth (`dcfnet.fusion.below`), and methods without learning say what a
network must reach to be of use.
"""

from collections.abc import Iterable, Mapping

import pandas as pd

from dcfnet.fusion.below import Below
from dcfnet.imagery.classical import Method, exp, mtf_glp_fs
from dcfnet.measure import metrics
from dcfnet.measure.tables import METRICS
from dcfnet.networks import PansharpeningNetwork
from dcfnet.networks.one_pass import fuse

JUDGED = ("sam", "ergas", "q2n")

AROUND = 32
"""Pixels to the left of the ground held back that a network sees as well."""


def tried(
    models: Mapping[str, PansharpeningNetwork],
    blocks: Below,
    methods: Iterable[Method] = (mtf_glp_fs, exp),
) -> pd.DataFrame:
    """Networks by name, and methods without learning, on the ground held back from adapting.

    Returns:
        A row for each, with ``sam`` (degrees), ``ergas`` and ``q2n``: means over the blocks, of
        pixels with data.
    """
    rows: dict[str, list[dict[str, float]]] = {}
    for block, held in zip(blocks.blocks, blocks.held_back(), strict=True):
        width = held.shape[1]
        if not held.mask.any():
            continue
        seen = block.crop(slice(None), slice(max(0, block.shape[1] - width - AROUND), None))
        images = {name: fuse(model, seen) for name, model in models.items()}
        images |= {method.title: method(block) for method in methods}
        for name, image in images.items():
            found = metrics.evaluate(held, image[..., -width:], masked=True)
            rows.setdefault(name, []).append(found)
    table = {name: pd.DataFrame(found).mean() for name, found in rows.items()}
    return pd.DataFrame(table).T.reindex(columns=list(JUDGED))


def ahead(table: pd.DataFrame, name: str) -> list[str]:
    """Which others of a table are better than one, in most of its metrics.

    Example:
        >>> ahead(pd.DataFrame({"sam": {"a": 2.0, "b": 3.0}}), "b")
        ['a']
    """
    signs = [METRICS[metric][1] for metric in table.columns]
    better = (table - table.loc[name]).mul(signs) > 0
    return [*table.index[better.sum(axis=1) > table.shape[1] / 2]]
