"""The commands ``dcfnet train`` and ``dcfnet evaluate``."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dcfnet.errors import DataError, RunError
from dcfnet.imagery.building import data_file
from dcfnet.imagery.catalogue import load_scene
from dcfnet.imagery.pancollection import PatchDataset
from dcfnet.imagery.regions import SPLITS
from dcfnet.imagery.sensors import SENSORS, Sensor, get_sensor
from dcfnet.networks import NETWORKS, build_network, load_released, load_trained, load_weights
from dcfnet.training.history import History
from dcfnet.training.plan import Plan

__all__ = ["add_evaluate_parser", "add_train_parser"]

TRAIN = """\
Train a network on HDF5 files in PanCollection's layout.

Every epoch the run's folder gets a new history.csv and checkpoint, and weights.safetensors
whenever the validation loss is the lowest so far. Ctrl-C stops after the current step; the same
command with --resume goes on as if nothing had happened.

examples:
  dcfnet data && dcfnet train dcfnet
  dcfnet train dcfnet --resume --max-seconds 3600
  dcfnet train fusionnet --train train_wv3.h5 --valid valid_wv3.h5 --run-dir runs/mine
  accelerate launch --multi_gpu --num_processes 4 -m dcfnet.cli train dcfnet
"""

EVALUATE = """\
Measure a network on HDF5 patches with truth: mean of each metric over the patches.

examples:
  dcfnet evaluate dcfnet                                   the book's trained network
  dcfnet evaluate dcfnet --weights runs/dcfnet/weights.safetensors --split valid
  dcfnet evaluate pannet --released pannet.pth --data test_wv3.h5
"""


def add_train_parser(commands: Any) -> argparse.ArgumentParser:
    """Add ``train`` to the subparsers of the command."""
    parser = commands.add_parser(
        "train",
        help="train a network",
        description=TRAIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("network", choices=NETWORKS, help="which network")
    parser.set_defaults(run=_train)

    data = parser.add_argument_group("data")
    data.add_argument("--train", type=Path, help="HDF5 file (default: that of the book's scene)")
    data.add_argument("--valid", type=Path, help="HDF5 file (default: that of the book's scene)")
    _add_sensor(data)

    run = parser.add_argument_group("run")
    run.add_argument(
        "--run-dir", type=Path, help="folder of the results (default: runs/NETWORK, here)"
    )
    run.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    run.add_argument(
        "--from-best",
        action="store_true",
        help="the same, also without a checkpoint: from the best weights, with a new Adam",
    )
    run.add_argument("--max-seconds", type=float, metavar="S", help="stop after so long")
    run.add_argument("--device", choices=("auto", "cpu"), default="auto", help="(default: a GPU)")
    run.add_argument("--workers", type=int, default=0, metavar="N", help="processes that read")
    run.add_argument("--compile", action="store_true", help="use torch.compile")
    run.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="(default: bf16 where the device is made for it)",
    )

    learning = parser.add_argument_group("learning")
    learning.add_argument("--epochs", type=int, default=400, help="at most (default: 400)")
    learning.add_argument(
        "--patience",
        type=int,
        default=100,
        metavar="N",
        help="stop when N epochs bring no lower validation loss; 0: never (default: 100)",
    )
    learning.add_argument("--lr", type=float, default=1e-3, help="learning rate (default: 1e-3)")
    learning.add_argument(
        "--schedule",
        choices=("constant", "cosine", "trapezoid"),
        default="constant",
        help="of that rate; trapezoid: constant, then falling to 0 (default: constant)",
    )
    learning.add_argument("--batch-size", type=int, default=32, metavar="N", help="(default: 32)")
    learning.add_argument(
        "--accumulate", type=int, default=1, metavar="N", help="split a batch to save memory"
    )
    learning.add_argument(
        "--average", type=float, metavar="DECAY", help="average the weights, for example 0.99"
    )
    learning.add_argument("--no-augment", action="store_true", help="leave patches as they are")
    learning.add_argument(
        "--exposure",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="brighten or darken patches by random factors between these, for example 0.5 3",
    )
    learning.add_argument("--seed", type=int, default=0, help="of all chance (default: 0)")

    options = parser.add_argument_group("DCFNet")
    options.add_argument("--width", type=_width, help="share of the paper's channels (default: 1)")
    options.add_argument(
        "--direct", action="store_true", help="predict the image itself, not its details"
    )
    return parser


def add_evaluate_parser(commands: Any) -> argparse.ArgumentParser:
    """Add ``evaluate`` to the subparsers of the command."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a network on patches with truth",
        description=EVALUATE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("network", choices=NETWORKS, help="which network")
    parser.set_defaults(run=_evaluate)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--weights", type=Path, help="weights.safetensors of a run")
    source.add_argument("--released", type=Path, help="a released .pth file")
    data = parser.add_mutually_exclusive_group()
    data.add_argument("--data", type=Path, help="HDF5 file")
    data.add_argument(
        "--split", choices=SPLITS, default="test", help="of the book's scene (default: test)"
    )
    _add_sensor(parser)
    parser.add_argument(
        "--device", choices=("auto", "cpu"), default="auto", help="(default: a GPU)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, all digits")
    return parser


def _width(text: str) -> float:
    width = float(text)
    if not 0 < width < math.inf:
        raise argparse.ArgumentTypeError(f"a share above 0 is expected, not {text}")
    return width


def _add_sensor(parser: Any) -> None:
    parser.add_argument(
        "--sensor", choices=SENSORS, help="what took the images (default: as the book's scene)"
    )


def _sensor(args: argparse.Namespace) -> Sensor:
    return get_sensor(args.sensor) if args.sensor else load_scene().sensor


def _train(args: argparse.Namespace) -> None:
    from dcfnet.training.loop import fit  # accelerate takes a second to import

    sensor = _sensor(args)
    folder = args.run_dir or Path("runs") / args.network
    train = PatchDataset(args.train or data_file("train"), sensor)
    valid = PatchDataset(args.valid or data_file("valid"), sensor)
    history = _or_exit(
        "train",
        lambda: fit(
            _network(args, sensor),
            train,
            valid,
            Plan(
                epochs=args.epochs,
                patience=args.patience,
                lr=args.lr,
                schedule=args.schedule,
                batch_size=args.batch_size,
                accumulate=args.accumulate,
                average=args.average,
                augment=not args.no_augment,
                exposure=tuple(args.exposure) if args.exposure else None,
                seed=args.seed,
                precision=args.precision,
            ),
            compile=args.compile,
            device=args.device,
            workers=args.workers,
            run_dir=folder,
            resume="best" if args.from_best else args.resume,
            max_seconds=args.max_seconds,
            progress=sys.stderr.isatty(),
            on_epoch=None if sys.stderr.isatty() else _print_epoch,
        ),
    )
    best = history.best_epoch()
    if best is not None:
        row = history.rows[best - 1]
        print(
            f"best epoch {best}: validation loss {row['valid_loss']:.3e}, SAM {row['sam']:.3f}, "
            f"ERGAS {row['ergas']:.3f}, PSNR {row['psnr']:.2f} dB; {folder / 'weights.safetensors'}"
        )
    if not history.finished:
        print(f"stopped by {history.stopped} after {len(history)} epochs; --resume goes on")
    if history.stopped in ("SIGINT", "SIGTERM"):
        raise SystemExit(130 if history.stopped == "SIGINT" else 143)


def _network(args: argparse.Namespace, sensor: Sensor) -> torch.nn.Module:
    options = {}
    if args.network == "dcfnet":
        width = 1.0 if args.width is None else args.width
        options = {"inject_details": not args.direct, "width": width}
    elif args.width is not None or args.direct:
        raise SystemExit("dcfnet train: --width and --direct are options of DCFNet alone")
    torch.manual_seed(args.seed)
    return build_network(args.network, sensor.n_bands, **options)


def _print_epoch(history: History) -> None:
    row = history.rows[-1]
    print(
        f"epoch {row['epoch']}: training {row['train_loss']:.3e}, validation "
        f"{row['valid_loss']:.3e}, SAM {row['sam']:.3f}, ERGAS {row['ergas']:.3f}, PSNR "
        f"{row['psnr']:.2f} dB, {row['seconds']:.0f} s",
        flush=True,
    )


def _evaluate(args: argparse.Namespace) -> None:
    from dcfnet.training.evaluate import evaluate_network

    sensor = _sensor(args)
    if args.released:
        model = load_released(args.network, args.released, sensor.n_bands)
    elif args.weights:
        model = load_weights(args.weights)
        if model.name != args.network:
            raise SystemExit(
                f"dcfnet evaluate: {args.weights} holds a {model.title}, not {args.network}: "
                f"pass {model.name!r} or other weights"
            )
    else:
        model = load_trained(args.network)
    if args.device == "auto" and torch.cuda.is_available():
        model.cuda()
    data = PatchDataset(args.data or data_file(args.split), sensor)
    values = _or_exit("evaluate", lambda: evaluate_network(model, data, sensor, full=True))
    if args.json:
        print(json.dumps({"patches": len(data), **values}))
        return
    units = {"sam": " degrees", "psnr": " dB"}
    print(f"{model.title} on {len(data)} patches of {data.path}")
    for name, value in values.items():
        digits = f"{value:.3e}" if name == "loss" else f"{value:.4f}"
        print(f"{name:>6}  {digits if math.isfinite(value) else value}{units.get(name, '')}")


def _or_exit(command: str, act: Callable[[], Any]) -> Any:
    """What goes wrong for want of something, in a sentence; programming errors in full."""
    try:
        return act()
    except DataError:
        raise
    except (ValueError, RunError, FloatingPointError, OSError) as error:
        raise SystemExit(f"dcfnet {command}: {error}") from error
