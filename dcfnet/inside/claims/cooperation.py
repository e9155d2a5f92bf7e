"""Claim 10: what the result loses without the transfers between branches."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dcfnet.inside.claims.rule import Numbers
from dcfnet.inside.claims.tail import after_branches, after_stage2, in_chunks
from dcfnet.inside.claims.trained import BRANCHES, Found, Trained, ergas
from dcfnet.inside.switches import switched_off
from dcfnet.networks.dcfnet import REMOVABLE

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


def cooperation(each: Trained, names: Sequence[str] = TRANSFERS) -> Found:
    """Claim 10, used: without a transfer the trained network's result is worse.

    The effect is ERGAS with a transfer switched off, minus ERGAS with it. Its weight is not shared
    out among the others: the trained network never saw such shares.

    Args:
        each: The network and its patches.
        names: The transfers, each switched off by itself.
    """
    stage2 = [each.activations[f"stage2.branches.{i}"] for i in range(2)]
    stage3 = [each.activations[name] for name in BRANCHES]
    whole = ergas(after_branches(each, stage3), each.patches)
    found = {}
    for name in names:
        with switched_off(each.fast, name):
            fused = (
                after_branches(each, stage3)
                if name.startswith("stage3.")
                else after_stage2(each, stage2, each.activations["pcft2"])
            )
        stage, source, target = re.findall(r"\d", name)
        found[f"stage {stage}, T{target}{source}", ""] = ergas(fused, each.patches) - whole
    return found
