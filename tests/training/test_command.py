"""The commands train and evaluate, as a user calls them."""

import argparse
import json
import os
import signal
import subprocess
import sys

import h5py
import numpy as np
import psutil
import pytest

from dcfnet import DataError, cli
from dcfnet.imagery.filters import exp_upsample
from dcfnet.training.command import add_evaluate_parser, add_train_parser
from dcfnet.training.history import History


@pytest.fixture
def files(tmp_path):
    chance = np.random.default_rng(0)
    for split, count in (("train", 8), ("valid", 2)):
        ms = chance.integers(0, 2000, (count, 8, 4, 4)).astype(np.float64)
        lms = np.stack([exp_upsample(image) for image in ms])
        gt = np.clip(lms, 0, 2047)
        with h5py.File(tmp_path / f"{split}.h5", "w") as file:
            file.update({"ms": ms, "lms": lms, "gt": gt, "pan": gt.mean(1, keepdims=True)})
    return tmp_path


def call(*arguments):
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    add_train_parser(commands)
    add_evaluate_parser(commands)
    args = parser.parse_args([str(argument) for argument in arguments])
    args.run(args)


def train(files, *more):
    given = ("--train", files / "train.h5", "--valid", files / "valid.h5", "--sensor", "wv3")
    call(
        "train", "dcfnet", "--width", 0.05, *given, "--run-dir", files / "run", "--device", "cpu",
        "--batch-size", 4, "--precision", "fp32", *more,
    )  # fmt: skip


def test_train_resume_evaluate(files, capsys):
    train(files, "--epochs", 1)
    train(files, "--epochs", 2, "--resume")
    assert "epoch 2: training" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="dcfnet train: .*already holds a run: pass"):
        train(files, "--epochs", 3)
    (files / "run" / "checkpoint.pt").unlink()
    with pytest.raises(SystemExit, match="--from-best"):
        train(files, "--epochs", 3, "--resume")
    train(files, "--epochs", 3, "--from-best")
    history = History.read(files / "run" / "history.csv")
    assert len(history) == 3
    assert f"best epoch {history.best_epoch()}:" in capsys.readouterr().out

    given = ("--data", files / "valid.h5", "--sensor", "wv3", "--device", "cpu")
    given = (*given, "--weights", files / "run" / "weights.safetensors")
    call("evaluate", "dcfnet", *given, "--json")
    found = json.loads(capsys.readouterr().out)
    best = history.rows[history.best_epoch() - 1]
    assert found["loss"] == pytest.approx(best["valid_loss"], rel=1e-6)
    assert found["sam"] == pytest.approx(best["sam"], rel=1e-6)
    assert found["patches"] == 2
    assert found.keys() >= {"ergas", "psnr", "q2n", "scc"}
    call("evaluate", "dcfnet", *given)
    assert f"{found['sam']:.4f} degrees" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="holds a DCFNet, not pnn"):
        call("evaluate", "pnn", *given)


def test_stopped_runs_say_how_to_go_on(files, capsys):
    train(files, "--max-seconds", 0)
    assert "stopped by time limit after 0 epochs; --resume goes on" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as done:
        call(command, "--help")
    assert done.value.code == 0
    said = capsys.readouterr().out
    assert "examples:" in said
    assert f"dcfnet {command} " in said


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--epochs", -1),
        ("--batch-size", 0),
        ("--accumulate", 0),
        ("--accumulate", -1),
        ("--patience", -1),
        ("--workers", -1),
        ("--seed", -1),
        ("--lr", "nan"),
        ("--lr", -1),
        ("--average", "nan"),
    ],
)
def test_numbers_that_cannot_be_are_refused(files, option, value):
    name = {"--batch-size": "batch_size", "--lr": "learning rate"}.get(option, option[2:])
    with pytest.raises(SystemExit, match=f"dcfnet train: .*{name}"):
        train(files, f"{option}={value}")


@pytest.mark.parametrize("width", ["0", "-1", "nan", "inf"])
def test_a_width_that_cannot_be_is_refused(files, width, capsys):
    with pytest.raises(SystemExit):
        train(files, f"--width={width}")
    assert "a share above 0 is expected" in capsys.readouterr().err


def test_patches_without_truth_or_of_no_square_are_refused(files):
    with h5py.File(files / "train.h5", "r+") as file:
        images = {key: values[()] for key, values in file.items()}
        for key, values in images.items():
            del file[key]
            file[key] = values[:, :, : values.shape[2] // 2]
    with pytest.raises(DataError, match="8 x 16 pixels.*augment=False"):
        train(files)
    train(files, "--no-augment", "--epochs", 1)
    with h5py.File(files / "valid.h5", "r+") as file:
        del file["gt"]
    given = ("--data", files / "valid.h5", "--sensor", "wv3", "--device", "cpu")
    with pytest.raises(DataError, match="no gt"):
        call("evaluate", "dcfnet", *given, "--weights", files / "run" / "weights.safetensors")


@pytest.mark.parametrize("command", ["data", "check", "evaluate", "fuse"])
def test_ctrl_c_ends_a_command_with_130_and_a_line(command, monkeypatch, tmp_path, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    for name in ("cli.build_data", "cli.check_h5", "fusion.command.load_trained"):
        monkeypatch.setattr(f"dcfnet.{name}", interrupted)
    monkeypatch.setattr("dcfnet.training.command.load_trained", interrupted)
    more = {
        "check": ["a.h5"],
        "evaluate": ["pnn", "--sensor", "wv3"],
        "fuse": ["--ms", "a.tif", "--pan", "b.tif", "--sensor", "wv3", "c.tif"],
    }
    assert cli.main([command, *more.get(command, [])]) == 130
    assert f"dcfnet {command}: stopped" in capsys.readouterr().err


def test_a_signal_to_all_processes_stops_the_run_not_its_readers(files):
    """As batch systems send it. Readers that die of it would bring the run down."""
    command = [
        sys.executable, "-m", "dcfnet.cli", "train", "dcfnet", "--width", "0.05", "--sensor", "wv3",
        "--train", files / "train.h5", "--valid", files / "valid.h5", "--run-dir", files / "run",
        "--device", "cpu", "--batch-size", "4", "--precision", "fp32", "--epochs", "1000000",
        "--patience", "0", "--workers", "2",
    ]  # fmt: skip
    run = subprocess.Popen(
        list(map(str, command)), stdout=-1, stderr=-2, text=True, start_new_session=True
    )
    try:
        assert any(line.startswith("epoch 3") for line in run.stdout)
        readers = psutil.Process(run.pid).children()
        os.killpg(run.pid, signal.SIGTERM)
        said, _ = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 143 and "Traceback" not in said
    assert "stopped by SIGTERM" in said
    assert len(readers) >= 2 and not any(reader.is_running() for reader in readers)


@pytest.mark.parametrize("full", [True, False])
def test_output_that_goes_nowhere_ends_without_a_traceback(files, full):
    command = [sys.executable, "-m", "dcfnet.cli", "check", str(files / "valid.h5")]
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
    assert cli.main(["data"]) == 2
    assert capsys.readouterr().err.startswith("dcfnet: the environment variable DCFNET_DATA")


def test_options_of_dcfnet_alone_are_refused_elsewhere(files):
    given = ("--train", files / "train.h5", "--valid", files / "valid.h5", "--sensor", "wv3")
    with pytest.raises(SystemExit, match="options of DCFNet alone"):
        call("train", "pnn", "--direct", *given)
