"""What networks trained with and without exposure do on bright ground, for the chapter on training.

    python -m tests.benchmarks.exposure > data/runs/exposure.csv

Each is measured on the test region of its fold, and its error apart on pixels brighter than half
of the sensor's range.
"""

import sys
from functools import cache

import numpy as np
import pandas as pd

import dcfnet
from dcfnet.inside import claims
from dcfnet.measure.metrics import evaluate
from dcfnet.networks import NETWORKS

NARROW, FULL = claims.TITLES["quarter width"], NETWORKS["fusionnet"].title
RUNS = {
    **{f"narrow-no-exposure-{k}": (NARROW, f"seed {k}", "as they are") for k in range(3)},
    **{f"narrow-whole-{k}": (NARROW, f"seed {k}", "brightened") for k in range(3)},
    **{f"fusionnet-no-exposure/fold{k}": (FULL, f"fold {k}", "as they are") for k in range(3)},
    **{f"fusionnet/fold{k}": (FULL, f"fold {k}", "brightened") for k in range(3)},
    "fusionnet-float32/fold0": (FULL, "fold 0", "brightened, float32"),
}
"""Network, training and patches of each run."""


@cache
def region(fold):
    """The test region of a fold of Longmont."""
    sample = dcfnet.reduce_resolution(dcfnet.load_scene("wv3-longmont"))
    return sample.region("test", fold)


def row(run):
    """What one run does on the test region of its fold."""
    test = region(int(run[-1]) if "fold" in run else 0)
    fused = dcfnet.fuse(dcfnet.load_trained(run).fused_for_inference(), test)
    found, error = evaluate(test, fused), ((fused - test.gt) ** 2).mean(axis=0)
    bright = test.pan > 0.5 * test.sensor.max_value
    return {
        "SAM (°)": round(found["sam"], 3),
        "ERGAS": round(found["ergas"], 3),
        "Q8": round(found["q2n"], 4),
        "bright pixels (%)": round(100 * bright.mean(), 2),
        "error, bright (DN)": round(np.sqrt(error[bright].mean()), 1),
        "error, others (DN)": round(np.sqrt(error[~bright].mean()), 1),
    }


def table():
    """A row for each run, by network and training."""
    said = ["network", "training", "patches"]
    rows = [
        dict(zip(said, what, strict=True)) | {"run": run} | row(run) for run, what in RUNS.items()
    ]
    return pd.DataFrame(rows).sort_values(said)


if __name__ == "__main__":
    table().to_csv(sys.stdout, index=False)
