"""Seconds and memory of whole scenes, from files to a file.

    python -m tests.benchmarks.bench_scene [--network dcfnet] [--precision fp32] [--json FILE]
    python -m tests.benchmarks.bench_scene --synthetic 20000 --network narrow-whole-0

Fuses the Longmont scene once, or a scene of so many PAN pixels a side, made for it from simulated
ground. Memory is the peak above that after the import of everything.
"""

import itertools
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine
from rasterio.windows import Window

from dcfnet.fusion.files import fuse_files
from dcfnet.imagery.catalogue import longmont_files
from dcfnet.imagery.sensors import WV3
from dcfnet.imagery.simulated.camera import simulate_scene
from dcfnet.networks import load_trained
from tests.benchmarks.report import parser, report


def peak() -> float:
    """The most memory that this process has held so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def synthetic(folder: Path, size: int) -> list[Path]:
    """MS and PAN files of one simulated town, over and over."""
    town = simulate_scene()
    ms, pan = (np.concatenate([x, x[..., ::-1]], -1) for x in (town.ms, town.pan[None]))
    ms, pan = (np.concatenate([x, x[:, ::-1]], -2) for x in (ms, pan))
    files = []
    for name, image, side in (("ms", ms, size // 4), ("pan", pan, size)):
        files.append(folder / f"{name}.tif")
        bands, h, w = image.shape
        with rasterio.open(
            files[-1], "w", driver="GTiff", width=side, height=side, count=bands, dtype="uint16",
            crs="EPSG:32613", transform=Affine.scale(0.3 * size / side), tiled=True,
        ) as file:  # fmt: skip
            for top, left in itertools.product(range(0, side, h), range(0, side, w)):
                part = image[:, : side - top, : side - left]
                window = Window(left, top, part.shape[2], part.shape[1])
                file.write(part, window=window)
    return files


def whole_scene(network: str, size: int, precision: str) -> dict:
    """Seconds and memory of a whole scene from files to a file."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if size:
            # In a process of its own, so that its memory does not count.
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                files, sensor = pool.submit(synthetic, folder, size).result(), WV3
        else:
            *files, sensor = longmont_files()
        model = load_trained(network)
        imported = peak()
        start = time.perf_counter()
        out = fuse_files(
            model, *files, folder / "out.tif", sensor, device="cpu", precision=precision,
            progress=True,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        with rasterio.open(out) as file:
            shape = list(file.shape)
        return {
            "network": network,
            "size": shape,
            "precision": precision,
            "threads": torch.get_num_threads(),
            "seconds": round(seconds, 1),
            "peak_gib_above_import": round(peak() - imported, 2),
            "output_gib": round(out.stat().st_size / 2**30, 2),
        }


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--network", default="dcfnet", help="a trained one (default: dcfnet)")
    made.add_argument("--synthetic", type=int, default=0, metavar="N", help="a scene of N x N")
    made.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    arguments = made.parse_args()
    result = whole_scene(arguments.network, arguments.synthetic, arguments.precision)
    report(result, arguments.json)


if __name__ == "__main__":
    main()
