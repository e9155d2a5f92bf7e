"""One training step of each network through `fit`, in turns, for the costs of chapter 8.

python -m tests.benchmarks.bench_steps [--batch 32] [--repeats 5] [--json FILE]
"""

import torch

from dcfnet.networks import NETWORKS
from dcfnet.training.machine import gains_from_bf16, kept_memory
from tests.benchmarks.bench_training import fit_step, wait
from tests.benchmarks.report import by_turns, medians, run


def measure(batch: int = 32, repeats: int = 5) -> dict:
    """Median seconds of a step of each network, in the precision that suits the device."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = "bf16" if gains_from_bf16(device) else "fp32"
    steps = {
        network.title: fit_step(batch, precision, network=n) for n, network in NETWORKS.items()
    }
    steps["DCFNet, quarter width"] = fit_step(batch, precision, width=0.25)
    with kept_memory():
        by_turns(steps, 1, lambda: wait(device))  # to warm up
        seconds, _ = by_turns(steps, repeats, lambda: wait(device))
    return {"batch": batch, "precision": precision, "seconds_per_step": medians(seconds)}


if __name__ == "__main__":
    run(measure)
