"""What the readers do with damaged files, wrong settings and folders that cannot be used.

`python -m tests.support.mutations --count 1000` does far more of the first.
"""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dcfnet import WV3, DataError, build_network, load_released, load_scene, load_trained
from dcfnet.errors import RunError
from dcfnet.fusion.files import fuse_files
from dcfnet.imagery.building import write_h5
from dcfnet.imagery.pancollection import PatchDataset, check_h5
from dcfnet.imagery.scene import open_scene
from dcfnet.networks import load_weights
from dcfnet.training.history import History
from dcfnet.training.runs import RunFolder, read_run
from tests.support import mutations

READERS = {
    "hdf5": check_h5,
    "patches": PatchDataset,
    "scene": lambda path: open_scene(path, path, WV3),
    "fuse": lambda path: fuse_files(build_network("dicnn"), path, path, "out.tif", WV3),
    "weights": load_weights,
    "released": lambda path: load_released("dicnn", path),
    "history": History.read,
    "run": lambda path: read_run(path.name, path.parent),
}


@pytest.mark.slow
def test_damaged_files_are_refused_or_read_soundly():
    command = [sys.executable, "-m", "tests.support.mutations", "--count", "40", "--seed", "1"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-500:] + run.stderr
    assert all(f": {name}, " in run.stdout for name in mutations.KINDS)


def test_good_files_are_read(tmp_path):
    mutations.write_good(tmp_path)
    for name, readers in mutations.KINDS.items():
        for reader in readers:
            reader(tmp_path / name)


@pytest.mark.parametrize("wrong", ["nonsense", "../..", "\udcff", "a" * 5000])
def test_wrong_environment_variables_end_in_data_errors(monkeypatch, wrong):
    monkeypatch.setenv("DCFNET_SCENE", wrong)
    with pytest.raises(DataError, match="DCFNET_SCENE"):
        load_scene()
    monkeypatch.setenv("DCFNET_DATA", wrong)
    for read in (load_trained, read_run):
        with pytest.raises(DataError):
            read("no-such-run")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("why", ["its name is too long", "its folder is closed"])
def test_files_that_nobody_can_look_for_are_refused(reader, why, tmp_path, monkeypatch):
    path = tmp_path / "file"
    if why == "its name is too long":
        path = tmp_path / ("a" * 300)
    else:  # as root the tests may enter any folder

        def closed(path, **_):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

        monkeypatch.setattr(Path, "stat", closed)
    with pytest.raises(DataError):
        READERS[reader](path)


def test_a_file_where_a_folder_is_expected(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("DCFNET_DATA", str(file))
    for read in (load_trained, read_run):
        with pytest.raises(DataError):
            read("dcfnet")
    with pytest.raises(DataError, match="could not write"):
        write_h5(file / "train.h5", None, [None])  # fails before it looks at what to write
    with pytest.raises(OSError), RunFolder(file).held():
        pass


@pytest.mark.slow
def test_a_second_process_is_kept_out_until_the_first_is_gone(tmp_path):
    code = (
        "import sys; from dcfnet.training.runs import RunFolder\n"
        "with RunFolder(sys.argv[1]).held():\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ,
    )
    try:
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match="another process"), RunFolder(tmp_path).held():
            pass
    finally:
        first.kill()
        first.communicate()
    with RunFolder(tmp_path).held():  # a lock dies with its process
        pass
