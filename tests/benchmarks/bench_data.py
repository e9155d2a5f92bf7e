"""Reading PanCollection-sized files: patch by patch against the whole file at once.

    python -m tests.benchmarks.bench_data [--patches 2000] [--json FILE]

Makes a file of random patches in PanCollection's layout (float64, uncompressed; PanCollection has
9714 of them), then shuffles through it twice, each way in a process of its own, so that its peak
memory can be told apart: with ``PatchDataset``, and by reading everything into float32 first, as is
often done.
"""

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from dcfnet.imagery.pancollection import PatchDataset
from dcfnet.imagery.sensors import WV3
from tests.benchmarks.report import peak, run

SHAPES = {"gt": (8, 64, 64), "ms": (8, 16, 16), "lms": (8, 64, 64), "pan": (1, 64, 64)}


def make_file(path: Path, patches: int) -> None:
    """A file of random digital numbers, written in slices."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for key, shape in SHAPES.items():
            values = file.create_dataset(key, (patches, *shape), np.float64)
            for i in tqdm(range(0, patches, 64), desc=f"making {key}", leave=False):
                n = min(64, patches - i)
                values[i : i + n] = rng.integers(1, 2048, (n, *shape))


def shuffle(path: Path, way: str) -> dict[str, float]:
    """Once through a file, in the order of chance."""
    imported, start = peak(), time.perf_counter()
    if way == "patch by patch":
        data = PatchDataset(path, WV3)
    else:
        with h5py.File(path) as file:
            whole = {key: torch.from_numpy(file[key][:].astype("float32") / 2047) for key in file}
        data = [{key: values[i] for key, values in whole.items()} for i in range(len(whole["gt"]))]
    chance = torch.Generator().manual_seed(0)
    ends = []
    for _ in DataLoader(data, batch_size=32, shuffle=True, generator=chance):
        ends.append(time.perf_counter() - start)
    return {
        "patches_per_second": len(data) / ends[-1],
        "first_batch_seconds": ends[0],
        "peak_mib_above_import": 1024 * (peak() - imported),
    }


def alone(path: Path, way: str) -> dict[str, float]:
    """The same in a fresh process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(shuffle, path, way).result()


def measure(patches: int = 2000) -> dict:
    """Both ways, and how many times as fast the first is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.h5"
        make_file(path, patches)
        results = {way: alone(path, way) for way in ("patch by patch", "whole file first")}
    lazy, whole = (each["patches_per_second"] for each in results.values())
    return {"patches": patches, "ratio": lazy / whole, **results}


if __name__ == "__main__":
    run(measure)
