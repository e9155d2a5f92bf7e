"""The training loop: what it computes, when it stops, what it refuses."""

import json
import os
import signal

import numpy as np
import pytest
import torch
from safetensors import safe_open

from dcfnet.networks import load_weights
from dcfnet.show.plots import LiveCurve
from dcfnet.training.batches import BatchOrder
from dcfnet.training.evaluate import evaluate_network
from dcfnet.training.history import History
from dcfnet.training.plan import Plan
from tests.support.training import checkpoint, network, quick_fit


@pytest.mark.slow
def test_learns_and_leaves_the_best_weights(train, valid, tmp_path):
    model = network("dcfnet")
    before = evaluate_network(model, valid)["loss"]
    history = quick_fit(model, train, valid, epochs=8, lr=1e-2, run_dir=tmp_path / "run")

    assert history.stopped == "epochs"
    assert history.finished
    assert history["epoch"].tolist() == list(range(1, 9))
    assert history["valid_loss"].min() < before / 4
    # The numbers of the history are those of the weights: in memory, on disk, in the CSV file.
    best = history.rows[history.best_epoch() - 1]
    for found in (model, load_weights(tmp_path / "run" / "weights.safetensors")):
        again = evaluate_network(found, valid)
        assert again["loss"] == pytest.approx(best["valid_loss"], rel=1e-6)
        for name in ("sam", "ergas", "psnr"):
            assert again[name] == pytest.approx(best[name], rel=1e-6)
    assert History.read(tmp_path / "run" / "history.csv").rows == history.rows
    with safe_open(tmp_path / "run" / "weights.safetensors", "pt") as file:
        assert file.metadata()["epoch"] == str(history.best_epoch())
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["stopped"] == "epochs"
    assert record["best_epoch"] == history.best_epoch()
    assert record["settings"]["train"]["patches"] == 20
    assert not model.training


def test_the_loss_is_the_mean_squared_error_and_the_optimiser_adam(train, valid, tmp_path):
    """Two epochs by hand, in plain PyTorch."""
    model = network("dicnn")
    history = quick_fit(model, train, valid, epochs=2, lr=1e-2, run_dir=tmp_path, augment=False)

    plain = network("dicnn")
    adam = torch.optim.Adam(plain.parameters(), 1e-2, betas=(0.9, 0.999))
    for epoch in (1, 2):
        order = np.random.default_rng((0, epoch)).permutation(20)
        losses = []
        for batch in order.reshape(5, 4):
            pan, ms, lms, gt = (
                torch.stack([train[i][key] for i in batch]) for key in ("pan", "ms", "lms", "gt")
            )
            loss = (plain(pan, ms, lms) - gt).square().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses.append(loss.item())
        assert history["train_loss"][epoch - 1] == pytest.approx(np.mean(losses), rel=1e-4)
    for name, value in checkpoint(tmp_path)["model"].items():
        assert torch.allclose(value, plain.state_dict()[name], atol=1e-5), name


def test_parts_of_a_batch_add_up_to_the_batch(train, valid):
    whole, parts = network("dicnn"), network("dicnn")
    a = quick_fit(whole, train, valid, epochs=2)
    b = quick_fit(parts, train, valid, epochs=2, accumulate=2)
    assert np.allclose(a["train_loss"], b["train_loss"], rtol=1e-4)
    assert np.allclose(a["valid_loss"], b["valid_loss"], rtol=1e-4)


@pytest.mark.slow
def test_schedule_and_average(train, valid, tmp_path):
    history = quick_fit(
        network("dcfnet"), train, valid, epochs=4, lr=1e-2, schedule="cosine", average=0.9,
        run_dir=tmp_path,
    )  # fmt: skip
    done = np.array([4, 9, 14, 19]) / 20  # before the last step of each epoch
    expected = 1e-2 * (0.01 + 0.99 * (1 + np.cos(np.pi * done)) / 2)
    assert np.allclose(history["lr"], expected)

    # The average is what is validated and saved.
    saved = checkpoint(tmp_path)
    model = network("dcfnet")
    weights = {k: v for k, v in saved["best"].items() if "norm" not in k}
    averaged = {k.removeprefix("module."): v for k, v in saved["average"].items()}
    assert history.best_epoch() == 4
    assert all(torch.equal(v, averaged[k]) for k, v in weights.items())
    model.load_state_dict(saved["best"])
    assert evaluate_network(model, valid)["loss"] == pytest.approx(history["valid_loss"][-1])


def test_exposure_is_what_the_network_sees(train, valid):
    """By a factor that is no chance: training loss scales with its square, validation does not."""
    dim = [{key: image / 8 for key, image in patch.items()} for patch in train]
    run = {"epochs": 1, "lr": 1e-12, "augment": False}
    plain = quick_fit(network("dicnn"), dim, valid, **run)
    twice = quick_fit(network("dicnn"), dim, valid, exposure=(2.0, 2.0), **run)
    assert twice["train_loss"][0] != pytest.approx(plain["train_loss"][0])
    assert twice["valid_loss"][0] == pytest.approx(plain["valid_loss"][0], rel=1e-6)

    bright = [{key: 2 * image for key, image in patch.items()} for patch in dim]
    same_light = quick_fit(network("dicnn"), bright, valid, **run)
    assert twice["train_loss"][0] == pytest.approx(same_light["train_loss"][0], rel=1e-6)


def test_bfloat16_leaves_weights_and_network_as_they_are(train, valid):
    model = network("dcfnet")
    loss = quick_fit(model, train, valid, epochs=2, precision="bf16")["train_loss"]
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert "forward" not in vars(model)  # nothing of the trainer stays in the network
    full = quick_fit(network("dcfnet"), train, valid, epochs=2)["train_loss"]
    assert np.allclose(loss, full, rtol=0.1)
    assert (loss != full).any()


def test_without_a_compiler_training_goes_on(train, valid, monkeypatch):
    def failing(_):
        raise RuntimeError("no compiler\nat great length")

    monkeypatch.setattr(torch, "compile", failing)
    with pytest.warns(UserWarning, match=r"\(RuntimeError: no compiler\)"):
        history = quick_fit(network(), train, valid, epochs=1, compile=True)
    assert len(history) == 1


def test_training_leaves_the_callers_random_state(train, valid):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    quick_fit(network("dicnn", seed=5), train, valid, epochs=1)
    torch.manual_seed(5)
    assert torch.equal(torch.get_rng_state(), before)


def test_patience_stops_at_the_optimal_epoch(train, valid, tmp_path):
    history = quick_fit(network(), train, valid, epochs=200, lr=0.1, patience=5, run_dir=tmp_path)
    assert history.stopped == "patience"
    assert len(history) == history.optimal_epoch(5) + 5
    assert history.optimal_epoch(5) == history.best_epoch()


def test_a_second_signal_ends_it_at_once(train, valid):
    def impatient(_):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        quick_fit(network(), train, valid, epochs=4, on_epoch=impatient)


class Poisoned(list):
    """Patches, one of which turns bad."""

    bad = None

    def __getitem__(self, index):
        patch = super().__getitem__(index)
        return {**patch, "gt": patch["gt"] * torch.nan} if index == self.bad else patch


def test_a_loss_that_is_not_finite_names_epoch_and_batch(train, valid, tmp_path):
    data = Poisoned(train)
    order = BatchOrder(20, Plan(batch_size=4))
    order.epoch = 3
    batch_of = {index: step for step, batch in enumerate(order, 1) for index, _, _ in batch}

    def poison(history):
        if len(history) == 2:
            data.bad = next(index for index, step in batch_of.items() if step == 4)

    run = {"epochs": 4, "run_dir": tmp_path}
    with pytest.raises(FloatingPointError, match=r"nan at epoch 3, batch 4; .*checkpoint\.pt"):
        quick_fit(network(), data, valid, on_epoch=poison, **run)
    saved = checkpoint(tmp_path)
    assert len(saved["rows"]) == 2
    assert all(v.isfinite().all() for v in saved["model"].values())
    data.bad = None
    assert len(quick_fit(network(), data, valid, resume=True, **run)) == 4  # and it goes on


def test_a_validation_loss_that_is_not_finite_stops(train, valid, tmp_path):
    data = Poisoned(valid)
    data.bad = 1
    with pytest.raises(FloatingPointError, match="validation loss is nan after epoch 1"):
        quick_fit(network(), train, data, epochs=4, run_dir=tmp_path)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_live_curve_draws_once_and_then_in_place(train, valid, monkeypatch):
    ipython = pytest.importorskip("IPython")
    drawn = []

    class Place:
        def update(self, figure):
            drawn.append(figure)

    def display(figure, display_id):
        drawn.append(figure)
        return Place()

    monkeypatch.setattr(ipython.display, "display", display)
    history = quick_fit(network(), train, valid, epochs=4, on_epoch=LiveCurve(seconds=60))
    assert len(drawn) == 2  # the first and the last
    axes = drawn[-1].axes[0]
    assert axes.lines[1].get_ydata().tolist() == history["valid_loss"].tolist()
    assert axes.get_xlabel() == "epoch"


def test_what_cannot_be_asked_for_is_refused(train, valid):
    for given in ({"device": "tpu"}, {"resume": "weights"}, {"workers": -1}):
        with pytest.raises(ValueError, match=next(iter(given))):
            quick_fit(network(), train, valid, epochs=1, **given)
