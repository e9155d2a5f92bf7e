"""The command: its help, what it refuses, how it ends."""

import os
import re
import subprocess
import sys
from typing import get_args

import h5py
import numpy as np
import pytest

from dcfnet import cli
from dcfnet.imagery.catalogue import SCENES
from dcfnet.imagery.sensors import SENSORS
from dcfnet.networks import NETWORKS
from dcfnet.training.command import NetworkName

COMMANDS = ("data", "check", "train", "evaluate", "adapt", "fuse", "experiment")
FUSE = ["fuse", "--ms", "a.tif", "--pan", "b.tif", "--sensor", "wv3", "c.tif"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_the_flags_mean(command, capsys):
    assert cli.main([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"Usage: dcfnet {command} " in said
    for about in re.split(r"^[ *]*--", said, flags=re.M)[1:]:  # flag, type, and words
        assert len(about.split()) > 3, about
    if command not in ("data", "check"):
        assert "Examples:" in said
        assert f"dcfnet {command} " in said.split("Examples:")[1]


def test_help_names_every_command_network_sensor_and_scene(capsys):
    assert cli.main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"{command}  " in said for command in COMMANDS)
    assert set(get_args(NetworkName)) == set(NETWORKS)
    named = {"train": [*NETWORKS, *SENSORS], "check": SENSORS, "fuse": SENSORS, "data": SCENES}
    for command, names in named.items():
        cli.main([command, "-h"])
        said = capsys.readouterr().out
        assert all(name in said for name in names)


def test_help_comes_without_torch():
    code = "import sys; from dcfnet.cli import main; main(['train', '-h']); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = run.stdout.splitlines()[-1].split()
    assert "cyclopts" in modules
    assert not {"torch", "rasterio", "h5py", "matplotlib"} & {*modules}


def test_help_without_a_command_is_no_success(capsys):
    assert cli.main([]) == 2
    assert "train" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trian"], "dcfnet: .*train"),
        (["train"], "dcfnet train: .*NETWORK"),
        (["train", "dcfnt"], "dcfnet train: .*Did you mean .dcfnet"),
        (["train", "dcfnet", "--epoch", "3"], "dcfnet train: .*--epoch.*--epochs"),
        (["train", "dcfnet", "--epochs", "many"], "dcfnet train: .*--epochs"),
        (["train", "dcfnet", "--epochs", "3.5"], "dcfnet train: .*--epochs"),
        (["train", "dcfnet", "--patience", "3.5"], "dcfnet train: .*--patience"),
        (["train", "dcfnet", "--seed", "1", "--seed", "2"], "dcfnet train: .*--seed .*multiple"),
        (["train", "dcfnet", "--exposure", "1"], "dcfnet train: .*--exposure"),
        (["train", "dcfnet", "--schedule", "falling"], "dcfnet train: .*--schedule"),
        (["train", "dcfnet", "--run-dir"], "dcfnet train: .*--run-dir"),
        (["train", "dcfnet", "pnn"], "dcfnet train: .*pnn"),
        (["train", "dcfnet", "--sensor", "wv33"], "dcfnet train: .*did you mean 'wv3'"),
        (["check"], "dcfnet check: name HDF5 files"),
        (["check", "a.h5", "--ms", "a.tif", "--pan", "b.tif"], "dcfnet check: name HDF5 files, or"),
        (["check", "--ms", "a.tif"], "dcfnet check: name HDF5 files, or a pair"),
        (["check", "--ms", "a.tif", "--pan", "b.tif"], "dcfnet check: cannot read a.tif"),
        (["data", "d", "--ms", "a.tif"], "dcfnet data: for your own files"),
        (["data", "--ms", "a.tif", "--pan", "b.tif"], "dcfnet data: for your own files"),
        (["data", "d", "--ms", "a.tif", "--pan", "b.tif"], "dcfnet data: cannot read a.tif"),
        (["evaluate"], "dcfnet evaluate: name a network"),
        (["evaluate", "pnn", "--fused", "a.tif"], "dcfnet evaluate: name a network"),
        (["evaluate", "--fused", "a.tif", "--ms", "b.tif"], "dcfnet evaluate: pass --truth"),
        (["evaluate", "--fused", "a", "--truth", "b"], "dcfnet evaluate: cannot read a"),
        (["train", "pnn", "--weights", "a", "--direct"], "dcfnet train: --width and --direct"),
        (["check", "nowhere.h5"], "dcfnet check: nowhere.h5 does not exist"),
        (["data", "--scene", "moon"], "dcfnet data: .*--scene"),
        (["data", "--fold", "3"], "dcfnet data: unknown fold 3"),
        (["evaluate", "pnn", "--split", "all"], "dcfnet evaluate: .*--split"),
        (["evaluate", "pnn", "--weights", "a", "--released", "b"], "dcfnet evaluate: .*exclusive"),
        (["evaluate", "pnn", "--data", "a", "--split", "test"], "dcfnet evaluate: .*exclusive"),
        (["evaluate", "dcfnet", "--released", "a"], "dcfnet evaluate: no released checkpoint"),
        (FUSE[:-1], "dcfnet fuse: .*OUT"),
        ([*FUSE[:1], *FUSE[3:]], "dcfnet fuse: .*--ms"),
        ([*FUSE, "--tile", "3.5"], "dcfnet fuse: .*--tile"),
        ([*FUSE, "--network", "pnn", "--weights", "a"], "dcfnet fuse: .*exclusive"),
        ([*FUSE, "--weights", "nowhere"], "dcfnet fuse: there is no file nowhere"),
        (["adapt", *FUSE[1:-1]], "dcfnet adapt: .*FOLDER"),
        (["adapt", *FUSE[1:-1], "d", "--network", "pnn"], "dcfnet adapt: cannot read a.tif"),
        ([*FUSE, "--sensor", "wv4"], "dcfnet fuse: .*"),
    ],
)
def test_what_cannot_be_asked_for_ends_with_2_and_a_line(arguments, said, capsys):
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert len(printed.err.splitlines()) == 1
    assert re.match(said, printed.err)


@pytest.mark.parametrize("command", COMMANDS[:-1])
def test_ctrl_c_ends_a_command_with_130_and_a_line(command, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("dcfnet.imagery.building.build_data", interrupted)
    monkeypatch.setattr("dcfnet.imagery.pancollection.check_h5", interrupted)
    for act in ("build_network", "load_trained"):
        monkeypatch.setattr(f"dcfnet.networks.{act}", interrupted)
    more = {"check": ["a.h5"], "evaluate": ["pnn"], "train": ["pnn"]}
    more |= {"fuse": FUSE[1:], "adapt": FUSE[1:]}
    more = more.get(command, []) + (["--sensor", "wv3"] if command in ("train", "evaluate") else [])
    assert cli.main([command, *more]) == 130
    assert f"dcfnet {command}: stopped" in capsys.readouterr().err


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.slow
def test_output_that_goes_nowhere_ends_without_a_traceback(tmp_path, full):
    images = {"ms": (8, 4), "lms": (8, 16), "gt": (8, 16), "pan": (1, 16)}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.update({key: np.full((1, c, n, n), 99.0) for key, (c, n) in images.items()})
    command = [sys.executable, "-m", "dcfnet.cli", "check", str(tmp_path / "a.h5")]
    read, write = os.pipe()
    os.close(read)
    with open("/dev/full", "w") as disk:  # noqa: PTH123
        run = subprocess.run(command, stdout=disk if full else write, stderr=-1, text=True)
    os.close(write)
    assert run.returncode == 1
    assert "Traceback" not in run.stderr and "Exception ignored" not in run.stderr
    assert ("dcfnet check: [Errno 28]" in run.stderr) == full


def test_a_folder_of_data_that_cannot_be_ends_every_command_with_a_line(monkeypatch, capsys):
    monkeypatch.setenv("DCFNET_DATA", "a" * 5000)
    for act in ("load_scene", "reduce_resolution"):
        monkeypatch.setattr(f"dcfnet.imagery.building.{act}", lambda _: None)
    for command in (["data"], ["evaluate", "pnn", "--sensor", "wv3"], FUSE):
        assert cli.main(command) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"dcfnet {command[0]}: the environment variable DCFNET_DATA")
