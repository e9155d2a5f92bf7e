"""The eleven claims of the supplement, each measured on trained networks and judged by one rule.

`measured` looks into a network and keeps what it finds beside the run: `features` for claims 4 to
6, `context` for 7 and 9, `maps` for 8 and 11, `cooperation` for 10. `committed` finds the runs that
are there, `findings` makes checks of what they hold, with `training` for claims 1 to 3, and `rule`
has the rule of all verdicts.

Reference:
    Supplement of X. Wu, T.-Z. Huang, L.-J. Deng and T.-J. Zhang, "Dynamic Cross Feature Fusion
    for Remote Sensing Pansharpening", ICCV 2021.
"""

from dcfnet.inside.claims.committed import (
    GROUPS,
    TITLES,
    agreement_of_maps,
    classical_results,
    difference_by_fold,
    known,
    pairs,
    results_by_fold,
    results_by_high_pass,
    results_by_seed,
    trainings,
    worse_without,
)
from dcfnet.inside.claims.cooperation import errors
from dcfnet.inside.claims.features import shifted
from dcfnet.inside.claims.findings import findings
from dcfnet.inside.claims.measured import Measured, measure, read_measured, without_ms
from dcfnet.inside.claims.rule import Check, Finding, chances, grid, listed
from dcfnet.inside.claims.trained import Trained, take_patches

__all__ = [
    "GROUPS",
    "TITLES",
    "Check",
    "Finding",
    "Measured",
    "Trained",
    "agreement_of_maps",
    "chances",
    "classical_results",
    "difference_by_fold",
    "errors",
    "findings",
    "grid",
    "known",
    "listed",
    "measure",
    "pairs",
    "read_measured",
    "results_by_fold",
    "results_by_high_pass",
    "results_by_seed",
    "shifted",
    "take_patches",
    "trainings",
    "without_ms",
    "worse_without",
]
