"""Archives: every scene is fused as alone, whatever becomes of the processes that work on it."""

import csv
import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from dcfnet import WV3, DataError
from dcfnet.cli import main
from dcfnet.fusion.archive import fuse_archive, read_jobs
from dcfnet.fusion.files import fuse_files
from tests.support.rasters import write_tif
from tests.support.tiles import Local

pytest.importorskip("distributed", reason="the extra archive is not installed")

SETTINGS = {"tile": 32, "overlap": 0, "device": "cpu"}


def fuse(job, on_row=None):
    cut = {"strips": job.strips, "strip": job.strip}
    fuse_files(Local(), job.ms, job.pan, job.out, WV3, on_row=on_row, **cut, **SETTINGS)
    return {"bands": 8}


def dying(which, job):
    """As `fuse`, but for each result named, or strip of it, the first process dies after a row."""
    name = f"{Path(job.out).name} {job.strip}"
    rows = Path(job.out).parent.parent / f"rows of {name}"

    def on_row(number, _):
        first = not rows.exists()
        with rows.open("a") as file:
            file.write(f"{number} ")
        if first and name in which:
            os.kill(os.getpid(), signal.SIGKILL)

    return fuse(job, on_row)


@pytest.fixture(scope="module")
def cluster():
    """Two processes, which a task may end twice."""
    import dask
    from distributed import LocalCluster

    given = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "memory_limit": 0}
    with dask.config.set({"distributed.scheduler.allowed-failures": 2}), LocalCluster(**given) as c:
        yield c.scheduler_address


@pytest.fixture
def archive(tmp_path, scene):
    """A list of scenes that all differ, the last of them in strips."""

    def archive(number, strips=""):
        rows = []
        for i in range(number):
            part = scene.crop(slice(8 * i, 8 * i + 32), slice(16, 32))
            write_tif(tmp_path / f"ms{i}.tif", part.ms, 1.2)
            write_tif(tmp_path / f"pan{i}.tif", part.pan[None], 0.3)
            cut = strips if i == number - 1 else ""
            rows.append(f"ms{i}.tif,pan{i}.tif,out/{i}.tif,{cut}")
        path = tmp_path / "scenes.csv"
        path.write_text("\n".join(["ms,pan,out,strips", *rows]))
        return path

    return archive


@pytest.mark.slow
def test_killed_workers_lose_nothing(archive, tmp_path, cluster):
    """A scene and a strip go on in another process, and the files are those of one process."""
    jobs = read_jobs(archive(3, strips=2), "wv3")
    task = partial(dying, ["1.tif None", "2.tif 1"])
    report = fuse_archive(task, jobs, tmp_path / "report.csv", scheduler=cluster)
    assert [*report["state"]] == ["fused"] * 3
    rows = {path.name: path.read_text() for path in tmp_path.glob("rows of *")}
    assert rows == {
        "rows of 0.tif None": "1 2 3 4 ",
        "rows of 1.tif None": "1 2 3 4 ",
        "rows of 2.tif 0": "1 2 ",
        "rows of 2.tif 1": "1 2 ",
    }
    for job in jobs:
        alone = fuse_files(Local(), job.ms, job.pan, tmp_path / "alone.tif", WV3, overwrite=True,
                           **SETTINGS)  # fmt: skip
        assert Path(job.out).read_bytes() == alone.read_bytes()
    assert not [*(tmp_path / "out").glob(".*")]


@pytest.mark.slow
def test_the_report_says_how_each_scene_fared_and_a_second_call_does_the_rest(
    archive, tmp_path, cluster
):
    jobs = read_jobs(archive(3, strips=9), "wv3")
    truth = (tmp_path / "pan1.tif").read_bytes()
    (tmp_path / "pan1.tif").write_bytes(b"no raster")
    path = tmp_path / "report.csv"
    report = fuse_archive(fuse, jobs, path, scheduler=cluster)
    assert [*report["state"]] == ["fused", "refused", "refused"]
    assert "pan1.tif" in report["reason"][1]
    assert "at most 4 strips" in report["reason"][2]
    assert [*report["bands"].dropna()] == [8]
    assert report["seconds"].between(0, 60).all()
    with path.open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == [*report["state"]]

    (tmp_path / "pan1.tif").write_bytes(truth)
    made = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "out").iterdir()}
    jobs = read_jobs(archive(3, strips=3), "wv3")
    again = fuse_archive(fuse, jobs, path, scheduler=cluster)
    assert [*again["state"]] == ["fused"] * 3
    assert again["seconds"][0] == report["seconds"][0]
    for name, when in made.items():
        assert (tmp_path / "out" / name).stat().st_mtime_ns == when
    assert [*fuse_archive(fuse, jobs, path)["state"]] == ["fused"] * 3


@pytest.mark.slow
def test_a_scene_that_ends_every_process_is_given_up(archive, tmp_path, cluster):
    from tests.support.deadly import deadly

    jobs = read_jobs(archive(1), "wv3")
    report = fuse_archive(deadly, jobs, tmp_path / "report.csv", scheduler=cluster)
    assert [*report["state"]] == ["lost"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ms,pan\na,b", "no out"),
        ("ms,pan,out\n", "lists no scene"),
        ("ms,pan,out\na,,c", "line 2, names no pan"),
        ("ms,pan,out\na,b,c\nd,e,c", "result of two scenes"),
        ("ms,pan,out,sensor\na,b,c,wv9", "unknown sensor 'wv9'"),
        ("ms,pan,out,strips\na,b,c,0", "line 2: strips are a number from 1 on, got '0'"),
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
        fuse_archive(fuse, jobs, tmp_path / "r.csv", scheduler="tcp://127.0.0.1:9")


def test_a_file_that_is_no_report_stays(archive, tmp_path):
    jobs = read_jobs(archive(1), "wv3")
    path = tmp_path / "notes.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no report"):
        fuse_archive(fuse, jobs, path)
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


def test_a_scene_in_strips_is_not_adapted(archive, capsys):
    given = ["--list", str(archive(1, strips=2)), "--sensor", "wv3", "--adapt"]
    assert main(["fuse", *given]) == 2
    assert "dcfnet adapt" in capsys.readouterr().err


def test_without_dask_it_is_said_what_to_install(archive, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DataError, match=r"pip install 'dcfnet\[archive\]'"):
        fuse_archive(fuse, read_jobs(archive(1), "wv3"), tmp_path / "report.csv")
