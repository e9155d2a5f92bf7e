"""Seconds and memory of whole scenes, from files to a file.

    python -m tests.benchmarks.bench_scene [--network dcfnet] [--precision fp32] [--json FILE]
    python -m tests.benchmarks.bench_scene --synthetic 20000 --network narrow-whole-0

Fuses the Longmont scene once, or a scene of so many PAN pixels a side, made for it from simulated
ground. Memory is the peak above that after the import of everything.
"""

import itertools
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine
from rasterio.windows import Window

from dcfnet.fusion.files import fuse_files
from dcfnet.fusion.tiled import plan_tiles, read_tile
from dcfnet.fusion.tiles import OVERLAP, TILE
from dcfnet.imagery.catalogue import longmont_files
from dcfnet.imagery.scene import Scene
from dcfnet.imagery.sensors import WV3
from dcfnet.imagery.simulated.camera import simulate_scene
from dcfnet.imagery.source import SceneSource
from dcfnet.imagery.tensors import as_tensor
from dcfnet.networks import PansharpeningNetwork, load_trained
from tests.benchmarks.report import peak, run


def made_up(folder: Path, size: int) -> list[Path]:
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


def plainly(
    model: PansharpeningNetwork, scene: Scene, device: torch.device | str = "cpu"
) -> Callable[[], None]:
    """One tile after the other, read and interpolated, through a network as it is."""
    source = SceneSource(scene)
    places = [*itertools.product(*plan_tiles(source, TILE, OVERLAP))]

    def passes() -> None:
        with torch.no_grad():
            for place in places:
                ms, lms, pan, _ = read_tile(source, *place)
                images = (as_tensor(x[None], scene.sensor, device) for x in (pan[None], ms, lms))
                model(*images).cpu()

    return passes


def measure(network: str = "dcfnet", synthetic: int = 0, precision: str = "fp32") -> dict:
    """Seconds and memory of a whole scene from files to a file."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if synthetic:
            # In a process of its own, so that its memory does not count.
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                files, sensor = pool.submit(made_up, folder, synthetic).result(), WV3
        else:
            *files, sensor = longmont_files()
        model = load_trained(network)
        imported = peak()
        start = time.perf_counter()
        out = fuse_files(
            model, *files, folder / "out.tif", sensor, device="cpu", precision=precision
        )
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


if __name__ == "__main__":
    run(measure)
