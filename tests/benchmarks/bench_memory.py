"""Memory of a training step, by network and batch.

    python -m tests.benchmarks.bench_memory [--batches 8 32] [--precision fp32] [--json FILE]

Each is taken in a process of its own, on the processor: the peak after three steps of `fit`, above
that after the import of everything. Patches are 64 x 64; a training reads them one at a time, so
what lies beside the step is one batch.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pandas as pd
from tqdm import tqdm

from dcfnet.networks import NETWORKS
from dcfnet.training.machine import kept_memory
from tests.benchmarks.bench_training import fit_step
from tests.benchmarks.report import peak, run


def peak_of_steps(network: str, batch: int, precision: str, options: dict) -> float:
    """GiB above the import; meant for a process that has done nothing else."""
    before = peak()
    step = fit_step(batch, precision, network=network, **options)
    with kept_memory():
        for _ in range(3):
            step()
    return round(peak() - before, 2)


def measure(batches: tuple[int, ...] = (8, 32), precision: str = "fp32") -> dict:
    """GiB by network and batch."""
    kinds = {each.title: (name, {}) for name, each in NETWORKS.items()}
    kinds["DCFNet, quarter width"] = ("dcfnet", {"width": 0.25})
    found: dict[str, dict[int, float]] = {}
    for title, (network, options) in tqdm(kinds.items(), desc="networks", leave=False):
        for batch in batches:
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                of = pool.submit(peak_of_steps, network, batch, precision, options)
                found.setdefault(title, {})[batch] = of.result()
    print(pd.DataFrame(found).T.to_string())
    return {"precision": precision, "gib_above_import": found}


if __name__ == "__main__":
    run(measure)
