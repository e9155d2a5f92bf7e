"""A scene of 20,000 x 20,000 pixels with DCFNet at paper width, for as long as there is time.

    python -m tests.benchmarks.large [--minutes 60] [--size 20000] [--json FILE]

Rows of tiles are fused from files to the work file until the time is over; then the work is
interrupted as by Ctrl+C. What is written is what was measured, beside each row the peak of memory
up to its end above that after the import; ``extrapolated_hours`` alone is an estimate, all rows at
the median rate.
"""

import itertools
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from dcfnet.fusion.files import fuse_files
from dcfnet.imagery.sensors import WV3
from dcfnet.networks import load_trained
from tests.benchmarks.bench_scene import made_up
from tests.benchmarks.report import peak, run


def measure(
    size: int = 20_000, minutes: float = 60.0, network: str = "dcfnet", precision: str = "fp32"
) -> dict:
    """Seconds and memory of each row of tiles."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        # In a process of its own, so that its memory does not count.
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            files = pool.submit(made_up, folder, size).result()
        model, imported = load_trained(network), peak()
        began = time.monotonic()
        rows: list[tuple[float, float]] = []
        total = 0

        def on_row(_: int, number: int) -> None:
            nonlocal total
            total = number
            rows.append((time.monotonic() - began, peak() - imported))
            if time.monotonic() - began > 60 * minutes:
                raise KeyboardInterrupt

        try:
            fuse_files(
                model, *files, folder / "out.tif", WV3, device="cpu", precision=precision,
                on_row=on_row,
            )  # fmt: skip
        except KeyboardInterrupt:
            if not rows:
                raise
    ends = [0.0, *(seconds for seconds, _ in rows)]
    row = statistics.median(b - a for a, b in itertools.pairwise(ends))
    return {
        "network": network,
        "size": [size, size],
        "precision": precision,
        "threads": torch.get_num_threads(),
        "rows_of_tiles": total,
        "rows_done": len(rows),
        "measured_minutes": round(ends[-1] / 60, 1),
        "median_seconds_per_row": round(row, 2),
        "peak_gib_above_import_by_row": [round(memory, 3) for _, memory in rows],
        "extrapolated_hours": round(row * total / 3600, 2),
    }


if __name__ == "__main__":
    run(measure)
