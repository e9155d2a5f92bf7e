"""An archive whose machines break: is anything lost, and does anything come out otherwise?

    python -m tests.benchmarks.bench_archive [--scenes 24] [--workers 3] [--times 10] [--json FILE]

Each time, pieces of the Longmont scene, every fourth in two strips, are fused by FusionNet as tasks
of Dask, and one of the processes, drawn by chance, is killed at a moment drawn by chance while they
work. The results are compared, byte for byte, with those of one process. Turns that the JSON file
holds already, of as many scenes and workers, are not repeated.
"""

import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from json import loads
from pathlib import Path
from threading import Thread

import torch
from distributed import LocalCluster

from dcfnet.fusion.archive import Job, fuse_archive
from dcfnet.fusion.files import fuse_files
from dcfnet.imagery.catalogue import load_scene
from dcfnet.imagery.sensors import WV3
from dcfnet.networks import load_trained
from tests.benchmarks.report import run
from tests.support.rasters import write_pair

SIDE = 64
"""Of a scene, in MS pixels: four rows of tiles of 64 PAN pixels and their overlap."""


def fuse(job: Job) -> dict[str, float]:
    """The task: as the command does it, in a process of one thread."""
    torch.set_num_threads(1)
    fuse_files(
        load_trained("fusionnet"), job.ms, job.pan, job.out, WV3, tile=96, device="cpu",
        strips=job.strips, strip=job.strip,
    )  # fmt: skip
    return {"process": os.getpid()}


def pieces(folder: Path, number: int) -> list[tuple[str, str]]:
    """Files of MS and PAN, all of other ground."""
    scene, names = load_scene("wv3-longmont"), []
    for i in range(number):
        rows, cols = (slice(start, start + SIDE) for start in (16 + 100 * (i // 8), 90 * (i % 8)))
        part = scene.crop(rows, cols)
        ms, pan = write_pair(folder / f"{i}", part.ms, part.pan)
        names.append((str(ms), str(pan)))
    return names


def turn(number: int, alone: list[Job], folder: Path, workers: int) -> dict:
    """One time: what came out, and whether a process died for it."""
    chance, home = random.Random(number), folder / str(number)
    jobs = [
        Job(job.ms, job.pan, f"{home}/{i}.tif", "wv3", 2 if i % 4 == 3 else 1)
        for i, job in enumerate(alone)
    ]
    # The moment: when so many results are there, and a part of a second later.
    results, later = chance.randrange(len(jobs) - workers), chance.uniform(0, 0.5)
    killed: list[int] = []
    with LocalCluster(
        n_workers=workers, threads_per_worker=1, dashboard_address=None, memory_limit=0
    ) as cluster:

        def kill() -> None:
            while len([*home.glob("*.tif")]) < results or not [*home.glob(".*work*")]:
                time.sleep(0.01)
            time.sleep(later)
            pid = chance.choice([*cluster.workers.values()]).pid
            os.kill(pid, signal.SIGKILL)
            killed.append(len([*home.glob("*.tif")]))

        Thread(target=kill, daemon=True).start()
        began = time.monotonic()
        table = fuse_archive(
            fuse, jobs, folder / f"{number}.csv", scheduler=cluster.scheduler_address
        )
        seconds = time.monotonic() - began
    same = [
        Path(job.out).read_bytes() == Path(other.out).read_bytes()
        for job, other in zip(jobs, alone, strict=True)
    ]
    return {
        "results_when_killed": killed[0] if killed else None,
        "fused": int((table["state"] == "fused").sum()),
        "equal": sum(same),
        "half_written": len([*home.glob(".*")]),
        "processes": int(table["process"].nunique()),
        "seconds": round(seconds, 1),
    }


def measure(
    scenes: int = 24, workers: int = 3, times: int = 10, json: Path | None = None
) -> Iterator[dict]:
    """The result after each time."""
    asked = {"scenes": scenes, "workers": workers}
    turns = []
    if json and json.exists():
        before = loads(json.read_text())
        turns = before["turns"] if asked.items() <= before.items() else []
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        files = pieces(folder, scenes)
        alone = [Job(*pair, f"{folder}/alone/{i}.tif", "wv3") for i, pair in enumerate(files)]
        began = time.monotonic()
        for job in alone:
            fuse(job)
        seconds_alone = round(time.monotonic() - began, 1)
        while len(turns) < times:
            turns.append(turn(len(turns), alone, folder, workers))
            yield asked | {
                "seconds_alone": seconds_alone,
                "median_seconds": statistics.median(one["seconds"] for one in turns),
                "turns": turns,
            }


if __name__ == "__main__":
    run(measure)
