"""The commands train and evaluate, as a user calls them."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import fields

import h5py
import psutil
import pytest

from dcfnet import cli
from dcfnet.training.history import History
from dcfnet.training.plan import Plan
from tests.support.training import write_patches


@pytest.fixture
def files(tmp_path):
    write_patches(tmp_path / "train.h5", 8)
    write_patches(tmp_path / "valid.h5", 2, seed=1)
    return tmp_path


def call(*arguments):
    return cli.main([str(argument) for argument in arguments])


def train(files, *more):
    more = [str(each) for each in more]
    given = {
        "--train": files / "train.h5", "--valid": files / "valid.h5", "--sensor": "wv3",
        "--run-dir": files / "run", "--width": 0.05, "--device": "cpu", "--batch-size": 4,
        "--precision": "fp32",
    }  # fmt: skip
    for flag, value in given.items():
        if not any(each.split("=")[0] == flag for each in more):
            more += [flag, str(value)]
    return call("train", "dcfnet", *more)


@pytest.mark.slow
def test_train_resume_evaluate(files, capsys):
    assert train(files, "--epochs", 1) == 0
    assert train(files, "--epochs", 2, "--resume") == 0
    assert "epoch 2: training" in capsys.readouterr().out
    assert train(files, "--epochs", 3) == 2
    assert re.match("dcfnet train: .*already holds a run: pass", capsys.readouterr().err)
    (files / "run" / "checkpoint.pt").unlink()
    assert train(files, "--epochs", 3, "--resume") == 2
    assert "--from-best" in capsys.readouterr().err
    assert train(files, "--epochs", 3, "--from-best") == 0
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
    assert call("evaluate", "pnn", *given) == 2
    assert "holds a DCFNet, not pnn" in capsys.readouterr().err


def test_stopped_runs_say_how_to_go_on(files, capsys):
    train(files, "--max-seconds", 0)
    assert "stopped by time limit after 0 epochs; --resume goes on" in capsys.readouterr().out


@pytest.mark.parametrize(
    "given", ["batch-size=0", "workers=-1", "lr=nan", "width=0", "width=-1", "width=nan"]
)
def test_numbers_that_cannot_be_are_refused(files, given, capsys):
    assert train(files, f"--{given}") == 2
    name = given.split("=")[0].replace("-", "_")
    assert capsys.readouterr().err.startswith(f"dcfnet train: {name}")


def test_a_loss_that_is_not_finite_is_no_bad_input(files, monkeypatch, capsys):
    def fail(*_, **__):
        raise FloatingPointError("the loss is nan")

    monkeypatch.setattr("dcfnet.training.loop.fit", fail)
    assert train(files) == 1
    assert capsys.readouterr().err == "dcfnet train: the loss is nan\n"


def test_every_setting_of_the_plan_is_a_flag(files, monkeypatch):
    plans = []

    def keep(model, train, valid, plan, **call):
        plans.append(plan)
        return History(stopped="epochs")

    monkeypatch.setattr("dcfnet.training.loop.fit", keep)
    other = Plan(
        epochs=3, patience=None, lr=0.5, schedule="cosine", batch_size=2, accumulate=2, average=0.5,
        augment=False, exposure=(0.5, 3.0), norm_batches=2, seed=9, precision="bf16",
        channels_last=False,
    )  # fmt: skip
    given = []
    for each in fields(Plan):
        value = getattr(other, each.name)
        assert value != getattr(Plan(), each.name)
        flag = each.name.replace("_", "-")
        if value is False:
            given.append(f"--no-{flag}")
        else:
            values = value if isinstance(value, tuple) else (value or 0,)
            given += [f"--{flag}", *values]
    assert train(files, *given) == 0
    assert plans == [other]


@pytest.mark.slow
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
    assert len(readers) >= 2
    for reader in readers:
        with contextlib.suppress(psutil.NoSuchProcess):  # or ended, and not yet missed
            assert reader.status() == psutil.STATUS_ZOMBIE


def test_patches_without_truth_or_of_no_square_are_refused(files, capsys):
    with h5py.File(files / "train.h5", "r+") as file:
        images = {key: values[()] for key, values in file.items()}
        for key, values in images.items():
            del file[key]
            file[key] = values[:, :, : values.shape[2] // 2]
    assert train(files) == 2
    assert re.search("8 x 16 pixels.*--no-augment", capsys.readouterr().err)
    assert train(files, "--no-augment", "--epochs", 1) == 0
    with h5py.File(files / "valid.h5", "r+") as file:
        del file["gt"]
    given = ("--data", files / "valid.h5", "--sensor", "wv3", "--device", "cpu")
    weights = files / "run" / "weights.safetensors"
    assert call("evaluate", "dcfnet", *given, "--weights", weights) == 2
    assert "at least one block of 32 x 32" in capsys.readouterr().err


def test_options_of_dcfnet_alone_are_refused_elsewhere(capsys):
    assert call("train", "pnn", "--direct") == 2
    assert "options of DCFNet alone" in capsys.readouterr().err
