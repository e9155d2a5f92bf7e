"""The trainer: what it computes, what it refuses, and that it can always go on."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader

from dcfnet import DataError
from dcfnet.errors import RunError
from dcfnet.imagery.filters import exp_upsample
from dcfnet.networks import build_network, load_weights
from dcfnet.show.plots import LiveCurve
from dcfnet.training import loop as training
from dcfnet.training.batches import BatchOrder, expose, symmetry
from dcfnet.training.evaluate import evaluate_network, recompute_norms
from dcfnet.training.loop import fit
from dcfnet.training.runs import COLUMNS, History, RunFolder

BANDS = 4
QUIET = {"progress": False, "precision": "fp32", "device": "cpu", "batch_size": 4}


def patches(count, seed=0, size=16):
    """Patches as `PatchDataset` gives them: smooth noise, and details that all bands share."""
    chance = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        ms = chance.random((BANDS, size // 4, size // 4))
        lms = exp_upsample(ms)
        gt = lms + 0.1 * chance.standard_normal((size, size))  # a detail that PAN shows
        images = {"pan": gt.mean(0, keepdims=True), "ms": ms, "lms": lms, "gt": gt}
        made.append({key: torch.from_numpy(image).float() for key, image in images.items()})
    return made


@pytest.fixture(scope="module")
def train():
    return patches(20)


@pytest.fixture(scope="module")
def valid():
    return patches(3, seed=1)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Small(nn.Module):
    """Somebody's own network, with what makes training hard to resume: norms and chance."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(BANDS + 1, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8, momentum=0.01),
            nn.ReLU(),
            nn.Dropout2d(0.1),
            nn.Conv2d(8, BANDS, 3, padding=1),
        )

    def forward(self, pan, ms, lms):
        return self.layers(torch.cat((pan, lms), 1))


def network(name="small", seed=0):
    torch.manual_seed(seed)
    if name == "small":
        return Small()
    # Narrow; and from its own prediction to the truth is a long way: much to learn in few steps.
    options = {"width": 0.05, "inject_details": False} if name == "dcfnet" else {}
    return build_network(name, BANDS, **options)


def same(one, other):
    """Equal to the last bit, through dictionaries and lists."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        # Time is what may differ.
        keys = {k for k in one if "seconds" not in str(k)}
        return keys == {k for k in other if "seconds" not in str(k)} and all(
            same(one[k], other[k]) for k in keys
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def checkpoint(folder):
    return RunFolder(folder).load()


# --- What it computes -------------------------------------------------------------------------


def test_learns_and_leaves_the_best_weights(train, valid, tmp_path):
    model = network("dcfnet")
    before = evaluate_network(model, valid)["loss"]
    history = fit(model, train, valid, epochs=8, lr=1e-2, run_dir=tmp_path / "run", **QUIET)

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
    history = fit(model, train, valid, epochs=2, lr=1e-2, run_dir=tmp_path, augment=False, **QUIET)

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
    a = fit(whole, train, valid, epochs=2, **QUIET)
    b = fit(parts, train, valid, epochs=2, accumulate=2, **QUIET)
    assert np.allclose(a["train_loss"], b["train_loss"], rtol=1e-4)
    assert np.allclose(a["valid_loss"], b["valid_loss"], rtol=1e-4)


def test_schedule_and_average(train, valid, tmp_path):
    history = fit(
        network("dcfnet"), train, valid, epochs=4, lr=1e-2, schedule="cosine", average=0.9,
        run_dir=tmp_path, **QUIET,
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


def test_a_trapezoid_is_constant_and_falls_over_the_last_fifth(train, valid):
    history = fit(network("dicnn"), train, valid, epochs=10, lr=1e-2, schedule="trapezoid", **QUIET)
    done = (5 * np.arange(1, 11) - 1) / 50  # before the last step of each epoch
    assert np.allclose(history["lr"], 1e-2 * np.minimum(1, 5 * (1 - done)))
    assert (history["lr"][:8] == 1e-2).all()
    assert 0 < history["lr"][-1] < history["lr"][-2] < 1e-2
    with pytest.raises(ValueError, match="schedule must be one of constant, cosine, trapezoid"):
        fit(network(), train, valid, epochs=1, schedule="triangle", **QUIET)


def test_bfloat16_leaves_weights_and_network_as_they_are(train, valid):
    model = network("dcfnet")
    history = fit(model, train, valid, epochs=2, **{**QUIET, "precision": "bf16"})
    assert np.isfinite(history["valid_loss"]).all()
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert "forward" not in vars(model)  # nothing of the trainer stays in the network
    full = fit(network("dcfnet"), train, valid, epochs=2, **QUIET)
    assert np.allclose(history["train_loss"], full["train_loss"], rtol=0.1)
    assert (history["train_loss"] != full["train_loss"]).any()


def test_without_a_compiler_training_goes_on(train, valid, monkeypatch):
    monkeypatch.setattr(training, "can_compile", lambda device: "no compiler")
    with pytest.warns(UserWarning, match="no compiler"):
        history = fit(network(), train, valid, epochs=1, compile=True, **QUIET)
    assert len(history) == 1


def test_training_leaves_the_callers_random_state(train, valid):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fit(network("dicnn", seed=5), train, valid, epochs=1, **QUIET)
    torch.manual_seed(5)
    assert torch.equal(torch.get_rng_state(), before)


# --- Batch normalisation ----------------------------------------------------------------------


def test_norms_are_those_of_the_batches(train):
    model = network("dcfnet")
    batches = list(DataLoader(train, batch_size=5))
    with torch.no_grad():
        inputs = (torch.cat((b["pan"], b["lms"]), 1) for b in batches)
        seen = torch.cat([model.stem[0].conv(x) for x in inputs])
    recompute_norms(model, batches)
    norm = model.stem[0].norm
    assert torch.allclose(norm.running_mean, seen.mean((0, 2, 3)), atol=1e-6)
    assert norm.momentum == 0.01
    assert model.training


def test_validation_uses_recomputed_norms(train, valid, tmp_path):
    """The running statistics lag behind; those in the saved weights do not."""
    history = fit(network(), train, valid, epochs=3, lr=1e-2, run_dir=tmp_path, **QUIET)
    saved = checkpoint(tmp_path)
    lagging = network()
    lagging.load_state_dict(saved["model"])
    assert evaluate_network(lagging, valid)["loss"] > 1.01 * history["valid_loss"][-1]


# --- Order and orientation --------------------------------------------------------------------


def test_each_patch_comes_at_most_once_per_epoch_and_turns_all_ways():
    order = BatchOrder(203, 10, seed=3, augment=True)
    order.epoch = 1
    first = list(order)
    order.epoch = 2
    assert first != list(order)
    assert len(first) == len(order) == 20
    seen = [drawn for batch in first for drawn in batch]
    assert len({index for index, _, _ in seen}) == 200
    assert {number for _, number, _ in seen} == set(range(8))
    assert {factor for _, _, factor in seen} == {1.0}
    order.epoch, order.first = 1, 17
    assert list(order) == first[17:]


@pytest.mark.parametrize(("processes", "accumulate"), [(2, 1), (2, 3), (1, 4)])
def test_processes_share_each_batch(processes, accumulate):
    chance = {"seed": 0, "augment": True, "exposure": (0.5, 3.0)}
    whole = list(BatchOrder(50, 12, **chance))
    shares = [
        list(BatchOrder(50, 12, **chance, accumulate=accumulate, rank=rank, processes=processes))
        for rank in range(processes)
    ]
    for step, batch in enumerate(whole):
        parts = [share[step * accumulate : (step + 1) * accumulate] for share in shares]
        assert sorted(batch) == sorted(p for share in parts for part in share for p in part)


def test_the_eight_symmetries(train):
    patch = train[0]
    views = [symmetry(patch, number) for number in range(8)]
    assert len({view["gt"].numpy().tobytes() for view in views}) == 8
    assert torch.equal(views[0]["ms"], patch["ms"])
    for view in views:
        # All four images turn together, and MS pixels stay where the protocol takes them from.
        assert torch.allclose(view["gt"].mean(0, keepdim=True), view["pan"], atol=1e-6)
        assert torch.allclose(view["lms"][:, 2::4, 2::4], view["ms"], atol=1e-6)
    number_of = {v["gt"].numpy().tobytes(): i for i, v in enumerate(views)}
    twice = {number_of[symmetry(views[5], n)["gt"].numpy().tobytes()] for n in range(8)}
    assert twice == set(range(8))


def test_ms_that_lms_does_not_pass_through_is_turned_itself(train):
    patch = {**train[0], "ms": train[0]["ms"] + 0.1}
    assert torch.equal(symmetry(patch, 1)["ms"], patch["ms"].flip(-1))


# --- Exposure ---------------------------------------------------------------------------------


def test_exposure_brightens_all_images_alike(train):
    patch = {key: image.abs() / 4 for key, image in train[0].items()}
    brighter = expose(patch, 1.5)
    assert all(torch.allclose(brighter[key], 1.5 * image) for key, image in patch.items())
    darker = expose(patch, 0.5)
    assert all(torch.allclose(darker[key], 0.5 * image) for key, image in patch.items())


@pytest.mark.parametrize("brightest", ["pan", "gt"])
def test_exposure_ends_where_the_sensor_saturates(train, brightest):
    patch = {key: image.abs() / 8 for key, image in train[0].items()}
    patch[brightest][0, 3, 5] = 0.8
    most = expose(patch, 3.0)
    assert max(most["pan"].max(), most["gt"].max()).item() == pytest.approx(1)
    assert torch.allclose(most["ms"], patch["ms"] / 0.8)  # one factor for all


def test_exposure_of_a_patch_without_data():
    black = {"pan": torch.zeros(1, 4, 4), "gt": torch.zeros(BANDS, 4, 4)}
    assert all(torch.equal(expose(black, 3.0)[key], image) for key, image in black.items())


def test_factors_come_from_seed_and_epoch_alone():
    def factors(seed, epoch, first=0, exposure=(0.5, 3.0)):
        order = BatchOrder(2000, 10, seed=seed, augment=True, exposure=exposure)
        order.epoch, order.first = epoch, first
        return [drawn for batch in order for drawn in batch]

    drawn = factors(0, 1)
    assert drawn == factors(0, 1)
    assert factors(0, 1, first=150) == drawn[1500:]  # also when resumed within the epoch
    values = np.array([factor for _, _, factor in drawn])
    assert (values >= 0.5).all() and (values <= 3).all()
    # Even in the logarithm: as often halved as doubled, were the range (0.5, 2).
    assert np.log(values).mean() == pytest.approx(np.log(1.5) / 2, abs=0.05)
    for other in (factors(1, 1), factors(0, 2)):
        assert [factor for _, _, factor in other] != values.tolist()
    # Order and orientation are those of a run without exposure.
    assert [d[:2] for d in drawn] == [d[:2] for d in factors(0, 1, exposure=None)]


def test_exposure_is_what_the_network_sees(train, valid):
    """By a factor that is no chance: training loss scales with its square, validation does not."""
    dim = [{key: image / 8 for key, image in patch.items()} for patch in train]
    run = {"epochs": 1, "lr": 1e-12, "augment": False, **QUIET}
    plain = fit(network("dicnn"), dim, valid, **run)
    twice = fit(network("dicnn"), dim, valid, exposure=(2.0, 2.0), **run)
    assert twice["train_loss"][0] != pytest.approx(plain["train_loss"][0])
    assert twice["valid_loss"][0] == pytest.approx(plain["valid_loss"][0], rel=1e-6)

    bright = [{key: 2 * image for key, image in patch.items()} for patch in dim]
    same_light = fit(network("dicnn"), bright, valid, **run)
    assert twice["train_loss"][0] == pytest.approx(same_light["train_loss"][0], rel=1e-6)


@pytest.mark.parametrize("exposure", [(3, 0.5), (0, 2), (-1, 2), (0.5, np.inf), (np.nan, 2)])
def test_exposure_that_cannot_be_is_refused(train, valid, exposure):
    with pytest.raises(ValueError, match="exposure must be two factors, the smaller first"):
        fit(network(), train, valid, epochs=1, exposure=exposure, **QUIET)


def test_exposed_runs_resume_bit_for_bit(train, valid, tmp_path):
    run = {"epochs": 3, "average": 0.9, "exposure": (0.5, 3.0), "schedule": "trapezoid", **QUIET}
    fit(network(), train, valid, run_dir=tmp_path / "whole", **run)
    for _ in range(50):
        history = fit(
            network(), train, valid, run_dir=tmp_path / "parts", resume=True, max_seconds=0, **run
        )
        if history.finished:
            break
    assert history.finished
    assert same(checkpoint(tmp_path / "parts"), checkpoint(tmp_path / "whole"))

    record = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert record["settings"]["exposure"] == [0.5, 3.0]
    other = {**run, "exposure": None}
    with pytest.raises(RunError, match=r"exposure was \[0\.5, 3\.0\], is None"):
        fit(network(), train, valid, run_dir=tmp_path / "whole", resume=True, **other)


# --- History ----------------------------------------------------------------------------------


def history_of(losses):
    row = dict.fromkeys(COLUMNS, 0.0)
    return History([{**row, "epoch": i, "valid_loss": v} for i, v in enumerate(losses, 1)])


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 6))
def test_optimal_epoch(losses, patience):
    history = history_of(losses)
    expected = None
    for epoch in range(1, len(losses) - patience + 1):
        after = losses[epoch : epoch + patience]
        if min(after) >= losses[epoch - 1]:
            expected = epoch
            break
    assert history.optimal_epoch(patience) == expected


def test_optimal_epoch_of_a_known_curve():
    falling = [1 / epoch for epoch in range(1, 301)]
    assert history_of(falling).optimal_epoch() is None
    assert history_of(falling + [1.0] * 99).optimal_epoch() is None
    assert history_of(falling + [1.0] * 100).optimal_epoch() == 300
    assert history_of([]).optimal_epoch() is None


def test_patience_stops_at_the_optimal_epoch(train, valid, tmp_path):
    history = fit(
        network(), train, valid, epochs=200, lr=0.1, patience=5, run_dir=tmp_path, **QUIET
    )
    assert history.stopped == "patience"
    assert len(history) == history.optimal_epoch(5) + 5
    assert history.optimal_epoch(5) == history.best_epoch()


@settings(max_examples=30)
@given(st.floats(allow_nan=False))
def test_history_survives_to_the_last_bit(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("history") / "history.csv"
    history = history_of([value, 0.1])
    history.write(path)
    assert History.read(path).rows == history.rows


def test_what_is_no_history_is_refused(tmp_path):
    path = tmp_path / "history.csv"
    with pytest.raises(DataError, match=r"no file .*expected the history\.csv"):
        History.read(path)
    path.write_text("epoch,loss\n1,2\n")
    with pytest.raises(DataError, match="columns epoch, loss: expected epoch, train_loss"):
        History.read(path)
    path.write_text(",".join(COLUMNS) + "\n1,2,3\n")
    with pytest.raises(DataError, match="line 2"):
        History.read(path)
    with pytest.raises(KeyError, match="unknown column 'loss': expected one of epoch"):
        History()["loss"]


# --- Stopping and going on --------------------------------------------------------------------


@pytest.fixture(scope="module")
def uninterrupted(train, valid, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    fit(network(), train, valid, epochs=4, average=0.9, run_dir=folder, **QUIET)
    return checkpoint(folder)


def test_a_time_limit_stops_in_mid_epoch(train, valid, tmp_path, uninterrupted):
    stops = 0
    while True:
        history = fit(
            network(seed=stops), train, valid, epochs=4, average=0.9, run_dir=tmp_path,
            resume=True, max_seconds=0, **QUIET,
        )  # fmt: skip
        if history.finished:
            break
        assert history.stopped == "time limit"
        stops += 1
        assert stops < 50
    assert stops > 4  # more than once per epoch
    assert same(checkpoint(tmp_path), uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_and_the_run_goes_on(train, valid, tmp_path, uninterrupted, number):
    handler = signal.getsignal(number)

    def interrupt(history):
        if len(history) == 2:
            os.kill(os.getpid(), number)

    run = {"epochs": 4, "average": 0.9, "run_dir": tmp_path, **QUIET}
    history = fit(network(), train, valid, on_epoch=interrupt, **run)
    assert history.stopped == number.name
    assert not history.finished
    assert signal.getsignal(number) is handler
    assert json.loads((tmp_path / "run.json").read_text())["stopped"] == number.name
    with pytest.raises(RunError, match="already holds a run: pass resume=True"):
        fit(network(), train, valid, **run)
    assert fit(network(seed=7), train, valid, resume=True, **run).stopped == "epochs"
    assert same(checkpoint(tmp_path), uninterrupted)


def test_a_second_signal_ends_it_at_once(train, valid):
    def impatient(_):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(network(), train, valid, epochs=4, on_epoch=impatient, **QUIET)


def test_a_finished_run_is_left_alone_and_can_be_extended(train, valid, tmp_path, uninterrupted):
    run = {"average": 0.9, "run_dir": tmp_path, "resume": True, **QUIET}
    fit(network(), train, valid, epochs=2, **run)
    (tmp_path / "history.csv").unlink()
    (tmp_path / "weights.safetensors").unlink()
    again = fit(network(), train, valid, epochs=2, **run)
    assert len(again) == 2
    assert len(History.read(tmp_path / "history.csv")) == 2  # what is missing is made anew
    assert (tmp_path / "weights.safetensors").exists()
    fit(network(), train, valid, epochs=4, **run)
    assert same(checkpoint(tmp_path), uninterrupted)


NURSERY = """
    import os, random, select, signal, sys, time
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    sys.path.insert(0, sys.argv[2])
    from tests.training.test_training import QUIET, network, patches
    from dcfnet.training import runs
    from dcfnet.training import loop as training

    RUN = dict(epochs=20, average=0.9, checkpoint_seconds=0, **QUIET)
    folder, train, valid = Path(sys.argv[1]), patches(20), patches(3, seed=1)
    killed = folder / "killed"
    ready, tell = os.pipe()
    training.fit(network(), train, valid, epochs=1, **QUIET)  # imports what is imported late

    def child(run_dir, before=lambda: None, seed=1):
        pid = os.fork()  # there are no threads, and no need to import everything again
        if pid == 0:
            before()
            training.fit(network(seed=seed), train, valid, run_dir=run_dir, resume=True, **RUN)
            os.write(tell, b"!")
            os._exit(0)
        return pid

    def ended(pid):
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    began = time.monotonic()
    assert ended(child(folder / "whole", seed=0)) == 0
    whole_run = time.monotonic() - began

    # In the middle of writing a checkpoint; with all of it written but the name; and just after.
    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def half_way():
        write = Path.write_bytes
        Path.write_bytes = lambda path, all: (
            (write(path, all[: len(all) // 2]), die()) if "checkpoint" in path.name
            else write(path, all)
        )

    def before_the_name():
        Path.replace = lambda path, name: (
            die() if "checkpoint" in path.name else os.replace(path, name)
        )

    def before_the_history():
        runs.RunFolder.publish = lambda self, history, *_: len(history) and die()

    assert ended(child(killed, before_the_history, seed=0)) == -signal.SIGKILL
    for before in (half_way, before_the_name, before_the_history):
        assert ended(child(killed, before)) == -signal.SIGKILL, before
        left = len(list(killed.glob(".checkpoint*.part")))
        assert left == (before is not before_the_history), (before, left)

    # At random moments after it has begun.
    train_epoch = training._Run._train_epoch
    def say_so(self):
        os.write(tell, b"!")
        train_epoch(self)
    training._Run._train_epoch = say_so

    chance, kills, places = random.Random(0), 0, set()
    while kills < 20:
        while select.select([ready], [], [], 0)[0]:  # what others have said
            os.read(ready, 1)
        pid = child(killed)
        os.read(ready, 1)
        time.sleep(chance.uniform(0, whole_run / 8))
        os.kill(pid, signal.SIGKILL)
        if ended(pid) == -signal.SIGKILL:
            kills += 1
            saved = runs.RunFolder(killed).load()
            places.add((len(saved["rows"]), saved["step"]))
        else:  # it had finished: begin another run
            killed.rename(folder / f"finished{kills}")
            assert ended(child(killed, before_the_history, seed=0)) == -signal.SIGKILL
    assert ended(child(killed)) == 0
    print("kills", kills, "places", len(places), "within", sum(step > 0 for _, step in places))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_at_random_moments(tmp_path):
    """Twenty times SIGKILL, and while a checkpoint is written: the outcome is the same."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(NURSERY), tmp_path, Path(__file__).parents[1]],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    _, kills, _, places, _, within = done.stdout.split()
    assert int(kills) == 20
    assert int(places) > 5, "the kills came too early to tell anything"
    assert int(within) > 2, "no kill came in the middle of an epoch"
    whole = checkpoint(tmp_path / "whole")
    outcomes = [tmp_path / "killed", *tmp_path.glob("finished*")]
    for folder in outcomes:
        assert same(checkpoint(folder), whole)
        one, other = (load_file(f / "weights.safetensors") for f in (folder, tmp_path / "whole"))
        assert same(one, other)
        assert same(one, whole["best"])
        one, other = (History.read(f / "history.csv") for f in (folder, tmp_path / "whole"))
        assert same(one.rows, other.rows)
        assert not list(folder.glob(".*.part"))


# --- Several processes ------------------------------------------------------------------------

LAUNCHED = """
    import os, sys, torch
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    torch.set_num_threads(1)
    from tests.training.test_training import QUIET, network, patches
    from dcfnet.training.loop import fit
    here = Path(__file__).parent
    said = []
    for limit in (1e-9, None):
        model = network("dicnn")
        history = fit(model, patches(20), patches(3, seed=1), epochs=3, lr=1e-2,
                      run_dir=here / "two", resume=True, max_seconds=limit,
                      **{**QUIET, "accumulate": 2})
        weights = sum(p.sum().item() for p in model.parameters())
        said.append(f"{history.stopped}, {len(history)} epochs, {weights}")
    (here / ("rank" + os.environ["RANK"])).write_text("\\n".join(said))
"""


def test_two_processes_train_as_one(train, valid, tmp_path):
    script = tmp_path / "launched.py"
    script.write_text(textwrap.dedent(LAUNCHED))
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    launch += ["--num_processes", "2", "--main_process_port", "0"]
    process = subprocess.Popen(
        [*launch, script, Path(__file__).parents[1]],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,  # so that the launcher's own processes can be ended with it
    )
    try:
        errors = process.communicate(timeout=300)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, errors[-3000:]
    first, second = ((tmp_path / f"rank{rank}").read_text().splitlines() for rank in (0, 1))
    assert first[0].startswith("time limit, 0 epochs")  # and both after the same step
    assert first[1].startswith("epochs, 3 epochs")
    assert first == second  # both are left with the best weights

    alone = fit(network("dicnn"), train, valid, epochs=3, lr=1e-2, **QUIET)
    two = History.read(tmp_path / "two" / "history.csv")
    assert np.allclose(two["train_loss"], alone["train_loss"], rtol=1e-4)
    assert np.allclose(two["valid_loss"], alone["valid_loss"], rtol=1e-4)
    assert json.loads((tmp_path / "two" / "run.json").read_text())["processes"] == 2


# --- What it refuses --------------------------------------------------------------------------


class Poisoned(list):
    """Patches, one of which turns bad."""

    bad = None

    def __getitem__(self, index):
        patch = super().__getitem__(index)
        return {**patch, "gt": patch["gt"] * torch.nan} if index == self.bad else patch


def test_a_loss_that_is_not_finite_names_epoch_and_batch(train, valid, tmp_path):
    data = Poisoned(train)
    order = BatchOrder(20, 4, seed=0, augment=True)
    order.epoch = 3
    batch_of = {index: step for step, batch in enumerate(order, 1) for index, _, _ in batch}

    def poison(history):
        if len(history) == 2:
            data.bad = next(index for index, step in batch_of.items() if step == 4)

    run = {"epochs": 4, "run_dir": tmp_path, **QUIET}
    with pytest.raises(FloatingPointError, match=r"nan at epoch 3, batch 4; .*checkpoint\.pt"):
        fit(network(), data, valid, on_epoch=poison, **run)
    saved = checkpoint(tmp_path)
    assert len(saved["rows"]) == 2
    assert all(v.isfinite().all() for v in saved["model"].values())
    data.bad = None
    assert len(fit(network(), data, valid, resume=True, **run)) == 4  # and it goes on


def test_a_validation_loss_that_is_not_finite_stops(train, valid, tmp_path):
    data = Poisoned(valid)
    data.bad = 1
    with pytest.raises(FloatingPointError, match="validation loss is nan after epoch 1"):
        fit(network(), train, data, epochs=4, run_dir=tmp_path, **QUIET)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_weights_that_are_not_finite_are_not_saved(train, valid, tmp_path):
    def spoil(history):
        with torch.no_grad():
            model.layers[1].bias.fill_(torch.inf)

    model = network()
    with pytest.raises(FloatingPointError):
        fit(model, train, valid, epochs=4, run_dir=tmp_path, on_epoch=spoil, **QUIET)
    assert len(checkpoint(tmp_path)["rows"]) == 1
    assert all(v.isfinite().all() for v in checkpoint(tmp_path)["model"].values())


def test_a_full_disk_leaves_the_last_checkpoint(train, valid, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill_up(history):
        if len(history) == 2:
            monkeypatch.setattr(Path, "write_bytes", full)

    run = {"epochs": 4, "run_dir": tmp_path, **QUIET}
    with pytest.raises(OSError, match=r"the checkpoint .*No space left .*resume=True") as caught:
        fit(network(), train, valid, on_epoch=fill_up, **run)
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert len(checkpoint(tmp_path)["rows"]) == 2
    assert not list(tmp_path.glob(".*.part"))
    assert len(fit(network(), train, valid, resume=True, **run)) == 4


def test_a_file_that_may_not_grow_leaves_the_last_checkpoint(train, valid, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def forbid(history):
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limits[1]))

    try:
        with pytest.raises(OSError, match="could not write the checkpoint"):
            fit(network(), train, valid, epochs=2, run_dir=tmp_path, on_epoch=forbid, **QUIET)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(checkpoint(tmp_path)["rows"]) == 1


def test_two_runs_in_one_folder_are_refused(train, valid, tmp_path):
    with (
        RunFolder(tmp_path).held(),
        pytest.raises(RunError, match="another process is training in"),
    ):
        fit(network(), train, valid, epochs=1, run_dir=tmp_path, **QUIET)
    assert len(fit(network(), train, valid, epochs=1, run_dir=tmp_path, **QUIET)) == 1


def test_a_run_goes_on_with_its_own_settings_only(train, valid, tmp_path):
    run = {"run_dir": tmp_path, **QUIET}
    fit(network(), train, valid, epochs=1, **run)
    for other in ({"lr": 0.5}, {"seed": 3}, {"average": 0.9}, {"batch_size": 2}):
        with pytest.raises(RunError, match=rf"other settings \({next(iter(other))} was"):
            fit(network(), train, valid, epochs=2, resume=True, **{**run, **other})
    with pytest.raises(RunError, match="network was 'Small', is 'dicnn'"):
        fit(network("dicnn"), train, valid, epochs=2, resume=True, **run)
    with pytest.raises(RunError, match="train was"):
        fit(network(), train[:10], valid, epochs=2, resume=True, **run)


def test_results_without_a_checkpoint_are_not_overwritten(train, valid, tmp_path):
    run = {"epochs": 1, "run_dir": tmp_path, **QUIET}
    fit(network(), train, valid, **run)
    weights = (tmp_path / "weights.safetensors").read_bytes()
    (tmp_path / "checkpoint.pt").unlink()
    for resume in (False, True):
        with pytest.raises(RunError, match="no checkpoint to go on from"):
            fit(network(seed=3), train, valid, resume=resume, **run)
    assert (tmp_path / "weights.safetensors").read_bytes() == weights


def test_results_without_a_checkpoint_can_be_gone_on_from(train, valid, tmp_path):
    """From the best weights as they are; what came after them is forgotten."""
    run = {"run_dir": tmp_path, "average": 0.999, "lr": 1e-2, "patience": None, **QUIET}
    before = fit(network(), train, valid, epochs=4, **run)
    best = before.best_epoch()
    path = tmp_path / "history.csv"
    rows = before.rows
    rows.append({**rows[-1], "epoch": 5, "valid_loss": 2 * rows[best - 1]["valid_loss"]})
    before.write(path)  # an epoch that was worse than the best, whose weights are gone
    (tmp_path / "checkpoint.pt").unlink()
    weights = load_file(tmp_path / "weights.safetensors")

    with pytest.raises(RunError, match="other settings"):
        fit(network(), train, valid, epochs=9, resume="best", **{**run, "lr": 1e-9})
    other = network(seed=3)
    after = fit(other, train, valid, epochs=best, resume="best", **run)
    assert after.rows == rows[:best]
    assert same(other.state_dict(), weights)
    assert json.loads((tmp_path / "run.json").read_text())["restarts"] == [best]

    after = fit(network(seed=3), train, valid, epochs=best + 2, resume="best", **run)
    assert after.rows[:best] == rows[:best]
    assert len(after) == best + 2
    # The average goes on from the best weights; it is not the weights after a step.
    assert after["valid_loss"][best] == pytest.approx(rows[best - 1]["valid_loss"], rel=0.05)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["restarts"] == [best]
    fit(network(), train, valid, epochs=best + 3, resume=True, **run)  # now it has a checkpoint
    assert json.loads((tmp_path / "run.json").read_text())["restarts"] == [best]
    assert checkpoint(tmp_path)["restarts"] == [best]


def test_weights_that_cannot_be_gone_on_from_are_refused(train, valid, tmp_path):
    run = {"epochs": 2, "run_dir": tmp_path, "resume": "best", **QUIET}
    history = fit(network(), train, valid, **run)
    (tmp_path / "checkpoint.pt").unlink()
    weights = tmp_path / "weights.safetensors"
    other = History([{**row, "valid_loss": 2 * row["valid_loss"]} for row in history.rows])
    other.write(tmp_path / "history.csv")
    with pytest.raises(DataError, match="is another one"):
        fit(network(), train, valid, **run)
    history.write(tmp_path / "history.csv")
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(DataError, match="does not hold the weights of this run"):
        fit(network(), train, valid, **run)
    with pytest.raises(ValueError, match="resume must be"):
        fit(network(), train, valid, **{**run, "resume": "weights"})


def test_a_damaged_checkpoint_is_refused(train, valid, tmp_path):
    run = {"epochs": 1, "run_dir": tmp_path, "resume": True, **QUIET}
    fit(network(), train, valid, **run)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="no checkpoint of this trainer, or is damaged"):
        fit(network(), train, valid, **run)
    torch.save({"format": 1, "model": nn.Linear(1, 1)}, path)  # an object that would run code
    with pytest.raises(DataError, match="no checkpoint of this trainer"):
        fit(network(), train, valid, **run)


def test_settings_that_cannot_be_are_refused(train, valid):
    bad = {
        "batch_size 30 does not fit 20 training patches": {"batch_size": 30},
        "cannot be divided by 1 processes times accumulate=3": {"accumulate": 3},
        "precision must be": {"precision": "fp64"},
        "device must be": {"device": "tpu"},
        "schedule must be": {"schedule": "step"},
        "average must lie": {"average": 1.5},
    }
    for message, setting in bad.items():
        with pytest.raises(ValueError, match=message):
            fit(network(), train, valid, epochs=1, **{**QUIET, **setting})


def test_patches_that_cannot_be_learned_from_are_refused(train, valid):
    run = {"epochs": 1, **QUIET}
    blind = [{k: v for k, v in patch.items() if k != "gt"} for patch in train]
    with pytest.raises(DataError, match="has pan, ms, lms, but no gt"):
        fit(network(), blind, valid, **run)
    with pytest.raises(DataError, match="valid holds no patches"):
        fit(network(), train, [], **run)
    odd = [{**patch, "gt": patch["gt"][:2]} for patch in train]
    with pytest.raises(DataError, match=r"gt has shape \(2, 16, 16\)"):
        fit(network(), odd, valid, **run)
    with pytest.raises(DataError, match="for a network of 8 bands"):
        fit(build_network("dicnn", 8), train, valid, **run)


# --- In a notebook ----------------------------------------------------------------------------


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
    history = fit(network(), train, valid, epochs=4, on_epoch=LiveCurve(seconds=60), **QUIET)
    assert len(drawn) == 2  # the first and the last
    axes = drawn[-1].axes[0]
    assert axes.lines[1].get_ydata().tolist() == history["valid_loss"].tolist()
    assert axes.get_xlabel() == "epoch"
