"""The commands train and evaluate, as a user calls them."""

import argparse
import json

import h5py
import numpy as np
import pytest

from dcfnet.runs import History
from dcfnet.training_cli import add_evaluate_parser, add_train_parser
from dcfnet.wald import exp_upsample


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
    train(files, "--epochs", 2)
    assert "epoch 2: training" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="dcfnet train: .*already holds a run: pass"):
        train(files, "--epochs", 3)
    train(files, "--epochs", 3, "--resume")
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


def test_options_of_dcfnet_alone_are_refused_elsewhere(files):
    given = ("--train", files / "train.h5", "--valid", files / "valid.h5", "--sensor", "wv3")
    with pytest.raises(SystemExit, match="options of DCFNet alone"):
        call("train", "pnn", "--direct", *given)
