import os
import subprocess
import sys
import threading
from dataclasses import replace

import h5py
import numpy as np
import pytest
from filelock import FileLock

from dcfnet import WV3, cli
from dcfnet.imagery.building import build_data, data_file, write_h5
from dcfnet.imagery.pancollection import PatchDataset, check_h5
from dcfnet.imagery.patches import patch_windows


def test_at_full_resolution_the_file_has_no_truth(sample, tmp_path):
    write_h5(tmp_path / "full.h5", replace(sample, gt=None), patch_windows(sample, "test")[:2])
    check_h5(tmp_path / "full.h5")
    assert [*PatchDataset(tmp_path / "full.h5", WV3)[0]] == ["pan", "ms", "lms"]


@pytest.mark.slow
def test_a_full_disk_ends_the_command_with_one_line_and_leaves_nothing(tmp_path):
    """A real limit on file size, at which HDF5 by itself would crash the process."""
    code = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
from dcfnet import cli
from dcfnet.imagery import catalogue
town = catalogue.simulate_scene
catalogue.simulate_scene = lambda: town(256)  # smaller, and sooner there
sys.exit(cli.main(["data", "--scene", "simulated"]))
"""
    old = tmp_path / "simulated" / "train.h5"
    old.parent.mkdir()
    old.write_bytes(b"what was there before")
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "DCFNET_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    assert "could not write" in run.stderr and "free some space" in run.stderr
    assert old.read_bytes() == b"what was there before"
    assert [p.name for p in old.parent.iterdir()] == ["train.h5"]


def test_an_interruption_leaves_no_file_under_the_final_name(sample, tmp_path, monkeypatch):
    def interrupt(self, *args):
        raise KeyboardInterrupt

    monkeypatch.setattr(h5py.Dataset, "__setitem__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_h5(tmp_path / "a.h5", sample, patch_windows(sample, "valid")[:2])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_data_command_builds_what_the_book_reads_and_the_same_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DCFNET_DATA", str(tmp_path))
    monkeypatch.setenv("DCFNET_SCENE", "simulated")
    folder = tmp_path / "simulated"
    folder.mkdir()
    (folder / ".train.h5.9.part").touch()  # left by a process that was killed
    assert cli.main(["data"]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["test.h5", "train.h5", "valid.h5"]
    for split in ("train", "valid", "test"):
        path = data_file(split)
        assert path == tmp_path / "simulated" / f"{split}.h5"
        assert str(path) in capsys.readouterr().out or split != "train"
        check_h5(path, WV3)

    first = data_file("valid")
    monkeypatch.setenv("DCFNET_DATA", str(tmp_path / "elsewhere"))
    second = build_data("simulated", progress=False)["valid"]
    with h5py.File(first) as one, h5py.File(second) as other:
        assert list(one) == list(other)
        for key in one:
            np.testing.assert_array_equal(one[key][:], other[key][:])


def test_who_builds_data_waits_for_who_builds_it_already(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DCFNET_DATA", str(tmp_path))
    for act in ("load_scene", "reduce_resolution", "patch_windows"):
        monkeypatch.setattr(f"dcfnet.imagery.building.{act}", lambda *_, **__: None)
    written = []
    monkeypatch.setattr(
        "dcfnet.imagery.building.write_h5", lambda path, *_, **__: written.append(path)
    )
    lock = tmp_path / "simulated" / ".lock"
    lock.parent.mkdir()
    with FileLock(lock):
        builder = threading.Thread(target=build_data, args=("simulated",), daemon=True)
        builder.start()
        builder.join(1)
        assert builder.is_alive() and written == []
    builder.join(30)
    assert [path.stem for path in written] == ["train", "test", "valid"]
    assert "waiting for another process" in capsys.readouterr().err
