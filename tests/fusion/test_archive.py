"""Archives: every scene is fused as alone, whatever becomes of the processes that work on it."""

import csv
import os
import random
import signal
import sys
import threading
import time

import numpy as np
import pytest
import rasterio

from dcfnet import WV3, DataError
from dcfnet.cli import main
from dcfnet.fusion.archive import fuse_archive, read_jobs
from dcfnet.fusion.files import fuse_files
from dcfnet.imagery.simulated.camera import simulate_scene
from tests.support.rasters import write_tif
from tests.support.tiles import Local

pytest.importorskip("distributed", reason="the extra archive is not installed")

SETTINGS = {"tile": 32, "overlap": 0, "device": "cpu"}


class Slow(Local):
    """Takes a while over each tile, so that it can be interrupted."""

    def forward(self, pan, ms, lms):
        time.sleep(0.02)
        return super().forward(pan, ms, lms)


def slow(job):
    fuse_files(Slow(), job.ms, job.pan, job.out, WV3, **SETTINGS)
    return {"bands": 8}


def deadly(job):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def archive(tmp_path):
    """A list of scenes that all differ."""

    def archive(number):
        scene = simulate_scene(128, seed=3)
        rows = []
        for i in range(number):
            part = scene.crop(slice(4 * i, 4 * i + 24), slice(16, 48))
            write_tif(tmp_path / f"ms{i}.tif", part.ms, 1.2)
            write_tif(tmp_path / f"pan{i}.tif", part.pan[None], 0.3)
            rows.append(f"ms{i}.tif,pan{i}.tif,out/{i}.tif")
        path = tmp_path / "scenes.csv"
        path.write_text("\n".join(["ms,pan,out", *rows]))
        return path

    return archive


def alone(job, path):
    fuse_files(Local(), job.ms, job.pan, path, WV3, **SETTINGS)
    with rasterio.open(path) as file:
        return file.read()


def images(jobs):
    for job in jobs:
        with rasterio.open(job.out) as file:
            yield file.read()


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(archive, tmp_path):
    from distributed import LocalCluster

    jobs = read_jobs(archive(8), "wv3")
    expected = [alone(job, tmp_path / f"alone{i}.tif") for i, job in enumerate(jobs)]
    with LocalCluster(
        n_workers=3, threads_per_worker=1, dashboard_address=None, memory_limit=0
    ) as cluster:
        killed = []

        def kill():
            worker = random.Random(0).choice(list(cluster.workers.values()))
            killed.append(worker.pid)
            os.kill(worker.pid, signal.SIGKILL)

        threading.Timer(1.0, kill).start()
        report = fuse_archive(
            slow, jobs, tmp_path / "report.csv", scheduler=cluster.scheduler_address
        )
    assert killed
    assert [*report["state"]] == ["fused"] * 8
    for image, other in zip(images(jobs), expected, strict=True):
        np.testing.assert_array_equal(image, other)
    assert not [*(tmp_path / "out").glob(".*")]


@pytest.mark.slow
def test_the_report_says_how_each_scene_fared_and_a_second_call_does_the_rest(archive, tmp_path):
    jobs = read_jobs(archive(4), "wv3")
    truth = (tmp_path / "pan1.tif").read_bytes()
    (tmp_path / "pan1.tif").write_bytes(b"no raster")
    blocked = tmp_path / "out"
    path = tmp_path / "report.csv"
    report = fuse_archive(slow, jobs, path, workers=2)
    assert [*report["state"]] == ["fused", "refused", "fused", "fused"]
    assert "pan1.tif" in report["reason"][1]
    assert [*report["bands"].dropna()] == [8, 8, 8]
    assert report["seconds"].between(0.05, 60).all()
    with path.open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == [*report["state"]]

    (tmp_path / "pan1.tif").write_bytes(truth)
    made = {file.name: file.stat().st_mtime_ns for file in blocked.iterdir()}
    again = fuse_archive(slow, jobs, path, workers=1)
    assert [*again["state"]] == ["fused"] * 4
    assert [*again["seconds"][[0, 2, 3]]] == [*report["seconds"][[0, 2, 3]]]
    for name, when in made.items():
        assert (blocked / name).stat().st_mtime_ns == when
    assert [*fuse_archive(slow, jobs, path)["state"]] == ["fused"] * 4


@pytest.mark.slow
def test_a_scene_that_ends_every_process_is_given_up(archive, tmp_path):
    jobs = read_jobs(archive(1), "wv3")
    report = fuse_archive(deadly, jobs, tmp_path / "report.csv", workers=1)
    assert [*report["state"]] == ["lost"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ms,pan\na,b", "no out"),
        ("ms,pan,out\n", "lists no scene"),
        ("ms,pan,out\na,,c", "line 2, names no pan"),
        ("ms,pan,out\na,b,c\nd,e,c", "result of two scenes"),
        ("ms,pan,out,sensor\na,b,c,wv9", "unknown sensor 'wv9'"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path, text, said):
    path = tmp_path / "scenes.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read_jobs(path, "wv3")


def test_names_are_seen_from_the_folder_of_the_list(tmp_path):
    path = tmp_path / "scenes.csv"
    path.write_text("ms,pan,out,sensor\na.tif,/vsizip/b.zip/b.tif,/c/c.tif,wv2\n")
    job, *_ = read_jobs(path)
    assert (job.ms, job.pan) == (str(tmp_path / "a.tif"), "/vsizip/b.zip/b.tif")
    assert (job.out, job.sensor) == ("/c/c.tif", "wv2")


def test_a_scheduler_that_is_not_there_is_named(archive, tmp_path, monkeypatch):
    import dask

    jobs = read_jobs(archive(1), "wv3")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(DataError, match="no scheduler answers at tcp://127.0.0.1:9"),
    ):
        fuse_archive(slow, jobs, tmp_path / "r.csv", scheduler="tcp://127.0.0.1:9")


def test_a_file_that_is_no_report_stays(archive, tmp_path):
    jobs = read_jobs(archive(1), "wv3")
    path = tmp_path / "notes.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no report"):
        fuse_archive(slow, jobs, path)
    assert path.read_text() == "a,b\n1,2\n"


@pytest.mark.slow
def test_the_command_fuses_a_list_and_tells_what_it_could_not(archive, tmp_path, capsys):
    scenes = archive(2)
    (tmp_path / "pan1.tif").write_bytes(b"no raster")
    given = ["--sensor", "wv3", "--method", "exp", "--workers", "1"]
    assert main(["fuse", "--list", str(scenes), *given]) == 1
    said = capsys.readouterr()
    assert said.out.strip() == str(tmp_path / "scenes-report.csv")
    assert said.err.endswith(f"1 of 2 scenes are not fused; {said.out.strip()} says why\n")
    with (tmp_path / "scenes-report.csv").open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["fused", "refused"]
    assert (tmp_path / "out" / "0.tif").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["out.tif"], "--list names the scenes"),
        (["--ms", "a.tif"], "--list names the scenes"),
        (["--overwrite"], "--list leaves results alone"),
    ],
)
def test_what_does_not_go_with_a_list_is_refused(archive, capsys, more, said):
    assert main(["fuse", "--list", str(archive(1)), "--sensor", "wv3", *more]) == 2
    assert said in capsys.readouterr().err


def test_without_dask_it_is_said_what_to_install(archive, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DataError, match=r"pip install 'dcfnet\[archive\]'"):
        fuse_archive(slow, read_jobs(archive(1), "wv3"), tmp_path / "report.csv")
