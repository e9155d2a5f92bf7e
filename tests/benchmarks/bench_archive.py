"""An archive whose machines break: is anything lost, and does anything come out otherwise?

    python -m tests.benchmarks.bench_archive [--scenes 24] [--workers 3] [--times 10] [--json FILE]

Each time, pieces of the Longmont scene are fused by FusionNet as tasks of Dask, and one of the
processes, drawn by chance, is killed at a moment drawn by chance. The results are compared, byte
for byte, with those of one process that fuses one piece after the other.
"""

import os
import random
import signal
import statistics
import tempfile
import time
from pathlib import Path
from threading import Timer

import torch
from distributed import LocalCluster

from dcfnet.fusion.archive import Job, fuse_archive
from dcfnet.fusion.files import fuse_files
from dcfnet.imagery.catalogue import load_scene
from dcfnet.imagery.geotiff import open_raster
from dcfnet.imagery.sensors import WV3
from dcfnet.networks import load_trained
from tests.benchmarks.report import parser, report

SIDE = 96


def fuse(job: Job) -> dict[str, float]:
    """The task: as the command does it, in a process of one thread."""
    torch.set_num_threads(1)
    fuse_files(
        load_trained("fusionnet"), job.ms, job.pan, job.out, WV3, tile=128, device="cpu",
        overwrite=True,
    )  # fmt: skip
    return {"process": os.getpid()}


def pieces(folder: Path, number: int) -> list[tuple[str, str]]:
    """Files of MS and PAN, all of other ground."""
    scene = load_scene("wv3-longmont")
    names = []
    for i in range(number):
        rows, cols = (slice(start, start + SIDE) for start in (16 + 120 * (i // 6), 120 * (i % 6)))
        part = scene.crop(rows, cols)
        paths = []
        for kind, image in (("ms", part.ms), ("pan", part.pan[None])):
            path = folder / f"{kind}{i}.tif"
            with open_raster(
                path, "w", driver="GTiff", count=image.shape[0], height=image.shape[1],
                width=image.shape[2], dtype=image.dtype,
            ) as file:  # fmt: skip
                file.write(image)
            paths.append(str(path))
        names.append((paths[0], paths[1]))
    return names


def _jobs(files: list[tuple[str, str]], folder: Path) -> list[Job]:
    return [Job(*pair, str(folder / f"{i}.tif"), "wv3") for i, pair in enumerate(files)]


def main() -> None:
    """Measures and reports."""
    options = parser(__doc__)
    options.add_argument("--scenes", type=int, default=24)
    options.add_argument("--workers", type=int, default=3)
    options.add_argument("--times", type=int, default=10)
    given = options.parse_args()
    chance = random.Random(0)
    found = []
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        files = pieces(folder, given.scenes)
        began = time.monotonic()
        alone = [
            Job(ms, pan, f"{folder}/alone/{i}.tif", "wv3") for i, (ms, pan) in enumerate(files)
        ]
        for job in alone:
            fuse(job)
        seconds_alone = time.monotonic() - began
        for turn in range(given.times):
            jobs = [
                Job(ms, pan, f"{folder}/{turn}/{i}.tif", "wv3") for i, (ms, pan) in enumerate(files)
            ]
            with LocalCluster(
                n_workers=given.workers,
                threads_per_worker=1,
                dashboard_address=None,
                memory_limit=0,
            ) as cluster:
                killed = chance.choice(list(cluster.workers.values())).pid
                after = chance.uniform(0, seconds_alone / min(given.workers, os.cpu_count() or 1))
                timer = Timer(after, os.kill, (killed, signal.SIGKILL))
                timer.start()
                began = time.monotonic()
                table = fuse_archive(
                    fuse, jobs, folder / f"{turn}.csv", scheduler=cluster.scheduler_address
                )
                seconds = time.monotonic() - began
                timer.cancel()
            same = [
                Path(job.out).read_bytes() == Path(other.out).read_bytes()
                for job, other in zip(jobs, alone, strict=True)
            ]
            left = [path.name for path in (folder / str(turn)).glob(".*")]
            found.append(
                {
                    "killed_after_seconds": round(after, 1),
                    "killed_at_work": after < seconds,
                    "fused": int((table["state"] == "fused").sum()),
                    "equal": sum(same),
                    "half_written": len(left),
                    "processes": int(table["process"].nunique()),
                    "seconds": round(seconds, 1),
                }
            )
            print(found[-1], flush=True)
    report(
        {
            "scenes": given.scenes,
            "workers": given.workers,
            "seconds_alone": round(seconds_alone, 1),
            "median_seconds": statistics.median(turn["seconds"] for turn in found),
            "turns": found,
        },
        given.json,
    )


if __name__ == "__main__":
    main()
