"""Carrying out the experiment of the book: ``dcfnet experiment``.

Each run leaves ``data/runs/<name>/``, a trial of a learning rate ``data/rates/<name>/`` and a row
of ``data/runs/learning_rates.csv``. A run that was interrupted, by whatever, goes on where it
stopped, and one that is finished is left alone, so the command can be repeated at will.
"""

import csv
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from dcfnet.errors import RunError
from dcfnet.imagery.building import build_data, data_file, write_h5
from dcfnet.imagery.catalogue import load_scene
from dcfnet.imagery.pancollection import PatchDataset
from dcfnet.imagery.patches import patch_windows
from dcfnet.imagery.wald import reduce_resolution
from dcfnet.paths import data_dir, is_file, written_whole
from dcfnet.training.history import COLUMNS, History
from dcfnet.training.loop import fit
from dcfnet.training.plan import Plan
from dcfnet.training.runs import read_run
from dcfnet.training.trials import COMPARED, RATE_EPOCHS, RATES, Trial, fresh, trials


def carry_out(
    names: Iterable[str],
    *,
    max_seconds: float | None = None,
    on_epoch: Callable[[str, History], None] | None = None,
    **call: Any,
) -> str:
    """Begin runs or go on with them, one after the other; those that are finished are left alone.

    Where a checkpoint is gone, as none is in git, a run goes on from its best weights. Learning
    rates and data files that are missing are made. Beside ``max_seconds``, which counts in all,
    ``call`` has more for `fit`: ``device``, ``workers``, ``progress``.

    Returns:
        Why it ended early, as `History.stopped` says it, or ``""``.

    Raises:
        RunError: Some runs cannot be gone on with; all others have been carried out.
    """
    ends = None if max_seconds is None else time.monotonic() + max_seconds
    table, refused = trials(), []
    for name in names:
        network = table[name].network
        wanting = table[name].rate_chosen and network not in _chosen_rates()
        first = [f"rates/{network}-{lr:g}" for lr in RATES] if wanting else []
        for each in (*first, name):
            trial = _with_rate(table[each], _chosen_rates())
            left = None if ends is None else ends - time.monotonic()
            try:
                history = _train(each, trial, left, on_epoch, call)
            except RunError as error:  # another process may be at it
                refused.append(f"{each}: {error}")
                break
            if not history.finished:
                return history.stopped
    if refused:
        raise RunError("; ".join(refused))
    return ""


def _train(
    name: str,
    trial: Trial,
    max_seconds: float | None,
    on_epoch: Callable[[str, History], None] | None,
    call: Mapping[str, Any],
) -> History:
    if _done(name, trial):
        return History(stopped="epochs")
    folder = _folder(name)
    try:
        if _finished(record := _record(folder)):
            history = replace(History.read(folder / "history.csv"), stopped=record["stopped"])
        else:
            model = fresh(trial.network, trial.plan.seed, **trial.options)
            history = fit(
                model, *fold_patches(trial.fold, count=trial.patches), trial.plan,
                run_dir=folder, resume="best",
                max_seconds=max_seconds,
                on_epoch=on_epoch and (lambda history: on_epoch(name, history)), **call,
            )  # fmt: skip
    except FloatingPointError:
        if not name.startswith("rates/"):
            raise
        history = History(stopped="epochs")  # that it diverges is an answer as well
    if name.startswith("rates/") and history.finished:
        _note_rate(trial, history)
    return history


def fold_patches(fold: int = 0, *, count: int | None = None) -> tuple[PatchDataset, PatchDataset]:
    """Patches of a fold to train on and to validate with; their files are built if need be.

    With a ``count`` there are that many to train on, spread evenly over the ground.
    """
    train, valid = data_file("train", fold=fold), data_file("valid", fold=fold)
    if not (train.exists() and valid.exists()):
        build_data(fold=fold, progress=False)
    scene = load_scene()
    if count:
        train = train.with_name(f"train-{count}.h5")
        if not train.exists():
            sample = reduce_resolution(scene)
            windows = patch_windows(sample, "train", fold=fold)
            write_h5(train, sample, windows[:: len(windows) // count][:count])
    return PatchDataset(train, scene.sensor), PatchDataset(valid, scene.sensor)


# --- What has been done -----------------------------------------------------------------------


def overview(names: Iterable[str]) -> pd.DataFrame:
    """What has become of runs, a row each.

    Columns: ``network``; ``fold``; ``lr``, NaN where it is not chosen yet; ``epochs`` that are
    done, ``of`` how many at most; ``state``: ``"to do"``, ``"begun"`` or ``"done"``, with
    ``", otherwise"`` where the settings of the run are not those of the table.
    """
    table, rates, rows = trials(), _chosen_rates(), {}
    for name in names:
        trial, state = _with_rate(table[name], rates), "to do"
        if record := _record(_folder(name)):
            state = "done" if _finished(record) else "begun"
            state += "" if _as_planned(record["settings"], trial) else ", otherwise"
        elif _done(name, trial):
            state = "done"
        rows[name] = {
            "network": trial.network,
            "fold": trial.fold,
            "lr": math.nan if trial.rate_chosen else trial.plan.lr,
            "epochs": record.get("epochs", 0),
            "of": trial.plan.epochs,
            "state": state,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _folder(name: str) -> Path:
    """Trials of learning rates are no results, and lie outside the runs."""
    return data_dir() / name if name.startswith("rates/") else data_dir() / "runs" / name


def _record(folder: Path) -> dict[str, Any]:
    """What a run says of itself; nothing if it has not begun."""
    if not is_file(folder / "run.json"):
        return {}
    return read_run(folder.name, folder.parent).record


def _finished(record: Mapping[str, Any]) -> bool:
    return record.get("stopped") in ("epochs", "patience")


def _done(name: str, trial: Trial) -> bool:
    if name.startswith("rates/"):
        return (trial.network, trial.plan.lr) in _tried_rates()
    return _finished(_record(_folder(name)))


def _as_planned(settings: Mapping[str, Any], trial: Trial) -> bool:
    found = Plan.from_settings(settings)
    planned = replace(trial.plan, precision=found.precision)
    if trial.rate_chosen:
        planned = replace(planned, lr=found.lr)
    options = json.loads(json.dumps(dict(trial.options)))
    return (
        settings["network"] == trial.network
        and found == planned
        and all(settings["options"].get(key) == value for key, value in options.items())
    )


# --- Learning rates ---------------------------------------------------------------------------


def _tried_rates() -> dict[tuple[str, float], dict[str, str]]:
    """Rows of ``learning_rates.csv`` by network and rate."""
    path = data_dir() / "runs" / "learning_rates.csv"
    if not is_file(path):
        return {}
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get("epochs") == str(RATE_EPOCHS)]
    return {(row["network"], float(row["lr"])): row for row in rows}


def _note_rate(trial: Trial, history: History) -> None:
    """A row of ``learning_rates.csv``: the epoch with the lowest validation loss."""
    measured = [key for key in COLUMNS if key not in ("seconds", "lr")]
    best = history.best_epoch()
    found = history.rows[best - 1] if best else dict.fromkeys(measured, math.inf)
    lr = trial.plan.lr
    row: dict[str, Any] = {"network": trial.network, "lr": lr, "epochs": RATE_EPOCHS}
    rows = {**_tried_rates(), (trial.network, lr): row | {key: found[key] for key in measured}}
    path = data_dir() / "runs" / "learning_rates.csv"
    with written_whole(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.DictWriter(file, [*row, *measured], lineterminator="\n")
        table.writeheader()
        table.writerows(rows[key] for key in sorted(rows))


def _chosen_rates() -> dict[str, float]:
    """The best learning rate of each network that has been tried at all of them."""
    tried, chosen = _tried_rates(), {}
    for network in COMPARED:
        losses = {lr: tried[network, lr]["valid_loss"] for lr in RATES if (network, lr) in tried}
        if len(losses) == len(RATES):
            chosen[network] = min(losses, key=lambda lr: float(losses[lr]))
    return chosen


def _with_rate(trial: Trial, rates: Mapping[str, float]) -> Trial:
    if not trial.rate_chosen or trial.network not in rates:
        return trial
    return replace(trial, plan=replace(trial.plan, lr=rates[trial.network]), rate_chosen=False)
