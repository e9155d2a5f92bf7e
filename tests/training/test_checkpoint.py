"""What stays of a run, and that it can always go on."""

import json
import os
import resource
import signal

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from dcfnet import DataError
from dcfnet.errors import RunError
from dcfnet.networks import build_network
from dcfnet.training.history import History
from tests.support.training import checkpoint, network, quick_fit, same

RUN = {"epochs": 4, "average": 0.9, "exposure": (0.5, 3.0)}


@pytest.fixture(scope="module")
def uninterrupted(train, valid, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    quick_fit(network(), train, valid, run_dir=folder, **RUN)
    return checkpoint(folder)


def test_a_time_limit_stops_in_mid_epoch(train, valid, tmp_path, uninterrupted):
    run = {**RUN, "run_dir": tmp_path, "resume": True}
    stops = 0
    while not (history := quick_fit(network(), train, valid, max_seconds=0, **run)).finished:
        assert history.stopped == "time limit"
        stops += 1
        assert stops < 50
    assert stops > 4  # more than once per epoch
    assert same(checkpoint(tmp_path), uninterrupted)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["settings"]["exposure"] == [0.5, 3.0]
    with pytest.raises(RunError, match=r"exposure was \[0\.5, 3\.0\], is None"):
        quick_fit(network(), train, valid, **{**run, "exposure": None})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_and_the_run_goes_on(train, valid, tmp_path, uninterrupted, number):
    handler = signal.getsignal(number)

    def interrupt(history):
        if len(history) == 2:
            os.kill(os.getpid(), number)

    run = {**RUN, "run_dir": tmp_path}
    history = quick_fit(network(), train, valid, on_epoch=interrupt, **run)
    assert history.stopped == number.name
    assert not history.finished
    assert signal.getsignal(number) is handler
    assert json.loads((tmp_path / "run.json").read_text())["stopped"] == number.name
    with pytest.raises(RunError, match="already holds a run: pass resume=True"):
        quick_fit(network(), train, valid, **run)
    assert quick_fit(network(seed=7), train, valid, resume=True, **run).stopped == "epochs"
    assert same(checkpoint(tmp_path), uninterrupted)


def test_a_finished_run_is_left_alone_and_can_be_extended(train, valid, tmp_path, uninterrupted):
    run = {**RUN, "run_dir": tmp_path, "resume": True}
    short = {**run, "epochs": 2}
    quick_fit(network(), train, valid, **short)
    (tmp_path / "history.csv").unlink()
    (tmp_path / "weights.safetensors").unlink()
    assert len(quick_fit(network(), train, valid, **short)) == 2
    assert len(History.read(tmp_path / "history.csv")) == 2  # what is missing is made anew
    assert (tmp_path / "weights.safetensors").exists()
    quick_fit(network(), train, valid, **run)
    assert same(checkpoint(tmp_path), uninterrupted)


def test_weights_that_are_not_finite_are_not_saved(train, valid, tmp_path):
    def spoil(history):
        with torch.no_grad():
            model.layers[1].bias.fill_(torch.inf)

    model = network()
    with pytest.raises(FloatingPointError):
        quick_fit(model, train, valid, epochs=4, run_dir=tmp_path, on_epoch=spoil)
    assert len(checkpoint(tmp_path)["rows"]) == 1
    assert all(v.isfinite().all() for v in checkpoint(tmp_path)["model"].values())


def test_a_file_that_may_not_grow_leaves_the_last_checkpoint(train, valid, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def forbid(history):
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limits[1]))

    run = {"epochs": 2, "run_dir": tmp_path}
    try:
        with pytest.raises(OSError, match=r"could not write the checkpoint .*resume=True"):
            quick_fit(network(), train, valid, on_epoch=forbid, **run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(checkpoint(tmp_path)["rows"]) == 1
    assert not list(tmp_path.glob(".*.part"))
    assert len(quick_fit(network(), train, valid, resume=True, **run)) == 2


def test_a_run_goes_on_with_its_own_settings_only(train, valid, tmp_path):
    run = {"run_dir": tmp_path, "resume": True}
    quick_fit(network(), train, valid, epochs=1, **run)
    for name, other in {"lr": 0.5, "seed": 3, "average": 0.9, "exposure": [1, 2]}.items():
        with pytest.raises(RunError, match=rf"other settings \({name} was"):
            quick_fit(network(), train, valid, epochs=2, **run, **{name: other})
    with pytest.raises(RunError, match="network was 'Small', is 'dicnn'"):
        quick_fit(network("dicnn"), train, valid, epochs=2, **run)
    with pytest.raises(RunError, match="train was"):
        quick_fit(network(), train[:10], valid, epochs=2, **run)


@pytest.mark.parametrize("resume", [True, "best"])
def test_a_run_goes_on_that_was_recorded_before_an_option_came(train, valid, tmp_path, resume):
    def narrow(**options):
        return build_network("dcfnet", 4, **{"width": 0.05, **options})

    quick_fit(narrow(), train, valid, epochs=1, run_dir=tmp_path)
    record = json.loads((tmp_path / "run.json").read_text())
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    for settings in (record["settings"], saved["settings"]):
        del settings["options"]["learn_shares"], settings["options"]["without"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    if resume == "best":
        (tmp_path / "checkpoint.pt").unlink()
    else:
        torch.save(saved, tmp_path / "checkpoint.pt")
    how = {"epochs": 2, "run_dir": tmp_path, "resume": resume}
    for other in ({"learn_shares": False}, {"width": 0.1}):
        with pytest.raises(RunError, match="options was"):
            quick_fit(narrow(**other), train, valid, **how)
    assert len(quick_fit(narrow(), train, valid, **how)) == 2


def test_results_without_a_checkpoint_are_not_overwritten(train, valid, tmp_path):
    run = {"epochs": 1, "run_dir": tmp_path}
    quick_fit(network(), train, valid, **run)
    weights = (tmp_path / "weights.safetensors").read_bytes()
    (tmp_path / "checkpoint.pt").unlink()
    for resume in (False, True):
        with pytest.raises(RunError, match="no checkpoint to go on from"):
            quick_fit(network(seed=3), train, valid, resume=resume, **run)
    assert (tmp_path / "weights.safetensors").read_bytes() == weights


def test_results_without_a_checkpoint_can_be_gone_on_from(train, valid, tmp_path):
    """From the best weights as they are; what came after them is forgotten."""
    run = {"run_dir": tmp_path, "average": 0.999, "lr": 1e-2, "patience": None}
    before = quick_fit(network(), train, valid, epochs=4, **run)
    best = before.best_epoch()
    path = tmp_path / "history.csv"
    rows = before.rows
    rows.append({**rows[-1], "epoch": 5, "valid_loss": 2 * rows[best - 1]["valid_loss"]})
    before.write(path)  # an epoch that was worse than the best, whose weights are gone
    (tmp_path / "checkpoint.pt").unlink()
    weights = load_file(tmp_path / "weights.safetensors")

    with pytest.raises(RunError, match="other settings"):
        quick_fit(network(), train, valid, epochs=9, resume="best", **{**run, "lr": 1e-9})
    other = network(seed=3)
    after = quick_fit(other, train, valid, epochs=best, resume="best", **run)
    assert after.rows == rows[:best]
    assert same(other.state_dict(), weights)
    assert json.loads((tmp_path / "run.json").read_text())["restarts"] == [best]

    after = quick_fit(network(seed=3), train, valid, epochs=best + 2, resume="best", **run)
    assert after.rows[:best] == rows[:best]
    assert len(after) == best + 2
    # The average goes on from the best weights; it is not the weights after a step.
    assert after["valid_loss"][best] == pytest.approx(rows[best - 1]["valid_loss"], rel=0.05)
    # Now it has a checkpoint.
    quick_fit(network(), train, valid, epochs=best + 3, resume=True, **run)
    assert json.loads((tmp_path / "run.json").read_text())["restarts"] == [best]
    assert checkpoint(tmp_path)["restarts"] == [best]


def test_weights_that_cannot_be_gone_on_from_are_refused(train, valid, tmp_path):
    run = {"epochs": 2, "run_dir": tmp_path, "resume": "best"}
    history = quick_fit(network(), train, valid, **run)
    (tmp_path / "checkpoint.pt").unlink()
    weights = tmp_path / "weights.safetensors"
    other = History([{**row, "valid_loss": 2 * row["valid_loss"]} for row in history.rows])
    other.write(tmp_path / "history.csv")
    with pytest.raises(DataError, match="is another one"):
        quick_fit(network(), train, valid, **run)
    history.write(tmp_path / "history.csv")
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(DataError, match="does not hold the weights of this run"):
        quick_fit(network(), train, valid, **run)


def test_a_damaged_checkpoint_is_refused(train, valid, tmp_path):
    run = {"epochs": 1, "run_dir": tmp_path, "resume": True}
    quick_fit(network(), train, valid, **run)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="no checkpoint of this trainer, or is damaged"):
        quick_fit(network(), train, valid, **run)
    torch.save({"format": 1, "model": nn.Linear(1, 1)}, path)  # an object that would run code
    with pytest.raises(DataError, match="no checkpoint of this trainer"):
        quick_fit(network(), train, valid, **run)
