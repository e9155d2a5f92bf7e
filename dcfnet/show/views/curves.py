"""Curves of training runs: which networks, against what, which measure, how smooth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dcfnet.show.style import network_style
from dcfnet.show.views.view import Drawing
from dcfnet.training.runs import Run

_X = {
    "epoch": "epoch",
    "step": "optimiser step",
    "hours": "hours of this machine",
    "operations": "operations (10¹⁵)",
}
_Y = {
    "train_loss": "training loss",
    "valid_loss": "validation loss",
    "sam": "validation SAM (°)",
    "ergas": "validation ERGAS",
    "psnr": "validation PSNR (dB)",
}


def convergence(runs: Mapping[str, Run]) -> Drawing:
    """Training curves to choose from, answered in the page.

    A dot marks each run's optimal epoch or, where none is reached, that of its lowest validation
    loss.

    Args:
        runs: Title of a network to its run, from `dcfnet.training.runs.read_run`.

    Raises:
        ValueError: There is no run.
    """
    if not runs:
        raise ValueError("expected at least one training run, got none")
    return Drawing(
        "curves",
        {"axes": {"x": _X, "y": _Y}, "runs": [_curve(name, run) for name, run in runs.items()]},
    )


def _curve(name: str, run: Run) -> dict[str, Any]:
    history, style = run.history, network_style(run.network)
    table = {
        "epoch": history["epoch"],
        "step": history["epoch"] * float(run.steps_per_epoch),
        "hours": history["seconds"].cumsum() / 3600,
        "operations": history["epoch"] * run.operations_per_epoch / 1e15,
        **{measure: history[measure] for measure in _Y},
    }
    return {
        "name": name,
        "colour": style.colour,
        "dashes": " ".join(f"{2 * part:g}" for part in style.dashes),
        "best": (history.optimal_epoch() or history.best_epoch() or 1) - 1,
        "table": {column: np.asarray(values).tolist() for column, values in table.items()},
    }
