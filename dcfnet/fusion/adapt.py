"""A network fitted to a scene in about a minute, and kept only where that helps.

A network learns the sensor, the season and the registration of the scenes it was trained on, and
is lost elsewhere. Every scene is its own training set one scale down (`dcfnet.fusion.below`).

What is learnt there has to hold at the scale of the scene. Batch normalisation that goes on as in
training takes the statistics of small patches one scale down. That is the better choice there, and
the worse one at full resolution, as a simulated scene shows, whose truth is known. So it keeps
those of its training while all weights learn; those of the scene as it is were worse as well.
"""

import copy
import hashlib
import json
import math
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcfnet.errors import DataError, RunError
from dcfnet.fusion.below import Below, below
from dcfnet.imagery.scene import Scene
from dcfnet.imagery.source import Source
from dcfnet.networks import PansharpeningNetwork, load_weights, save_weights
from dcfnet.networks.base import require_bands
from dcfnet.networks.weights import fingerprint
from dcfnet.paths import is_file, written_whole
from dcfnet.training.batches import Batch
from dcfnet.training.evaluate import evaluate_network
from dcfnet.training.loop import fit
from dcfnet.training.plan import Plan

_Norm = nn.modules.batchnorm._BatchNorm

ADAPTING = Plan(lr=5e-4, schedule="trapezoid", average=0.9, exposure=(0.5, 3.0), patience=None)
"""How a network is adapted, but for the number of epochs, which follows from `STEPS`.

Without exposure the bright roofs of a scene whose patches show few of them stay wrong.
"""

STEPS = 80
"""Optimiser steps: DCFNet takes about a minute for them on two cores, FusionNet seconds."""

PATCH, STRIDE, MOST = 32, 8, 512
HELD_PATCH, HELD_STRIDE, HELD_MOST = 24, 12, 64
WEIGHTS, RECORD = "weights.safetensors", "adapted.json"
_RESULTS = ("better", "before", "after", "patches", "seconds")

LEAST = 64
"""With fewer patches than this, adapting did harm where it was tried."""


@dataclass(frozen=True)
class Adapted:
    """What adapting came to.

    Attributes:
        model: The network to use: the adapted one, or the given one where that was better.
        better: Whether it is the adapted one.
        before: What the given network reached on the ground held back: ``loss``, ``sam``
            (degrees), ``ergas``, ``psnr`` (dB).
        after: The same of the adapted one.
        patches: How many it was adapted on.
        seconds: What it took.
    """

    model: PansharpeningNetwork
    better: bool
    before: dict[str, float]
    after: dict[str, float]
    patches: int
    seconds: float

    def __str__(self) -> str:
        told = "; ".join(
            f"{name} {self.before[key]:.3f} before, {self.after[key]:.3f} after"
            for name, key in (("SAM", "sam"), ("ERGAS", "ergas"))
        )
        verdict = "adapted" if self.better else "not adapted, since that made it worse"
        return f"{self.model.title} {verdict}: {told}, on ground held back one scale down"


def adapt(
    model: PansharpeningNetwork,
    scene: Scene | Source | Below,
    *,
    plan: Plan | None = None,
    minutes: float | None = None,
    seed: int = 0,
    run_dir: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> Adapted:
    """Fit a network to a scene, one scale down, and keep what is better on ground held back.

    Args:
        model: Any network of this package, with as many bands as the scene; it stays as it is.
        scene: MS and PAN, in memory or read window by window, of any size.
        plan: Settings; `ADAPTING` with as many epochs as make `STEPS` steps unless given.
        minutes: Train for about so long instead.
        seed: Of the patches and of their order.
        run_dir: Folder for history, record and weights. The same call goes on there after an
            interruption, and finds there what is done. None leaves no files.
        progress: Show bars.

    Returns:
        The network to use, and how good it was before and after.

    Raises:
        DataError: The scene is too small, or it has other bands than the network.
        RunError: ``run_dir`` holds another run.
        KeyboardInterrupt: Ctrl-C or SIGTERM, which it names, has stopped it.

    Reference:
        G. Scarpa, S. Vitale and D. Cozzolino, "Target-Adaptive CNN-Based Pansharpening", IEEE
        TGRS 56(9), 2018.
    """
    started = time.monotonic()
    if minutes is not None and not 0 < minutes < math.inf:
        raise DataError(f"minutes must be a number above 0, got {minutes}")
    blocks = scene if isinstance(scene, Below) else below(scene, seed=seed, progress=progress)
    require_bands(model, blocks.blocks[0].sensor)
    train = blocks.patches("train", size=PATCH, stride=STRIDE, most=MOST, seed=seed)
    valid = blocks.patches("valid", size=HELD_PATCH, stride=HELD_STRIDE, most=HELD_MOST, seed=seed)
    if len(train) < LEAST or not len(valid):
        shapes = ", ".join(f"{h} x {w}" for h, w in (block.shape for block in blocks.blocks))
        raise DataError(
            f"the scene is too small to adapt to: {len(train)} patches of {PATCH} x {PATCH} MS "
            f"pixels with data and contrast, and {len(valid)} held back ({shapes} MS pixels "
            f"looked at); at least {LEAST} are needed, about 128 x 128 MS pixels. Use the network "
            "as it is, or a method without learning"
        )
    folder = None if run_dir is None else Path(run_dir)
    what = _what(model, blocks, plan, minutes, seed)
    noted = _noted(folder, what)
    if folder and "better" in noted:
        return Adapted(load_weights(folder / WEIGHTS), **{key: noted[key] for key in _RESULTS})
    if plan is None:
        batch = min(ADAPTING.batch_size, len(train))
        if "epochs" not in noted:
            steps = STEPS if minutes is None else _steps_in(model, train, batch, minutes)
            noted["epochs"] = max(1, math.ceil(steps / (len(train) // batch)))
        plan = replace(ADAPTING, epochs=noted["epochs"], batch_size=batch, seed=seed)
    _note(folder, {"of": what, **noted})
    before = evaluate_network(model, valid)
    trained, resume = with_fixed_norms(model), folder is not None
    history = fit(trained, train, valid, plan, run_dir=folder, resume=resume, progress=progress)
    if not history.finished:
        raise KeyboardInterrupt(history.stopped)
    after = evaluate_network(trained, valid)
    better = after["loss"] < before["loss"]
    kept = copy.deepcopy(model).eval()
    if better:
        kept.load_state_dict(trained.state_dict())
    seconds = round(time.monotonic() - started, 1)
    result = Adapted(kept, better, before, after, len(train), seconds)
    if folder and not better:
        save_weights(result.model, folder / WEIGHTS)
    _note(folder, {"of": what, **noted, **{key: getattr(result, key) for key in _RESULTS}})
    return result


class _FixedNorm(nn.Module):
    """What batch normalisation is in eval mode, under the same names, in training as well."""

    def __init__(self, norm: _Norm) -> None:
        super().__init__()
        self.eps, self.weight, self.bias = norm.eps, norm.weight, norm.bias
        for name, value in norm.named_buffers():
            self.register_buffer(name, value)

    def forward(self, images: Tensor) -> Tensor:
        mean, variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
        return F.batch_norm(images, mean, variance, self.weight, self.bias, eps=self.eps)


def with_fixed_norms(model: nn.Module) -> nn.Module:
    """A copy that trains with the statistics that it has; its state fits the network itself."""
    fixed = copy.deepcopy(model)
    for parent in list(fixed.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _Norm):
                setattr(parent, name, _FixedNorm(child))
    return fixed


def _what(
    model: PansharpeningNetwork, blocks: Below, plan: Plan | None, minutes: float | None, seed: int
) -> dict[str, Any]:
    """What decides the outcome: a call with the same goes on, or finds it done."""
    ground = hashlib.sha256(repr(blocks.blocks[0].sensor).encode())
    for block in blocks.blocks:
        for image in (block.gt, block.ms, block.pan, block.mask):
            ground.update(np.ascontiguousarray(image).tobytes())
    return {
        "network": fingerprint(model),
        "scene": ground.hexdigest(),
        "plan": plan and json.loads(json.dumps(asdict(plan))),
        "minutes": minutes,
        "seed": seed,
    }


def _noted(folder: Path | None, what: dict[str, Any]) -> dict[str, Any]:
    """What an earlier call with the same has noted in the folder."""
    if folder is None:
        return {}
    path = folder / RECORD
    if not is_file(path):
        if is_file(folder / WEIGHTS) or is_file(folder / "checkpoint.pt"):
            raise RunError(f"{folder} holds another run: choose another folder to adapt in")
        return {}
    try:
        noted = dict(json.loads(path.read_text(encoding="utf-8")))
        of = dict(noted.pop("of"))
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise RunError(
            f"{path} cannot be read as the record of an adaptation ({error!s:.200}): choose "
            "another folder, or remove this one"
        ) from error
    if other := [key for key in what if of.get(key) != what[key]]:
        raise RunError(
            f"{folder} holds an adaptation of another {' and '.join(other)}: choose another "
            "folder, or remove this one to adapt anew"
        )
    return noted


def _note(folder: Path | None, record: dict[str, Any]) -> None:
    if folder is not None:
        with written_whole(folder / RECORD) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _steps_in(
    model: PansharpeningNetwork, train: torch.utils.data.Dataset[Batch], batch: int, minutes: float
) -> int:
    """How many steps fit into some minutes, from the time of three."""
    trial = replace(ADAPTING, epochs=1, batch_size=batch)
    few = torch.utils.data.Subset(train, range(batch))
    started = time.monotonic()
    fit(copy.deepcopy(model), few, few, trial, progress=False)  # warms up as well
    started, warm = time.monotonic(), time.monotonic() - started
    fit(copy.deepcopy(model), few, few, replace(trial, epochs=2), progress=False)
    return max(1, round((60 * minutes - warm) / ((time.monotonic() - started) / 2)))
