"""What stays of a training: its checkpoint, how it is taken up again, what is published of it."""

import copy
import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dcfnet.errors import DataError, RunError
from dcfnet.networks import NETWORKS, build_network
from dcfnet.training.history import COLUMNS, History
from dcfnet.training.machine import describe
from dcfnet.training.plan import Plan
from dcfnet.training.runs import RunFolder, describe_data, read_run, versions


class State:
    """What is trained and how far it is: all that is needed to go on.

    Attributes:
        model, adam: The weights as they are, on the device of the training, and their optimiser.
        average: The moving average of the weights, if the plan asks for one.
        best: A copy of the network with the weights of the best epoch; None before the first.
        history: The epochs that are done.
        step, loss_sum: Steps of the next epoch that are done, and the sum of their losses.
        epoch_seconds, wall_seconds: What the next epoch and the whole run have taken so far.
        restarts: Epochs after which the run went on from its best weights alone.
    """

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        fused = next(model.parameters()).device.type in ("cpu", "cuda")
        self.model = model
        self.adam = torch.optim.Adam(model.parameters(), plan.lr, (0.9, 0.999), fused=fused)
        self.average: AveragedModel | None = None
        if plan.average is not None:
            moving = get_ema_multi_avg_fn(plan.average)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(model, multi_avg_fn=moving)
        self.best: nn.Module | None = None
        self.history = History()
        self.step, self.loss_sum = 0, 0.0
        self.epoch_seconds, self.wall_seconds = 0.0, 0.0
        self.restarts: list[int] = []
        self._counted = time.monotonic()

    def count_time(self) -> None:
        """Add the time since the last call to that of the epoch and the run."""
        now = time.monotonic()
        self.epoch_seconds += now - self._counted
        self.wall_seconds += now - self._counted
        self._counted = now

    def as_dict(self) -> dict[str, Any]:
        """Tensors, numbers, strings, lists and dictionaries alone."""
        return {
            "rows": self.history.rows,
            "step": self.step,
            "loss_sum": self.loss_sum,
            "epoch_seconds": self.epoch_seconds,
            "wall_seconds": self.wall_seconds,
            "restarts": self.restarts,
            "model": self.model.state_dict(),
            "adam": self.adam.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "best": self.best.state_dict() if self.best else None,
        }

    def take_up(self, saved: dict[str, Any]) -> None:
        """Become what `as_dict` told; torch and Python raise what they like of damaged files."""
        self.history.rows = [
            {c: (int if c == "epoch" else float)(row[c]) for c in COLUMNS} for row in saved["rows"]
        ]
        self.step, self.loss_sum = int(saved["step"]), float(saved["loss_sum"])
        self.epoch_seconds = float(saved["epoch_seconds"])
        self.wall_seconds = float(saved["wall_seconds"])
        self.restarts = [int(epoch) for epoch in saved.get("restarts", [])]
        self.model.load_state_dict(saved["model"])
        own = self.adam.state_dict()["param_groups"]  # the settings, which are those of this call
        self.adam.load_state_dict({"state": saved["adam"]["state"], "param_groups": own})
        if self.average:
            self.average.load_state_dict(saved["average"])
        if saved["best"]:
            self.best = copy.deepcopy(self.model)
            self.best.load_state_dict(saved["best"])


def settings(
    model: nn.Module, plan: Plan, train: Any, valid: Any, mixed_precision: str
) -> dict[str, Any]:
    """What decides the outcome, for the record: a run can only be gone on with as it was."""
    return {
        "network": getattr(model, "name", type(model).__name__),
        "options": json.loads(json.dumps(getattr(model, "options", {}))),
        "optimiser": "Adam(0.9, 0.999)",
        "loss": "mean squared error on [0, 1]",
        **plan.settings(),
        "precision": "fp32" if mixed_precision == "no" else mixed_precision,
        "train": describe_data(train),
        "valid": describe_data(valid),
    }


@dataclass
class Keeper:
    """Keeps a run in its folder, if any. Every process has a keeper; the main process's one writes.

    Attributes:
        compiled: Whether the network is compiled, for the record.
        last_save: When the checkpoint was last replaced, on the monotonic clock.
    """

    folder: RunFolder | None
    state: State
    plan: Plan
    settings: dict[str, Any]
    accelerator: Accelerator
    compiled: bool
    last_save: float = field(default_factory=time.monotonic)

    def save(self) -> None:
        """Replace the checkpoint; if that fails or a weight is not finite, the last one stays."""
        state = self.state
        if not all(torch.isfinite(p).all() for p in state.model.parameters()):
            epoch = len(state.history) + 1
            raise self.not_finite(f"a weight is not finite at epoch {epoch}, batch {state.step}")
        state_of = {"cpu": torch.get_rng_state()}
        if (device := self.accelerator.device).type == "cuda":
            state_of["cuda"] = torch.cuda.get_rng_state(device)
        random = gather_object([state_of])
        self.last_save = time.monotonic()
        if self.folder and self.accelerator.is_main_process:
            state.count_time()
            self.folder.save({"settings": self.settings, **state.as_dict(), "random": random})

    def publish(self, new_best: bool = False) -> None:
        """Write what people read: history, record and, if they are new, the best weights."""
        if not (self.folder and self.accelerator.is_main_process):
            return
        plan, state, history = self.plan, self.state, self.state.history
        state.count_time()
        record = {
            "settings": {**self.settings, "epochs": plan.epochs, "patience": plan.patience},
            "parameters": sum(p.numel() for p in state.model.parameters() if p.requires_grad),
            "epochs": len(history),
            "best_epoch": history.best_epoch(),
            "optimal_epoch": history.optimal_epoch(),
            "stopped": history.stopped or None,
            "wall_seconds": round(state.wall_seconds, 1),
            "restarts": state.restarts,
            "device": describe(self.accelerator.device),
            "processes": self.accelerator.num_processes,
            "compiled": self.compiled,
            "versions": versions(),
        }
        self.folder.publish(history, state.best if new_best else None, record)

    def not_finite(self, what: str) -> FloatingPointError:
        """The error to raise, which says what can be done."""
        go_on = "a lower learning rate or precision='fp32' may help"
        if self.folder and self.folder.checkpoint.exists():
            go_on += f"; {self.folder.checkpoint} is from before"
        return FloatingPointError(f"{what}; {go_on}")

    # --- Going on -------------------------------------------------------------------------------

    def go_on(self, resume: bool | Literal["best"]) -> None:
        """Take up the run in the folder, if there is one.

        Raises:
            RunError: It was not asked for, has no checkpoint, or was made with other settings.
            DataError: The files are damaged.
        """
        folder = self.folder
        if folder is None:
            return
        if not folder.checkpoint.exists():
            if not folder.weights.exists():
                return
            if resume == "best":
                return self._restart(folder)
            raise RunError(
                f"{folder.path} holds the results of a run, but no checkpoint to go on from: pass "
                "resume='best' (--from-best) to go on from its best weights, choose another "
                "run_dir, or remove it to train anew"
            )
        if not resume:
            raise RunError(
                f"{folder.path} already holds a run: pass resume=True (--resume) to go on with it, "
                "or choose another run_dir"
            )
        try:
            saved = folder.load()
            _require_same(saved["settings"], self.settings, folder.path)
            self.state.take_up(saved)
            if (rank := self.accelerator.process_index) < len(saved["random"]):
                random, device = saved["random"][rank], self.accelerator.device
                torch.set_rng_state(random["cpu"])
                if device.type == "cuda" and "cuda" in random:
                    torch.cuda.set_rng_state(random["cuda"], device)
        except (DataError, RunError):
            raise
        except (
            LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError,
        ) as error:  # fmt: skip
            raise DataError(
                f"{folder.checkpoint} is no checkpoint of this run, or is damaged "
                f"({error!s:.200}): copy it again, or remove the folder to train anew"
            ) from error

    def _restart(self, folder: RunFolder) -> None:
        """Take up what the run has published: its weights, and the history up to their epoch."""
        state = self.state
        run = read_run(folder.path.name, folder.path.parent)
        before = {k: v for k, v in run.record["settings"].items() if k in self.settings}
        _require_same(before, self.settings, folder.path)
        try:
            with safe_open(folder.weights, "pt") as file:
                header = file.metadata() or {}
                state.model.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
            # A run that was killed may have written a history that is newer than its weights.
            best = int(header["epoch"])
            if run.history.rows[best - 1]["valid_loss"] != float(header["valid_loss"]):
                raise ValueError(f"epoch {best} of the history is another one")
        except (OSError, SafetensorError, RuntimeError, LookupError, ValueError) as error:
            raise DataError(
                f"{folder.weights} does not hold the weights of this run ({error!s:.200}): "
                "copy it again, or remove the folder to train anew"
            ) from error
        state.best = copy.deepcopy(state.model)
        if state.average:
            state.average.module.load_state_dict(state.model.state_dict())
            state.average.n_averaged.fill_(1)  # at 0 it would begin as the weights after a step
        state.history.rows = run.history.rows[:best]
        state.wall_seconds = math.fsum(state.history["seconds"])
        state.restarts = sorted({*run.record.get("restarts", []), best})


def _require_same(saved: dict[str, Any], now: dict[str, Any], path: Path) -> None:
    saved = {**saved, "options": _all_options(saved)}
    other = [key for key in {**saved, **now} if saved.get(key) != now.get(key)]
    if other:
        list_of = "; ".join(f"{key} was {saved.get(key)!r}, is {now.get(key)!r}" for key in other)
        raise RunError(
            f"the run in {path} cannot go on with other settings ({list_of}): pass the same, or "
            "choose another run_dir"
        )


def _all_options(settings: dict[str, Any]) -> Any:
    """A network's options; those that it did not have when it was recorded are as by default."""
    options, name = settings.get("options"), settings.get("network")
    if not isinstance(options, dict) or name not in list(NETWORKS):
        return options
    with torch.device("meta"):  # without memory or time
        defaults = build_network(name).options
    return {**json.loads(json.dumps(defaults)), **options}
