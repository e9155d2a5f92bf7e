"""Claim 10: what the result loses without what the transfers between branches carry."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np

from dcfnet.imagery.tensors import as_digital_numbers
from dcfnet.inside.claims.rule import Numbers
from dcfnet.inside.claims.tail import after_branches, after_stage2, in_chunks
from dcfnet.inside.claims.trained import BRANCHES, Found, Trained, ergas
from dcfnet.inside.switches import closed, switched_off
from dcfnet.measure import metrics
from dcfnet.measure.tables import OF_THE_CLAIMS
from dcfnet.networks.dcfnet import REMOVABLE

WAYS = {"": closed, "set to 0": switched_off}
"""How a transfer is taken away, by reading."""

TRANSFERS = tuple(name for name in REMOVABLE if ".transfers." in name)
"""All transfers between branches."""


def errors(each: Trained, without: Sequence[str] = ()) -> Numbers:
    """ERGAS of each patch, (B,), as trained or with parts switched off.

    Args:
        each: The network and its patches.
        without: Names of parts, see `switched_off`.
    """
    with switched_off(each.fast, without):
        return ergas(in_chunks(each.fast, *each.patches.inputs), each.patches)


def results(each: Trained) -> Found:
    """SAM (degrees), ERGAS and Q2n of each patch as trained, by the name of the metric."""
    fused = in_chunks(each.fast, *each.patches.inputs)
    sensor = each.patches.sensor
    made, truth = (as_digital_numbers(x, sensor) for x in (fused, each.patches.gt))
    judges = {metric: metrics.judges(sensor)[metric] for metric in OF_THE_CLAIMS}
    pairs = list(zip(truth, made, strict=True))
    return {(m, "as trained"): np.array([of(*pair) for pair in pairs]) for m, of in judges.items()}


def cooperation(each: Trained, names: Sequence[str] = TRANSFERS) -> Found:
    """Claim 10, used: the trained network's result is worse without what a transfer carries.

    The effect is ERGAS with a transfer `closed`, so that it hands on its means alone, minus ERGAS
    with it. What it is without the means as well, switched off, is not identifiable (`shifted`
    makes a network of the same output that needs them more) and stands beside.

    Args:
        each: The network and its patches.
        names: The transfers, each closed by itself.
    """
    stage2 = [each.activations[f"stage2.branches.{i}"] for i in range(2)]
    stage3 = [each.activations[name] for name in BRANCHES]
    whole = ergas(after_branches(each, stage3), each.patches)
    found = {}
    for (reading, without), name in itertools.product(WAYS.items(), names):
        with without(each.fast, name):
            fused = (
                after_branches(each, stage3)
                if name.startswith("stage3.")
                else after_stage2(each, stage2, each.activations["pcft2"])
            )
        stage, source, target = re.findall(r"\d", name)
        what = f"stage {stage}, T{target}{source}"
        found[what, reading] = ergas(fused, each.patches) - whole
    return found
