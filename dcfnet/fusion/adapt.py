"""A network fitted to a scene in about a minute, and kept only where that helps.

A network learns the sensor, the season and the registration of the scenes it was trained on, and
is lost elsewhere. Every scene is its own training set one scale down (`dcfnet.fusion.below`).
"""

from __future__ import annotations

import copy
import json
import math
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch

from dcfnet.errors import DataError
from dcfnet.fusion.below import Below, below
from dcfnet.fusion.tiled import Source
from dcfnet.imagery.scene import Scene
from dcfnet.networks import PansharpeningNetwork, save_weights
from dcfnet.paths import written_whole
from dcfnet.training.batches import Batch
from dcfnet.training.evaluate import evaluate_network
from dcfnet.training.loop import fit
from dcfnet.training.plan import Plan

__all__ = ["ADAPTING", "Adapted", "adapt"]

ADAPTING = Plan(
    lr=5e-4,
    schedule="trapezoid",
    average=0.9,
    exposure=(0.5, 3.0),
    norm_batches=4,
    patience=None,
)
"""How a network is adapted, but for the number of epochs, which follows from `STEPS`.

Without exposure the bright roofs of a scene whose patches show few of them stay wrong.
"""

STEPS = 80
"""Optimiser steps: DCFNet takes about a minute for them on two cores, FusionNet seconds."""

PATCH, STRIDE, MOST = 32, 8, 512
HELD_PATCH, HELD_STRIDE, HELD_MOST = 24, 12, 64
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

    def table(self) -> pd.DataFrame:
        """Before and after, on the ground held back."""
        rows = {"as it was": self.before, "adapted": self.after}
        return pd.DataFrame.from_dict(rows, orient="index")[["sam", "ergas", "psnr"]]

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
        run_dir: Folder for history, record and weights; the same call goes on there after an
            interruption. None leaves no files.
        progress: Show bars.

    Returns:
        The network to use, and how good it was before and after.

    Raises:
        DataError: The scene is too small, or it has other bands than the network.
        RunError: ``run_dir`` holds another run.

    Reference:
        G. Scarpa, S. Vitale and D. Cozzolino, "Target-Adaptive CNN-Based Pansharpening", IEEE
        TGRS 56(9), 2018.
    """
    started = time.monotonic()
    blocks = scene if isinstance(scene, Below) else below(scene, seed=seed, progress=progress)
    sensor = blocks.blocks[0].sensor
    if model.bands != sensor.n_bands:
        raise DataError(
            f"the network is for {model.bands} bands, {sensor.title} has {sensor.n_bands}: pass "
            "one for as many bands, or dcfnet.networks.rebanded(model, ...)"
        )
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
    before = evaluate_network(model, valid)
    if plan is None:
        batch = min(ADAPTING.batch_size, len(train))
        steps = STEPS if minutes is None else _steps_in(model, train, batch, minutes)
        epochs = max(1, math.ceil(steps / (len(train) // batch)))
        plan = replace(ADAPTING, epochs=epochs, batch_size=batch, seed=seed)
    adapted = copy.deepcopy(model)
    fit(
        adapted,
        train,
        valid,
        plan,
        run_dir=run_dir,
        resume=run_dir is not None,
        progress=progress,
    )
    after = evaluate_network(adapted, valid)
    better = after["loss"] < before["loss"]
    result = Adapted(
        model=adapted if better else copy.deepcopy(model).eval(),
        better=better,
        before=before,
        after=after,
        patches=len(train),
        seconds=time.monotonic() - started,
    )
    if run_dir is not None:
        _note(result, Path(run_dir))
    return result


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


def _note(result: Adapted, folder: Path) -> None:
    """The weights to use under their usual name, and beside them what adapting came to."""
    if not result.better:
        save_weights(result.model, folder / "weights.safetensors")
    record = {
        "better": result.better,
        "before": result.before,
        "after": result.after,
        "patches": result.patches,
        "seconds": round(result.seconds, 1),
    }
    with written_whole(folder / "adapted.json") as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
