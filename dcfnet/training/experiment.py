"""The experiment behind the chapters on convergence and results: every network, one policy.

    python data/experiment.py                       all runs, one after the other
    python data/experiment.py dcfnet pnn            some of them
    python data/experiment.py --max-seconds 3600    an hour's worth; call it again to go on
    python data/experiment.py --from-best dcfnet    on from the best weights of a run
    python data/experiment.py --learning-rates      how the learning rates were chosen

Each run leaves ``data/runs/<name>/``. A run that was interrupted, by whatever, goes on where it
stopped, and one that is finished is left alone, so the command can be repeated at will.

What all have in common: the training patches of the scene, in an order, orientation and exposure
that depend on seed and epoch alone; Adam(0.9, 0.999), a learning rate that is constant and then
(DCFNet's excepted) falls to zero over the last fifth of the steps, batches of 32, mean squared
error; bfloat16 where the device is made for it; validation of the exponential moving average of the
weights (decay 0.99, that is over some nine epochs), with batch normalisation statistics recomputed
from four batches. Networks that add details to the interpolated image begin with none, as DCFNet
does here: their last convolution starts at zero. Without that FusionNet needs 30 epochs to become
as good as its input. MSDCNN ends with a ReLU, which dies within ten epochs at 1e-3 and 3e-3 if its
last convolutions start at random (``learning_rates.csv`` shows it so, with the whole image 0): here
it starts as an even grey of 0.1 (``msdcnn-grey`` there).

Exposure: each patch is multiplied by a random factor between 0.5 and 3, as far as the sensor's
range allows. The test region has large white roofs, three times as bright as nearly anything in
the training region, and without this a network has never seen such values.

What differs is stated in `RUNS`. DCFNet has the learning rate of its paper. Every other network
has the best of three, by validation loss after ten epochs (``--learning-rates``): it shall not
lose for want of a good one.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from dcfnet.imagery.building import data_file
from dcfnet.imagery.catalogue import load_scene
from dcfnet.imagery.pancollection import PatchDataset
from dcfnet.networks import MSDCNN, build_network
from dcfnet.networks.dcfnet import REMOVABLE
from dcfnet.paths import data_dir, written_whole
from dcfnet.training.history import History
from dcfnet.training.loop import fit
from dcfnet.training.plan import Plan, Schedule

POLICY = Plan(average=0.99, norm_batches=4, exposure=(0.5, 3.0))

INJECT = ("pannet", "dicnn", "fusionnet")  # DCFNet starts so by itself
RATES = (3e-4, 1e-3, 3e-3)
COMPARED = ("epoch", "train_loss", "valid_loss", "sam", "ergas", "psnr")


NARROW = 0.25
"""Width of the networks that parts are taken from: a sixteenth of the weights, so that each can
be trained from several seeds."""

CROSSING = tuple(name for name in REMOVABLE if ".transfers." in name)


@dataclass(frozen=True)
class Run:
    """What a run does otherwise than the others."""

    network: str
    lr: float
    epochs: int
    options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    schedule: Schedule = "trapezoid"
    patience: int | None = None


# In this order: what matters most comes first when time is short.
RUNS = {
    # To its optimal epoch and 100 more; without a fall at the end, which would hide that epoch.
    "dcfnet": Run("dcfnet", 1e-3, 600, schedule="constant", patience=100),
    # The supplement's Figure 1 shows FusionNet for 139 epochs and PNN for 300. FusionNet, which
    # comes nearest to DCFNet, has more, so that it does not lose for want of them.
    "fusionnet": Run("fusionnet", 3e-4, 400),
    "pnn": Run("pnn", 1e-3, 300),
    "pannet": Run("pannet", 1e-3, 150),
    "dicnn": Run("dicnn", 3e-4, 200),
    "msdcnn": Run("msdcnn", 1e-3, 80),
    # The first epochs of DCFNet, predicting the image itself as the released code does.
    "dcfnet-direct": Run("dcfnet", 1e-3, 40, {"inject_details": False}, schedule="constant"),
}

# DCFNet as its released code trains it, predicting the image itself, and without some of its
# parts, each beside the whole network of the same width and seed.
VARIANTS: dict[str, dict[str, Any]] = {
    "whole": {},
    "without-transfers": {"without": CROSSING},
    "without-pcft": {"without": ("pcft1", "pcft2")},
    "direct": {"inject_details": False},
}
RUNS |= {
    f"narrow-{variant}-{seed}": Run("dcfnet", 1e-3, 30, {"width": NARROW, **options}, seed)
    for seed in range(3)
    for variant, options in VARIANTS.items()
}


def carry_out(name: str, max_seconds: float | None, from_best: bool = False) -> None:
    """Begin a run or go on with it."""
    run = RUNS[name]
    folder = data_dir() / "runs" / name
    done = (folder / "run.json").exists() and not (folder / "checkpoint.pt").exists()
    if done and not from_best:
        print(f"{name}: {folder} has its results; set DCFNET_DATA to repeat it elsewhere")
        return
    history = fit(
        _fresh(run),
        *_patches(),
        replace(
            POLICY,
            epochs=run.epochs,
            lr=run.lr,
            seed=run.seed,
            schedule=run.schedule,
            patience=run.patience,
        ),
        run_dir=folder,
        resume="best" if from_best else True,
        max_seconds=max_seconds,
        progress=sys.stderr.isatty(),
        on_epoch=None if sys.stderr.isatty() else lambda history: _line(name, history),
    )
    print(f"{name}: {len(history)} epochs, {history.stopped}", flush=True)
    _exit_if_interrupted(history)


def learning_rates(epochs: int = 10) -> None:
    """Train the compared networks for a short while at three rates and note how well each does."""
    rows = []
    starts = [(name, run) for name, run in RUNS.items() if run.network != "dcfnet"]
    for name, run in [*starts, ("msdcnn-grey", RUNS["msdcnn"])]:
        for lr in RATES:
            history = fit(
                _fresh(run, grey=name.endswith("-grey")),
                *_patches(),
                replace(POLICY, epochs=epochs, lr=lr, patience=None),
                run_dir=data_dir() / "rates" / f"{name}-{lr:g}",
                resume=True,
                progress=sys.stderr.isatty(),
            )
            _exit_if_interrupted(history)
            last = history.rows[-1]
            rows.append({"network": name, "lr": lr, **{k: last[k] for k in COMPARED}})
            print(*rows[-1].values(), flush=True)
    path = data_dir() / "runs" / "learning_rates.csv"
    with written_whole(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _fresh(run: Run, grey: bool = True) -> torch.nn.Module:
    torch.manual_seed(run.seed)
    model = build_network(run.network, **run.options)
    if run.network in INJECT:
        *_, last = (part for part in model.modules() if isinstance(part, torch.nn.Conv2d))
        torch.nn.init.zeros_(last.weight)
    if isinstance(model, MSDCNN) and grey:
        for path in (model.deep, model.shallow):
            weight, bias = path[-1].parameters()
            torch.nn.init.zeros_(weight)
            torch.nn.init.constant_(bias, 0.05)
    return model


def _patches() -> tuple[PatchDataset, PatchDataset]:
    sensor = load_scene().sensor
    return PatchDataset(data_file("train"), sensor), PatchDataset(data_file("valid"), sensor)


def _exit_if_interrupted(history: History) -> None:
    if history.stopped.startswith("SIG"):
        raise SystemExit(1)


def _line(name: str, history: History) -> None:
    row = history.rows[-1]
    print(
        f"{time.strftime('%H:%M:%S')} {name} {row['epoch']} train {row['train_loss']:.3e} "
        f"valid {row['valid_loss']:.3e} SAM {row['sam']:.3f} ERGAS {row['ergas']:.3f} "
        f"PSNR {row['psnr']:.2f} best {history.best_epoch()} {row['seconds']:.0f} s",
        flush=True,
    )


def main() -> None:
    """Parse the command line and do it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", nargs="*", choices=[[], *RUNS], help="runs to do (default: all)")
    parser.add_argument("--max-seconds", type=float, help="stop after so long, in all")
    parser.add_argument(
        "--from-best",
        action="store_true",
        help="train runs without a checkpoint further, from their best weights and a new Adam",
    )
    parser.add_argument("--learning-rates", action="store_true", help="choose learning rates")
    args = parser.parse_args()
    if args.learning_rates:
        learning_rates()
        return
    started = time.monotonic()
    for name in args.run or RUNS:
        left = None
        if args.max_seconds is not None:
            left = args.max_seconds - (time.monotonic() - started)
            if left <= 0:
                break
        carry_out(name, left, args.from_best)


if __name__ == "__main__":
    main()
