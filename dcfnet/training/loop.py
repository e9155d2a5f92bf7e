"""The trainer: one loop for every network, on one device or many, that can always go on.

`fit` says what can be chosen, `_Run.carry_out` and the methods after it are the loop; what they
call stands below, in the order of use. `batches` decides what a step sees, `evaluation` measures.

All chance comes from the seed, the epoch and the place within it, so a run that is killed and
resumed sees the same patches in the same order and orientation as one that never stopped.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import math
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import broadcast_object_list, gather_object
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from dcfnet.errors import DataError, RunError
from dcfnet.training.batches import AugmentedPatches, Batch, BatchOrder
from dcfnet.training.evaluate import check_patches, evaluate_network, recompute_norms
from dcfnet.training.machine import can_compile, describe, gains_from_bf16, kept_memory
from dcfnet.training.runs import COLUMNS, History, RunFolder, describe_data, read_run, versions

__all__ = ["fit"]

SCHEDULES = ("constant", "cosine", "trapezoid")

LOOK_EVERY = 16
"""On a GPU the loss is looked at every so many steps, so that the GPU need not wait."""


def fit(
    model: nn.Module,
    train: Dataset[Batch],
    valid: Dataset[Batch],
    *,
    epochs: int,
    lr: float = 1e-3,
    batch_size: int = 32,
    accumulate: int = 1,
    schedule: Literal["constant", "cosine", "trapezoid"] = "constant",
    average: float | None = None,
    augment: bool = True,
    exposure: tuple[float, float] | None = None,
    norm_batches: int = 24,
    patience: int | None = 100,
    seed: int = 0,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    channels_last: bool = True,
    compile: bool = False,
    device: Literal["auto", "cpu"] = "auto",
    workers: int = 0,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool | Literal["best"] = False,
    max_seconds: float | None = None,
    checkpoint_seconds: float = 300,
    progress: bool = True,
    on_epoch: Callable[[History], object] | None = None,
) -> History:
    """Train a network with Adam on the mean squared error of values in [0, 1].

    Under ``accelerate launch --multi_gpu --num_processes N`` (or ``torchrun``) every process
    trains on its share of each batch, and batch normalisation sees the share of its own process.
    Without GPUs the processes share the work of CPUs. One process needs no launcher.

    Ctrl-C, SIGTERM and ``max_seconds`` end the run after the current step, with a checkpoint;
    a second Ctrl-C ends it at once. The same call with ``resume=True`` goes on where it stopped,
    also after a crash. On a CPU in float32 the outcome is that of an uninterrupted run bit for bit.

    Validation, the saved weights and the weights that the model is left with have batch
    normalisation statistics from `recompute_norms`. The running ones (momentum 0.01) lag behind
    the weights by a hundred steps, which costs decibels as long as the weights move.

    Args:
        model: Any network that is called as ``model(pan, ms, lms)``; trained in place. It is left
            in eval mode, on the device of the training, with the weights of the best epoch.
        train: Patches with truth: ``pan`` (1, H, W), ``ms`` (C, H/4, W/4), ``lms`` and ``gt``
            (C, H, W), float32 in [0, 1]. An epoch is one pass over it in random order; the last
            patches that fill no batch sit that epoch out.
        valid: Patches with truth that the training never sees.
        epochs: Train for so many epochs at most.
        lr: Learning rate of Adam(0.9, 0.999).
        batch_size: Patches per optimiser step, over all processes.
        accumulate: Split each batch into so many parts, one after the other, to save memory.
        schedule: ``"constant"``; ``"cosine"`` from ``lr`` to a hundredth of it; or ``"trapezoid"``,
            constant and then falling in a straight line over the last fifth of all steps.
        average: Validate and save an exponential moving average of the weights with this decay
            per step (for example 0.99); None for the weights themselves.
        augment: Turn each patch into one of its eight symmetries at random, see `symmetry`.
        exposure: Also multiply each patch, all its images alike, by a random factor between these
            two, as `expose` does: a network that is to see brighter or darker ground than the
            training patches show needs it.
        norm_batches: Batches from which batch normalisation statistics are recomputed.
        patience: Stop once the optimal epoch is known: when so many epochs have brought no lower
            validation loss. None to train all ``epochs``; the best epoch may then lie later.
        seed: Of the order and orientation of patches, and of torch's chance during training.
            The weights that training starts from are the caller's.
        precision: ``"fp32"`` is the reference. ``"bf16"`` computes the forward pass in bfloat16
            where that is safe (autocast); weights stay float32, and validation is in float32.
            ``"auto"``: bf16 where the device is made for it.
        channels_last: Lay out images channels last, which is faster to convolve on most devices.
        compile: Compile the network with ``torch.compile``; with a warning it goes on without
            where that does not work. Compiling takes a minute or two; on the CPU where it was
            tried DCFNet's step then took as long as before.
        device: ``"auto"`` takes a GPU if there is one.
        workers: Processes that read patches ahead; 0 reads between the steps.
        run_dir: Folder for checkpoint, history, best weights and record; None leaves no files.
        resume: Go on with the run in ``run_dir``, if there is one. ``"best"``: also with one whose
            checkpoint is gone, from its best weights and their epoch, with Adam's moments at zero;
            the record lists that epoch under ``restarts``, and nothing is bit for bit then.
        max_seconds: Stop after so many seconds of this call.
        checkpoint_seconds: Write a checkpoint after so many seconds also within an epoch. There
            is one after every epoch anyway.
        progress: Show a progress bar.
        on_epoch: Called with the history after every epoch.

    Returns:
        One row per epoch, and why the run stopped.

    Raises:
        DataError: The patches are not what the network needs.
        ValueError: Settings that cannot be.
        FloatingPointError: A loss or weight is not finite. The last checkpoint is good.
        OSError: The disk is full, or the folder cannot be written. The last checkpoint is good.
        RunError: ``run_dir`` cannot be used: another process trains there, it holds a run and
            ``resume`` was not asked for, or the run to go on with has other settings.

    Example:
        >>> history = fit(model, train, valid, epochs=400, run_dir="runs/a")  # doctest: +SKIP
        >>> history.optimal_epoch()  # doctest: +SKIP
        297
    """
    options = SimpleNamespace(**locals())
    least = {"epochs": 0, "accumulate": 1, "patience": 0, "workers": 0, "seed": 0}
    for name, low in least.items():
        if not low <= (getattr(options, name) or 0) < 2**63:
            raise ValueError(f"{name} must be at least {low}, got {getattr(options, name)}")
    accelerator = _accelerator(device, precision, accumulate)
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {schedule!r}")
    if resume not in (True, False, "best"):
        raise ValueError(f"resume must be True, False or 'best', got {resume!r}")
    if exposure is not None and not 0 < exposure[0] <= exposure[1] < math.inf:
        raise ValueError(
            f"exposure must be two factors, the smaller first, for example (0.5, 3), got {exposure}"
        )
    if average is not None and not 0 < average < 1:
        raise ValueError(f"average must lie between 0 and 1, got {average}")
    folder = RunFolder(run_dir) if run_dir is not None else None
    with contextlib.ExitStack() as stack:
        if folder and accelerator.is_main_process:
            stack.enter_context(folder.held())
        on_cpu = accelerator.device.type == "cpu"
        stack.enter_context(kept_memory() if on_cpu else contextlib.nullcontext())
        gpus = [accelerator.device] if accelerator.device.type == "cuda" else []
        stack.enter_context(torch.random.fork_rng(gpus))
        stop = stack.enter_context(_StopSignals())
        return _Run(options, accelerator, folder, stop).carry_out()


class _Run:
    """One call of `fit`: what is trained, on what, and how far it is."""

    def __init__(
        self,
        options: SimpleNamespace,
        accelerator: Accelerator,
        folder: RunFolder | None,
        stop: _StopSignals,
    ) -> None:
        self.started = self.last_look = self.last_save = time.monotonic()
        self.options = o = options
        self.accelerator, self.folder, self.stop = accelerator, folder, stop
        self.device, self.main = accelerator.device, accelerator.is_main_process
        rank, processes = accelerator.process_index, accelerator.num_processes

        # On what it is trained.
        check_patches(train=o.train, valid=o.valid)
        _, height, width = o.train[0]["gt"].shape
        if o.augment and height != width:
            raise DataError(
                f"train has patches of {height} x {width} pixels, but the eight symmetries are "
                "those of a square: pass augment=False"
            )
        patches = AugmentedPatches(o.train)
        chance = (len(o.train), o.batch_size, o.seed, o.augment, o.exposure)
        self.order = BatchOrder(*chance, o.accumulate, rank, processes)
        self.loader = DataLoader(
            patches,
            batch_sampler=self.order,
            num_workers=o.workers,
            persistent_workers=o.workers > 0,
            worker_init_fn=_leave_signals_to_the_run,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # without one it takes from torch's chance
        )
        every_epoch_alike = BatchOrder(*chance)
        self.norm_loader = DataLoader(
            patches, batch_sampler=every_epoch_alike, generator=torch.Generator()
        )
        self.look_every = 1 if self.device.type == "cpu" else LOOK_EVERY

        # What is trained.
        self.layout = torch.channels_last if o.channels_last else torch.contiguous_format
        self.model = o.model.to(self.device, memory_format=self.layout)
        fused = self.device.type in ("cpu", "cuda")
        self.adam = torch.optim.Adam(self.model.parameters(), o.lr, (0.9, 0.999), fused=fused)
        self.average = None
        if o.average is not None:
            self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(o.average))
        network = _compiled(self.model, self.device) if o.compile else self.model
        self.compiled = network is not self.model
        self.loss, self.optimiser = accelerator.prepare(_Loss(network), self.adam)

        # How far it is: whole epochs, and within the next one the steps and the sum of the losses.
        self.history = History()
        self.step, self.loss_sum = 0, 0.0
        self.epoch_seconds, self.wall_seconds = 0.0, 0.0
        self.best: nn.Module | None = None
        self.restarts: list[int] = []
        torch.manual_seed(o.seed + rank)
        self.settings = _settings(o, accelerator)
        if folder:
            self._go_on(rank)

    def carry_out(self) -> History:
        """Epoch after epoch, until all are done or something ends it."""
        o, history = self.options, self.history
        self._publish(self.best is not None)
        self.bar = tqdm(
            total=o.epochs * len(self.order) * o.batch_size,
            initial=self._steps_done() * o.batch_size,
            unit="patch",
            unit_scale=True,
            smoothing=0.05,
            disable=not (o.progress and self.main),
        )
        with self.bar:
            while not self._ended():
                self._train_epoch()
                if history.stopped:
                    break
                new_best = self._end_epoch()
                self._save()
                self._publish(new_best)
                self._look()
                self._ended()
                if o.on_epoch and self.main:
                    o.on_epoch(history)
        self._publish(new_best=False)
        weights = self._from_main(self.best.state_dict() if self.best else None)
        if weights is not None:
            self.model.load_state_dict(weights)
        self.model.eval()
        return history

    def _train_epoch(self) -> None:
        """All steps of an epoch that are not done yet, or those up to a stop."""
        o = self.options
        self.order.epoch, self.order.first = len(self.history) + 1, self.step
        self.model.train()
        pending: list[Tensor] = []  # losses that nobody has looked at yet
        for batch in self.loader:
            pending.append(self._learn(batch))
            if not self.accelerator.sync_gradients:
                continue
            self.step += 1
            if self.average:
                self.average.update_parameters(self.model)

            epoch_done = self.step == len(self.order)
            if self.step % self.look_every and not epoch_done:
                continue
            saving = self._look(pending)
            self.bar.update(len(pending) // o.accumulate * o.batch_size)
            pending.clear()
            if epoch_done:  # a stop waits for the validation, which comes next
                self.history.stopped = ""
                return
            if saving or self.history.stopped:
                self._save()
            if self.history.stopped:
                return

    def _learn(self, batch: Batch) -> Tensor:
        """One step, or one part of it if batches are split. Returns the loss before it."""
        self._set_learning_rate()
        with self.accelerator.accumulate(self.loss):  # steps only after a batch's last part
            loss = self.loss(**_moved(batch, self.device, self.layout))
            self.accelerator.backward(loss)
            self.optimiser.step()
            self.optimiser.zero_grad()
        return loss.detach()

    def _look(self, losses: Sequence[Tensor] = ()) -> bool:
        """Looks at losses, clock and signals; sets ``stopped``; returns whether to save now."""
        o, now = self.options, self._clock()
        if o.max_seconds is not None and now - self.started >= o.max_seconds:
            self.stop.reason = self.stop.reason or "time limit"
        wishes = [bool(self.stop.reason), now - self.last_save >= o.checkpoint_seconds]
        # All processes must see the same losses and do the same.
        seen = torch.stack([*losses, *torch.tensor(wishes, device=self.device).float()])
        *values, stopping, saving = self.accelerator.reduce(seen, "mean").tolist()

        epoch = len(self.history) + 1
        for i, value in enumerate(values):
            if not math.isfinite(value):
                batch = self.step - (len(values) - 1 - i) // o.accumulate
                raise self._not_finite(f"the loss is {value} at epoch {epoch}, batch {batch}")
        self.loss_sum += math.fsum(values)
        if values:
            self.bar.set_description(f"epoch {epoch}/{o.epochs} loss {values[-1]:.2e}", False)
        if stopping and not self.history.stopped:
            self.history.stopped = self.stop.reason or "another process"
        return saving > 0

    def _clock(self) -> float:
        now = time.monotonic()
        self.epoch_seconds += now - self.last_look
        self.last_look = now
        return now

    def _end_epoch(self) -> bool:
        """Validates; returns whether this epoch is the best so far."""
        o, row = self.options, None
        candidate = copy.deepcopy(self.average.module if self.average else self.model)
        if self.main:
            with self.accelerator.autocast():
                recompute_norms(candidate, itertools.islice(self.norm_loader, o.norm_batches))
            measured = evaluate_network(candidate, o.valid, batch_size=o.batch_size)
            if not math.isfinite(measured["loss"]):
                raise self._not_finite(
                    f"the validation loss is {measured['loss']} after epoch {len(self.history) + 1}"
                )
            self._clock()
            row = {
                "epoch": len(self.history) + 1,
                "train_loss": self.loss_sum / (self.step * o.accumulate),
                "valid_loss": measured["loss"],
                **{name: measured[name] for name in ("sam", "ergas", "psnr")},
                "seconds": round(self.epoch_seconds, 3),
                "lr": self.adam.param_groups[0]["lr"],
            }
        self.history.rows.append(self._from_main(row))
        self.step, self.loss_sum, self.epoch_seconds = 0, 0.0, 0.0
        best_epoch = self.history.best_epoch()
        new_best = best_epoch == len(self.history)
        if new_best:
            self.best = candidate
        lowest = self.history["valid_loss"].min()
        self.bar.set_postfix_str(f"validation {lowest:.2e} at epoch {best_epoch}", False)
        return new_best

    def _ended(self) -> bool:
        """Whether there is nothing left to do, or a stop was asked for."""
        o, history = self.options, self.history
        if o.patience is not None and history.optimal_epoch(o.patience) is not None:
            history.stopped = "patience"
        elif len(history) >= o.epochs:
            history.stopped = "epochs"
        return bool(history.stopped)

    def _steps_done(self) -> int:
        return len(self.history) * len(self.order) + self.step

    def _set_learning_rate(self) -> None:
        o, rate = self.options, self.options.lr
        share = self._steps_done() / (o.epochs * len(self.order))
        if o.schedule == "cosine":
            rate *= 0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2
        elif o.schedule == "trapezoid":
            rate *= min(1, 5 * (1 - share))
        for group in self.adam.param_groups:
            group["lr"] = rate

    def _from_main(self, value: Any) -> Any:
        """What the main process has, in all processes."""
        return broadcast_object_list([value])[0]

    # --- What stays ---------------------------------------------------------------------------

    def _save(self) -> None:
        if not all(torch.isfinite(p).all() for p in self.model.parameters()):
            raise self._not_finite(
                f"a weight is not finite at epoch {len(self.history) + 1}, batch {self.step}"
            )
        random = gather_object([_random_state(self.device)])
        self.last_save = time.monotonic()
        if not (self.folder and self.main):
            return
        self.folder.save(
            {
                "settings": self.settings,
                "rows": self.history.rows,
                "step": self.step,
                "loss_sum": self.loss_sum,
                "epoch_seconds": self.epoch_seconds,
                "wall_seconds": self._wall_seconds(),
                "restarts": self.restarts,
                "model": self.model.state_dict(),
                "adam": self.adam.state_dict(),
                "average": self.average.state_dict() if self.average else None,
                "best": self.best.state_dict() if self.best else None,
                "random": random,
            }
        )

    def _go_on(self, rank: int) -> None:
        """Takes up the run in the folder, if there is one."""
        if not self.folder.checkpoint.exists():
            if self.options.resume == "best" and self.folder.weights.exists():
                self._restart()
            elif self.folder.weights.exists():
                raise RunError(
                    f"{self.folder.path} holds the results of a run, but no checkpoint to go on "
                    "from: pass resume='best' (--from-best) to go on from its best weights, choose "
                    "another run_dir, or remove it to train anew"
                )
            return
        if not self.options.resume:
            raise RunError(
                f"{self.folder.path} already holds a run: pass resume=True (--resume) to go on "
                "with it, or choose another run_dir"
            )
        try:
            self._take_up(self.folder.load(), rank)
        except (DataError, RunError):
            raise
        except (
            LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError,
        ) as error:  # fmt: skip
            raise DataError(
                f"{self.folder.checkpoint} is no checkpoint of this run, or is damaged "
                f"({error!s:.200}): copy it again, or remove the folder to train anew"
            ) from error

    def _restart(self) -> None:
        """Takes up what a run has published: its weights, and the history up to their epoch."""
        run = read_run(self.folder.path.name, self.folder.path.parent)
        settings = {k: v for k, v in run.record["settings"].items() if k in self.settings}
        _require_same(settings, self.settings, self.folder.path)
        try:
            with safe_open(self.folder.weights, "pt") as file:
                header = file.metadata() or {}
                self.model.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
            # A run that was killed may have written a history that is newer than its weights.
            best = int(header["epoch"])
            if run.history.rows[best - 1]["valid_loss"] != float(header["valid_loss"]):
                raise ValueError(f"epoch {best} of the history is another one")
        except (OSError, SafetensorError, RuntimeError, LookupError, ValueError) as error:
            raise DataError(
                f"{self.folder.weights} does not hold the weights of this run ({error!s:.200}): "
                "copy it again, or remove the folder to train anew"
            ) from error
        self.best = copy.deepcopy(self.model)
        if self.average:
            self.average.module.load_state_dict(self.model.state_dict())
            self.average.n_averaged.fill_(1)  # at 0 it would begin as the weights after a step
        self.history.rows = run.history.rows[:best]
        self.wall_seconds = math.fsum(self.history["seconds"])
        self.restarts = sorted({*run.record.get("restarts", []), best})

    def _take_up(self, saved: dict[str, Any], rank: int) -> None:
        _require_same(saved["settings"], self.settings, self.folder.path)
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
        if rank < len(saved["random"]):
            _set_random_state(saved["random"][rank], self.device)
        epochs = [row["epoch"] for row in self.history.rows]
        if epochs != [*range(1, len(epochs) + 1)] or self.step < 0:
            raise ValueError("its epochs do not count from 1")
        if bool(epochs) != (self.best is not None):
            raise ValueError("its epochs and its best weights do not belong together")
        numbers = [self.loss_sum, self.epoch_seconds, self.wall_seconds]
        for row in self.history.rows:
            numbers += row["train_loss"], row["valid_loss"]
        if any(map(math.isnan, numbers)):
            raise ValueError("it holds NaN")
        for parameter, moments in self.adam.state.items():
            if moments["step"].numel() != 1 or not float(moments["step"]) > 0:
                raise ValueError("the steps of Adam do not fit")
            for name in ("exp_avg", "exp_avg_sq"):
                if moments[name].shape != parameter.shape or not moments[name].isfinite().all():
                    raise ValueError(f"{name} of Adam does not fit")

    def _publish(self, new_best: bool) -> None:
        if not (self.folder and self.main):
            return
        o, history = self.options, self.history
        record = {
            "settings": {**self.settings, "epochs": o.epochs, "patience": o.patience},
            "parameters": sum(p.numel() for p in self.model.parameters() if p.requires_grad),
            "epochs": len(history),
            "best_epoch": history.best_epoch(),
            "optimal_epoch": history.optimal_epoch(),
            "stopped": history.stopped or None,
            "wall_seconds": round(self._wall_seconds(), 1),
            "restarts": self.restarts,
            "device": describe(self.device),
            "processes": self.accelerator.num_processes,
            "compiled": self.compiled,
            "versions": versions(),
        }
        self.folder.publish(history, self.best if new_best else None, record)

    def _wall_seconds(self) -> float:
        return self.wall_seconds + time.monotonic() - self.started

    def _not_finite(self, what: str) -> FloatingPointError:
        go_on = "a lower learning rate or precision='fp32' may help"
        if self.folder and self.folder.checkpoint.exists():
            go_on += f"; {self.folder.checkpoint} is from before"
        return FloatingPointError(f"{what}; {go_on}")


# --- What the loop is made of -----------------------------------------------------------------


def _accelerator(device: str, precision: str, accumulate: int) -> Accelerator:
    """Accelerate's view of the machine: device, processes, precision."""
    if device not in ("auto", "cpu"):
        raise ValueError(f"device must be 'auto' or 'cpu', got {device!r}")
    if precision not in ("auto", "fp32", "bf16"):
        raise ValueError(f"precision must be 'auto', 'fp32' or 'bf16', got {precision!r}")
    # Accelerate does not by itself let launched processes without GPUs work together.
    cpu = device == "cpu" or ("LOCAL_RANK" in os.environ and not torch.cuda.is_available())
    # It keeps its first settings for the life of the process; each run has its own.
    AcceleratorState._reset_state(reset_partial_state=True)
    state = PartialState(cpu=cpu)
    if precision == "auto":
        precision = "bf16" if gains_from_bf16(state.device) else "fp32"
    return Accelerator(
        cpu=cpu,
        mixed_precision="no" if precision == "fp32" else "bf16",
        gradient_accumulation_steps=accumulate,
    )


class _StopSignals:
    """Turns Ctrl-C and SIGTERM into a reason to stop at the next opportunity.

    The second signal does what it does elsewhere. Outside the main thread there are no signals.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _heard(self, number: int, _: object) -> None:
        self.reason = signal.Signals(number).name
        before = self._before[signal.Signals(number)]
        # A shell's background jobs ignore Ctrl-C; somebody who sends it twice means it.
        ends = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, ends if before == signal.SIG_IGN else before)


def _leave_signals_to_the_run(_: int) -> None:
    """In a reader: signals to the whole group of processes stop the run, which ends its readers."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _settings(o: SimpleNamespace, accelerator: Accelerator) -> dict[str, Any]:
    """What decides the outcome: a run can only be resumed with the same."""
    return {
        "network": getattr(o.model, "name", type(o.model).__name__),
        "options": json.loads(json.dumps(getattr(o.model, "options", {}))),
        "optimiser": "Adam(0.9, 0.999)",
        "loss": "mean squared error on [0, 1]",
        "lr": o.lr,
        "schedule": o.schedule + (f" over {o.epochs} epochs" if o.schedule != "constant" else ""),
        "batch_size": o.batch_size,
        "accumulate": o.accumulate,
        "average": o.average,
        "augment": o.augment,
        "exposure": list(o.exposure) if o.exposure else None,
        "norm_batches": o.norm_batches,
        "seed": o.seed,
        "precision": "bf16" if accelerator.mixed_precision == "bf16" else "fp32",
        "channels_last": o.channels_last,
        "train": describe_data(o.train),
        "valid": describe_data(o.valid),
    }


def _require_same(saved: dict[str, Any], now: dict[str, Any], path: Path) -> None:
    other = [key for key in {**saved, **now} if saved.get(key) != now.get(key)]
    if other:
        list_of = "; ".join(f"{key} was {saved.get(key)!r}, is {now.get(key)!r}" for key in other)
        raise RunError(
            f"the run in {path} cannot go on with other settings ({list_of}): pass the same, or "
            "choose another run_dir"
        )


class _Loss(nn.Module):
    """The network and the loss, so that precision and processes wrap both."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pan: Tensor, ms: Tensor, lms: Tensor, gt: Tensor) -> Tensor:
        fused = self.network(pan, ms, lms)
        if fused.shape != gt.shape:
            raise DataError(
                f"the network returns {tuple(fused.shape)}, the truth is {tuple(gt.shape)}: build "
                "it for as many bands as the patches have"
            )
        return F.mse_loss(fused.float(), gt)


def _compiled(model: nn.Module, device: torch.device) -> nn.Module:
    if reason := can_compile(device):
        warnings.warn(
            f"torch.compile does not work here, training goes on without it ({reason})",
            stacklevel=4,
        )
        return model
    return torch.compile(model)


def _moved(batch: Batch, device: torch.device, layout: torch.memory_format) -> Batch:
    return {
        key: image.to(device, memory_format=layout, non_blocking=True)
        for key, image in batch.items()
    }


def _random_state(device: torch.device) -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
