"""Reading PanCollection-sized files: patch by patch against the whole file at once.

Makes a file of random patches in PanCollection's layout (float64, uncompressed), then shuffles
through it twice, each way in a process of its own, so that its peak memory can be told apart:
with ``PatchDataset``, and by reading everything into float32 first, as is often done.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from tests.benchmarks.report import parser, report

SHAPES = {"gt": (8, 64, 64), "ms": (8, 16, 16), "lms": (8, 64, 64), "pan": (1, 64, 64)}

# Run in a process of its own; prints one line of JSON.
_WORK = """
import json, resource, sys, time
import h5py, torch
from torch.utils.data import DataLoader
from dcfnet import WV3
from dcfnet.imagery.pancollection import PatchDataset

def peak():
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 2**20 if sys.platform == "darwin" else size / 2**10

way, path = sys.argv[1:]
imported, start = peak(), time.perf_counter()
if way == "patch by patch":
    data = PatchDataset(path, WV3)
else:
    with h5py.File(path) as file:
        whole = {key: torch.from_numpy(file[key][:].astype("float32") / 2047) for key in file}
    data = [{key: values[i] for key, values in whole.items()} for i in range(len(whole["gt"]))]
loader = DataLoader(data, batch_size=32, shuffle=True, generator=torch.Generator().manual_seed(0))
first = None
for batch in loader:
    first = first or time.perf_counter() - start
seconds = time.perf_counter() - start
print(json.dumps({
    "patches_per_second": len(data) / seconds,
    "first_batch_seconds": first,
    "peak_mib_above_import": peak() - imported,
}))
"""


def make_file(path: Path, patches: int) -> None:
    """A file of random digital numbers, written in slices."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for key, shape in SHAPES.items():
            values = file.create_dataset(key, (patches, *shape), np.float64)
            for i in tqdm(range(0, patches, 64), desc=f"making {key}", leave=False):
                n = min(64, patches - i)
                values[i : i + n] = rng.integers(1, 2048, (n, *shape))


def measure(path: Path, way: str) -> dict[str, float]:
    """Shuffle once through a file in a fresh process."""
    output = subprocess.run(
        [sys.executable, "-c", _WORK, way, str(path)], capture_output=True, text=True, check=True
    )
    return json.loads(output.stdout.splitlines()[-1])


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--patches", type=int, default=2000, help="PanCollection has 9714")
    args = made.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.h5"
        make_file(path, args.patches)
        size = path.stat().st_size / 2**30
        results = {way: measure(path, way) for way in ("patch by patch", "whole file first")}
    print(f"{args.patches} patches, {size:.2f} GiB, batches of 32, shuffled")
    print(f"{'':18s} patches/s   first batch (s)   peak above import (MiB)")
    for way, r in results.items():
        print(
            f"{way:18s} {r['patches_per_second']:9.0f} {r['first_batch_seconds']:17.2f} "
            f"{r['peak_mib_above_import']:25.0f}"
        )
    lazy, whole = results.values()
    ratio = lazy["patches_per_second"] / whole["patches_per_second"]
    print(f"patch by patch / whole file first: {ratio:.2f} in speed")
    report({"patches": args.patches, "ratio": ratio, **results}, args.json)


if __name__ == "__main__":
    main()
