"""The training loop: one for every network, on one device or many, that can always go on.

`fit` is the loop, to be read from top to bottom; what it calls stands below. `plan` holds the
settings, `batches` decides what a step sees, `evaluate` measures, `checkpoint` keeps.

All chance comes from the seed, the epoch and the place within it, so a run that is killed and
resumed sees the same patches in the same order and orientation as one that never stopped.
"""

import contextlib
import copy
import itertools
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from tqdm.auto import tqdm

from dcfnet.errors import DataError
from dcfnet.training.batches import Batch, BatchOrder, Patches, batch_loader
from dcfnet.training.checkpoint import Keeper, State, settings
from dcfnet.training.evaluate import check_patches, evaluate_network, recompute_norms
from dcfnet.training.history import History
from dcfnet.training.machine import StopSignals, accelerator_for, compiled, kept_memory
from dcfnet.training.plan import Plan
from dcfnet.training.runs import RunFolder

LOOK_EVERY = 16
"""On a GPU the loss is looked at every so many steps, so that the GPU need not wait."""


def fit(
    model: nn.Module,
    train: Patches,
    valid: Patches,
    plan: Plan | None = None,
    *,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool | Literal["best"] = False,
    max_seconds: float | None = None,
    checkpoint_seconds: float = 300,
    device: Literal["auto", "cpu"] = "auto",
    workers: int = 0,
    compile: bool = False,
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
        model: Any network that is called as ``model(pan, ms, lms)``; trained in place, from the
            weights that it has. It is left in eval mode, on the device of the training, with the
            weights of the best epoch.
        train: Patches with truth: ``pan`` (1, H, W), ``ms`` (C, H/4, W/4), ``lms`` and ``gt``
            (C, H, W), float32 in [0, 1]. In an epoch the last patches of its random order that
            fill no batch sit out.
        valid: Patches with truth that the training never sees.
        plan: What decides the outcome: epochs, learning rate, batches, chance.
        run_dir: Folder for checkpoint, history, best weights and record; None leaves no files.
        resume: Go on with the run in ``run_dir``, if there is one. ``"best"``: also with one whose
            checkpoint is gone, from its best weights and their epoch, with Adam's moments at zero;
            the record lists that epoch under ``restarts``, and nothing is bit for bit then.
        max_seconds: Stop after so many seconds of this call.
        checkpoint_seconds: Write a checkpoint after so many seconds also within an epoch. There
            is one after every epoch anyway.
        device: ``"auto"`` takes a GPU if there is one.
        workers: Processes that read patches ahead; 0 reads between the steps.
        compile: Compile the network with ``torch.compile``; with a warning it goes on without
            where that does not work. Compiling takes a minute or two; on the CPU where it was
            tried DCFNet's step then took as long as before.
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
        >>> plan = Plan(epochs=400)
        >>> history = fit(model, train, valid, plan, run_dir="runs/a")  # doctest: +SKIP
        >>> history.optimal_epoch()  # doctest: +SKIP
        297
    """
    ends = math.inf if max_seconds is None else time.monotonic() + max_seconds
    plan = plan or Plan()
    if resume not in (True, False, "best"):
        raise ValueError(f"resume must be True, False or 'best', got {resume!r}")
    if workers < 0:
        raise ValueError(f"workers must be at least 0, got {workers}")
    accelerator = accelerator_for(device, plan.precision, plan.accumulate)
    on, main = accelerator.device, accelerator.is_main_process
    folder = RunFolder(run_dir) if run_dir is not None else None

    with contextlib.ExitStack() as stack:
        if folder and main:
            stack.enter_context(folder.held())
        if on.type == "cpu":
            stack.enter_context(kept_memory())
        stack.enter_context(torch.random.fork_rng([on] if on.type == "cuda" else []))
        stop = stack.enter_context(StopSignals())

        # On what it is trained.
        _check(train, valid, plan)
        order = BatchOrder(len(train), plan, accelerator.process_index, accelerator.num_processes)
        batches = batch_loader(train, order, workers, pin_memory=on.type == "cuda")
        whole = BatchOrder(len(train), replace(plan, accumulate=1))
        norm_batches = batch_loader(train, whole)  # the same ones after every epoch

        # What is trained, and how far it is.
        layout = torch.channels_last if plan.channels_last else torch.contiguous_format
        model.to(on).to(memory_format=layout)  # type: ignore[call-overload]
        state = State(model, plan)
        history = state.history
        network = compiled(model, on) if compile else model
        loss, optimiser = accelerator.prepare(Loss(network), state.adam)
        torch.manual_seed(plan.seed + accelerator.process_index)
        told = settings(model, plan, train, valid, accelerator.mixed_precision)
        keeper = Keeper(folder, state, plan, told, accelerator, compiled=network is not model)
        keeper.go_on(resume)
        keeper.publish(new_best=state.best is not None)
        steps = plan.epochs * len(order)
        steps_done = len(history) * len(order) + state.step
        bar = tqdm(
            total=steps * plan.batch_size, initial=steps_done * plan.batch_size, unit="patch",
            unit_scale=True, smoothing=0.05, disable=not (progress and main),
        )  # fmt: skip
        stack.enter_context(bar)
        watch = _Watch(keeper, stop, bar, ends, checkpoint_seconds)

        while not _ended(history, plan):
            # The steps of an epoch that are not done yet, or those up to a stop.
            model.train()
            order.epoch, order.first = len(history) + 1, state.step
            losses: list[Tensor] = []  # those that nobody has looked at yet
            for batch in batches:
                for group in state.adam.param_groups:
                    group["lr"] = plan.rate((len(history) * len(order) + state.step) / steps)
                losses.append(learn(batch, loss, optimiser, accelerator, layout))
                if not accelerator.sync_gradients:  # parts of this batch are still to come
                    continue
                state.step += 1
                if state.average:
                    state.average.update_parameters(model)
                epoch_done = state.step == len(order)
                if on.type != "cpu" and state.step % LOOK_EVERY and not epoch_done:
                    continue
                history.stopped, saving = watch.look(losses)
                losses.clear()
                if epoch_done:
                    history.stopped = ""  # a stop waits for the validation, which comes next
                elif saving or history.stopped:
                    keeper.save()
                if history.stopped:
                    break
            if history.stopped:
                break

            # What they brought, measured with the statistics that belong to the weights.
            candidate = copy.deepcopy(state.average.module if state.average else model)
            row = None
            if main:
                with accelerator.autocast():
                    recompute_norms(candidate, itertools.islice(norm_batches, plan.norm_batches))
                measured = evaluate_network(candidate, valid, batch_size=plan.batch_size)
                row = _row(state, plan, measured)
                if not math.isfinite(row["valid_loss"]):
                    what = f"the validation loss is {row['valid_loss']} after epoch {row['epoch']}"
                    raise keeper.not_finite(what)
            history.rows.append(_from_main(row))
            state.step, state.loss_sum, state.epoch_seconds = 0, 0.0, 0.0
            new_best = history.best_epoch() == len(history)
            if new_best:
                state.best = candidate
            lowest = history["valid_loss"].min()
            bar.set_postfix_str(f"validation {lowest:.2e} at epoch {history.best_epoch()}", False)
            keeper.save()
            keeper.publish(new_best)
            history.stopped, _ = watch.look()
            _ended(history, plan)
            if on_epoch and main:
                on_epoch(history)

        keeper.publish()
        weights = _from_main(state.best.state_dict() if state.best else None)
        if weights is not None:
            model.load_state_dict(weights)
        model.eval()
    return history


def learn(
    batch: Batch,
    loss: nn.Module,
    optimiser: AcceleratedOptimizer,
    accelerator: Accelerator,
    layout: torch.memory_format,
) -> Tensor:
    """One step, or one part of it if batches are split. Returns the loss before it."""
    images = {
        key: image.to(accelerator.device, memory_format=layout, non_blocking=True)
        for key, image in batch.items()
    }
    with accelerator.accumulate(loss):  # steps only after a batch's last part
        value = loss(**images)
        accelerator.backward(value)
        optimiser.step()
        optimiser.zero_grad()
    return value.detach()


class Loss(nn.Module):
    """The network and the loss, so that precision and processes wrap both."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pan: Tensor, ms: Tensor, lms: Tensor, gt: Tensor) -> Tensor:
        """The mean squared error of a batch, in float32."""
        fused = self.network(pan, ms, lms)
        if fused.shape != gt.shape:
            raise DataError(
                f"the network returns {tuple(fused.shape)}, the truth is {tuple(gt.shape)}: build "
                "it for as many bands as the patches have"
            )
        return F.mse_loss(fused.float(), gt)


@dataclass
class _Watch:
    """Looks at losses, clock and signals, for all processes at once."""

    keeper: Keeper
    stop: StopSignals
    bar: tqdm
    ends: float  # on the monotonic clock, as Keeper.last_save
    checkpoint_seconds: float

    def look(self, losses: Sequence[Tensor] = ()) -> tuple[str, bool]:
        """Why to stop now, or "", and whether to save; counts the losses of the last steps.

        Raises:
            FloatingPointError: One of them is not finite.
        """
        state, plan, accelerator = self.keeper.state, self.keeper.plan, self.keeper.accelerator
        state.count_time()
        now = time.monotonic()
        if now >= self.ends:
            self.stop.reason = self.stop.reason or "time limit"
        wishes = [bool(self.stop.reason), now - self.keeper.last_save >= self.checkpoint_seconds]
        # All processes must see the same losses and do the same.
        flags = torch.tensor(wishes, device=accelerator.device).float()
        seen = accelerator.reduce(torch.stack([*losses, *flags]), "mean")
        *values, stopping, saving = seen.tolist()
        epoch = len(state.history) + 1
        for i, value in enumerate(values):
            if not math.isfinite(value):
                batch = state.step - (len(values) - 1 - i) // plan.accumulate
                what = f"the loss is {value} at epoch {epoch}, batch {batch}"
                raise self.keeper.not_finite(what)
        state.loss_sum += math.fsum(values)
        if values:
            self.bar.set_description(f"epoch {epoch}/{plan.epochs} loss {values[-1]:.2e}", False)
            self.bar.update(len(values) // plan.accumulate * plan.batch_size)
        return (self.stop.reason or "another process") if stopping else "", saving > 0


def _check(train: Patches, valid: Patches, plan: Plan) -> None:
    check_patches(train=train, valid=valid)
    _, height, width = train[0]["gt"].shape
    if plan.augment and height != width:
        raise DataError(
            f"train has patches of {height} x {width} pixels, but the eight symmetries are those "
            "of a square: pass augment=False (--no-augment)"
        )


def _row(state: State, plan: Plan, measured: dict[str, float]) -> dict[str, float]:
    state.count_time()
    return {
        "epoch": len(state.history) + 1,
        "train_loss": state.loss_sum / (state.step * plan.accumulate),
        "valid_loss": measured["loss"],
        **{name: measured[name] for name in ("sam", "ergas", "psnr")},
        "seconds": round(state.epoch_seconds, 3),
        "lr": state.adam.param_groups[0]["lr"],
    }


def _ended(history: History, plan: Plan) -> bool:
    """Whether there is nothing left to do, or a stop was asked for."""
    if plan.patience is not None and history.optimal_epoch(plan.patience) is not None:
        history.stopped = "patience"
    elif len(history) >= plan.epochs:
        history.stopped = "epochs"
    return bool(history.stopped)


def _from_main(value: Any) -> Any:
    """What the main process has, in all processes."""
    return broadcast_object_list([value])[0]
