"""The experiment: its table of runs, and how they are carried out."""

import csv
import os
import signal
from dataclasses import replace
from types import SimpleNamespace

import h5py
import pytest
import torch

from dcfnet import WV3, DataError, cli
from dcfnet.errors import RunError
from dcfnet.networks import NETWORKS
from dcfnet.training import experiment
from dcfnet.training import trials as table_of
from dcfnet.training.history import History
from dcfnet.training.plan import Plan
from dcfnet.training.runs import RunFolder, read_run
from dcfnet.training.trials import Trial, fresh, select, trials
from tests.conftest import ROOT
from tests.support.patches import noise
from tests.support.training import checkpoint, same, write_patches

# --- The table --------------------------------------------------------------------------------


def test_every_network_is_trained_on_every_fold_by_one_plan():
    found = {name: trial for name, trial in trials().items() if "/fold" in name}
    for fold in range(3):
        names = [f"{name}/fold{fold}" for name in (*NETWORKS, "dcfnet-narrow")]
        for trial in map(found.pop, names):
            assert trial.plan == Plan(
                epochs=150, patience=None, lr=1e-3, schedule="trapezoid", batch_size=32,
                average=0.99, exposure=(0.5, 3.0), norm_batches=4, seed=fold,
            )  # fmt: skip
            assert trial.fold == fold
            assert trial.rate_chosen == (trial.network != "dcfnet")
        dark = found.pop(f"fusionnet-no-exposure/fold{fold}")
        assert dark == replace(trials()[f"fusionnet/fold{fold}"], plan=dark.plan)
        assert dark.plan.exposure is None
        for network, given in (("pannet", False), ("fusionnet", True)):
            other = found.pop(f"{table_of.HIGH_PASS[network]}/fold{fold}")
            twin = trials()[f"{network}/fold{fold}"]
            assert other == replace(twin, options={"high_pass": given})
        other, twin = found.pop(f"dcfnet-narrow-high-pass/fold{fold}"), f"dcfnet-narrow/fold{fold}"
        assert other == replace(trials()[twin], options={"width": 0.25, "high_pass": True})
    exact = found.pop("fusionnet-float32/fold0")
    assert exact == replace(trials()["fusionnet/fold0"], plan=exact.plan)
    assert exact.plan.precision == "fp32"
    assert not found


def test_every_committed_run_is_one_of_the_table_and_as_planned():
    runs = ROOT / "data" / "runs"
    names = {str(path.parent.relative_to(runs)) for path in runs.glob("**/run.json")}
    states = experiment.overview(select(names))["state"]
    assert set(states) == {"done", "begun"}, states[~states.isin(["done", "begun"])]


def test_other_seeds_differ_in_the_seed_alone():
    whole = trials()["fusionnet/fold0"]
    for seed in (1, 2):
        other = replace(whole, plan=replace(whole.plan, seed=seed))
        assert trials()[f"seeds/fusionnet-seed{seed}"] == other


def test_parts_differ_in_the_parts_alone():
    whole = trials()["parts/whole-seed2"]
    assert whole.options == {"width": 0.25, "without": ()}
    assert (whole.plan.epochs, whole.plan.seed) == (120, 2)
    for part in ("without-transfers", "without-pcft", "depth-matched"):
        other = trials()[f"parts/{part}-seed2"]
        assert other.plan == whole.plan
        assert other.options["without"]
    equal = trials()["parts/equal-shares-seed2"]
    assert (equal.plan, equal.options) == (whole.plan, {"width": 0.25, "learn_shares": False})
    matched = fresh("dcfnet", 0, **other.options)
    counts = [sum(1 for _ in m.modules()) for m in (matched, fresh("dcfnet", 0, width=0.25))]
    assert counts[0] < counts[1]


def test_the_length_of_training_has_no_fall_that_hides_its_end():
    for name, trial in trials().items():
        if name.startswith("length/") or name == "dcfnet":
            assert (trial.plan.schedule, trial.plan.patience) == ("constant", 100)
            assert trial.patches == {"length/90": 90, "length/18": 180}.get(name[:9])


def test_names_are_chosen_by_patterns():
    assert select(["dcfnet-narrow/*", "pnn/fold1"]) == [
        "dcfnet-narrow/fold0", "pnn/fold1", "dcfnet-narrow/fold1", "dcfnet-narrow/fold2",
    ]  # fmt: skip
    assert select(["*"]) == list(trials())
    assert select([]) == []
    with pytest.raises(DataError, match=r"unknown run 'pnn/fold3' \(did you mean .*--list"):
        select(["dcfnet", "pnn/fold3"])


def test_networks_that_add_details_begin_with_none():
    images = torch.rand(1, 1, 16, 16), torch.rand(1, 8, 4, 4), torch.rand(1, 8, 16, 16)
    for name in ("pannet", "dicnn", "fusionnet", "dcfnet"):
        assert torch.equal(fresh(name, 1).eval()(*images), images[2])
    assert torch.allclose(fresh("msdcnn", 1)(*images), torch.tensor(0.1))
    assert same(fresh("pnn", 3).state_dict(), fresh("pnn", 3).state_dict())


# --- Carrying it out --------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Two runs of which one needs a learning rate, on a dozen patches of 16 x 16 pixels."""
    monkeypatch.setenv("DCFNET_DATA", str(tmp_path))
    monkeypatch.setattr(experiment, "load_scene", lambda: SimpleNamespace(sensor=WV3))
    for fold in ("", "fold1"):
        folder = tmp_path / "wv3-longmont" / fold
        for split, count in (("train", 12), ("valid", 2)):
            write_patches(folder / f"{split}.h5", count)
    plan = Plan(epochs=2, patience=None, batch_size=4, norm_batches=1, precision="fp32")
    table = {
        "dicnn/fold1": Trial("dicnn", plan, 1, rate_chosen=True),
        "narrow/fold0": Trial("dcfnet", replace(plan, lr=1e-4), options={"width": 0.05}),
    }
    for lr in (1e-4, 1e-3):
        table[f"rates/dicnn-{lr:g}"] = Trial("dicnn", replace(plan, epochs=1, lr=lr))
    for module in (experiment, table_of):
        monkeypatch.setattr(module, "trials", lambda: table)
        monkeypatch.setattr(module, "RATES", (1e-4, 1e-3))
        monkeypatch.setattr(module, "COMPARED", ("dicnn",))
        monkeypatch.setattr(module, "RATE_EPOCHS", 1)
    return tmp_path


def carry_out(*names, **more):
    return experiment.carry_out(names, device="cpu", progress=False, **more)


def test_a_learning_rate_is_chosen_before_it_is_needed_and_all_is_done_once(small, capsys):
    seen = []
    assert carry_out("dicnn/fold1", on_epoch=lambda name, history: seen.append(name)) == ""
    assert seen == ["rates/dicnn-0.0001", "rates/dicnn-0.001", "dicnn/fold1", "dicnn/fold1"]
    with (small / "runs" / "learning_rates.csv").open() as file:
        rows = {float(row["lr"]): row for row in csv.DictReader(file)}
    for lr, row in rows.items():
        tried = History.read(small / "rates" / f"dicnn-{lr:g}" / "history.csv")
        assert float(row["valid_loss"]) == tried["valid_loss"].min()
    best = min(rows, key=lambda lr: float(rows[lr]["valid_loss"]))
    run = read_run("dicnn/fold1", small / "runs")
    assert run.record["settings"]["lr"] == best
    assert run.record["settings"]["train"]["file"] == "fold1/train.h5"

    # A finished run is left alone, also without its checkpoint and weights, as git has it.
    for file in ("checkpoint.pt", "weights.safetensors"):
        (small / "runs" / "dicnn" / "fold1" / file).unlink()
    assert carry_out("dicnn/fold1") == ""
    assert not (small / "runs" / "dicnn" / "fold1" / "weights.safetensors").exists()

    state = experiment.overview(table_of.trials())["state"]
    assert state["dicnn/fold1"] == state["rates/dicnn-0.001"] == "done"
    assert state["narrow/fold0"] == "to do"
    assert cli.main(["experiment", "--list"]) == 0
    assert "narrow/fold0" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on(small):
    assert carry_out("narrow/fold0") == ""
    whole = checkpoint(small / "runs" / "narrow" / "fold0")
    (small / "runs").rename(small / "whole")
    stops = 0
    while carry_out("narrow/fold0", max_seconds=0) == "time limit":
        stops += 1
        state = experiment.overview(["narrow/fold0"])["state"]
        assert state["narrow/fold0"] in ("begun", "done")
    assert stops > 2
    assert same(checkpoint(small / "runs" / "narrow" / "fold0"), whole)


def test_a_run_goes_on_from_its_best_weights_where_git_has_no_checkpoint(small, monkeypatch):
    table = table_of.trials()
    trial = table["narrow/fold0"]
    longer = replace(trial, plan=replace(trial.plan, epochs=3, patience=2))
    monkeypatch.setitem(table, "narrow/fold0", longer)
    folder = small / "runs" / "narrow" / "fold0"
    carry_out("narrow/fold0", on_epoch=lambda _, history: os.kill(os.getpid(), signal.SIGINT))
    (folder / "checkpoint.pt").unlink()
    assert carry_out("narrow/fold0") == ""
    assert read_run("narrow/fold0", small / "runs").record["restarts"] == [1]


def test_settings_that_are_not_those_of_the_table_are_told(small, monkeypatch):
    carry_out("narrow/fold0")
    table = table_of.trials()
    other = replace(table["narrow/fold0"], options={"width": 0.1})
    monkeypatch.setitem(table, "narrow/fold0", other)
    assert experiment.overview(["narrow/fold0"])["state"].tolist() == ["done, otherwise"]


def test_a_rate_at_which_a_network_diverges_is_not_chosen(small, monkeypatch):
    fit = experiment.fit

    def diverging(model, train, valid, plan, **call):
        if plan.lr == 1e-4:
            raise FloatingPointError("the loss is nan")
        return fit(model, train, valid, plan, **call)

    monkeypatch.setattr(experiment, "fit", diverging)
    assert carry_out("dicnn/fold1") == ""
    assert read_run("dicnn/fold1", small / "runs").record["settings"]["lr"] == 1e-3
    with pytest.raises(FloatingPointError):
        carry_out("narrow/fold0")


def test_a_run_of_another_process_is_passed_over(small):
    with (
        RunFolder(small / "runs" / "narrow" / "fold0").held(),
        pytest.raises(RunError, match="narrow/fold0: another process is training"),
    ):
        carry_out("narrow/fold0", "dicnn/fold1")
    assert experiment.overview(["dicnn/fold1"])["state"].tolist() == ["done"]


def test_fewer_patches_are_spread_evenly_over_the_ground(small, monkeypatch):
    sample = noise(128, 832)
    monkeypatch.setattr(experiment, "reduce_resolution", lambda _: sample)
    table = table_of.trials()
    few = replace(table["narrow/fold0"], patches=9)
    monkeypatch.setitem(table, "narrow/fold0", few)
    assert carry_out("narrow/fold0") == ""
    record = read_run("narrow/fold0", small / "runs").record
    assert record["settings"]["train"]["file"] == "wv3-longmont/train-9.h5"
    # Of 15 columns and 3 rows of windows every fifth.
    with h5py.File(small / "wv3-longmont" / "train-9.h5") as file:
        for i, patch in enumerate(file["pan"]):
            row, column = divmod(5 * i, 15)
            y, x = 32 * row, 32 * column
            assert (patch[0] == sample.pan[y : y + 64, x : x + 64]).all()
        assert i == 8


@pytest.mark.parametrize(("stopped", "code"), [("", 0), ("SIGINT", 130), ("SIGTERM", 143)])
def test_the_command(stopped, code, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(experiment, "carry_out", lambda *a, **k: asked.append((a, k)) or stopped)
    command = ["experiment", "pnn/fold?", "--max-seconds", "60", "--device", "cpu"]
    assert cli.main(command) == code
    (names,), call = asked[0]
    assert names == ["pnn/fold0", "pnn/fold1", "pnn/fold2"]
    assert (call["max_seconds"], call["device"]) == (60, "cpu")
    assert ("the same command goes on" in capsys.readouterr().out) == bool(stopped)


def test_the_command_wants_to_be_told_which(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(experiment, "carry_out", lambda names, **_: asked.append(names) or "")
    assert cli.main(["experiment"]) == 2
    assert "--all" in capsys.readouterr().err
    assert cli.main(["experiment", "fusionnt/*"]) == 2
    assert cli.main(["experiment", "--all"]) == 0
    assert cli.main(["experiment", "--learning-rates"]) == 0
    assert asked == [list(trials()), [name for name in trials() if name.startswith("rates/")]]
    assert len(asked[1]) == 20
