"""The command ``dcfnet``."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from dcfnet.errors import DataError
from dcfnet.fusion.command import add_fuse_parser
from dcfnet.imagery.building import build_data
from dcfnet.imagery.catalogue import SCENES
from dcfnet.imagery.pancollection import check_h5
from dcfnet.imagery.sensors import SENSORS, get_sensor
from dcfnet.paths import data_dir
from dcfnet.training.command import add_evaluate_parser, add_train_parser

__all__ = ["main"]


def _data(args: argparse.Namespace) -> None:
    for split, path in build_data(args.scene).items():
        print(f"{split}: {path}")


def _check(args: argparse.Namespace) -> None:
    sensor = get_sensor(args.sensor) if args.sensor else None
    for path in args.file:
        check_h5(path, sensor, progress=True)
        print(f"{path}: can be used")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dcfnet", description="Data, training and fusion for the DCFNet book."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    data = commands.add_parser(
        "data",
        help="build the HDF5 files of a scene",
        description="Build train.h5, valid.h5 and test.h5 of a scene by Wald's protocol, in "
        f"{data_dir()}/SCENE. Set DCFNET_DATA to build them elsewhere.",
    )
    data.add_argument(
        "--scene",
        choices=SCENES,
        help="the scene (default: $DCFNET_SCENE, else wv3-longmont); "
        + "; ".join(f"{name}: {what}" for name, what in SCENES.items()),
    )
    data.set_defaults(run=_data)

    check = commands.add_parser(
        "check",
        help="say whether HDF5 files can be used, and if not why",
        description="Read every value of HDF5 files in PanCollection's layout and say whether "
        "they can be used for training or testing.",
    )
    check.add_argument("file", nargs="+", type=Path, help="HDF5 file")
    check.add_argument(
        "--sensor",
        choices=SENSORS,
        help="what took the images (default: the one noted in the file, else any band count)",
    )
    check.set_defaults(run=_check)

    add_train_parser(commands)
    add_evaluate_parser(commands)
    add_fuse_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. What ends it early says so in one line.

    Args:
        argv: Arguments without the program's name; by default those of the process.

    Returns:
        The exit code: 0; 1 where the system fails, for want of space for example; 2 for bad input;
        130 after Ctrl-C.
    """
    command = "dcfnet"
    with contextlib.suppress(AttributeError):  # file names need not be text
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        args = _parser().parse_args(argv)
        command = f"dcfnet {args.command}"
        args.run(args)
        sys.stdout.flush()
    except DataError as error:
        print(f"{command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{command}: stopped", file=sys.stderr)
        return 130
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # then the reader has seen enough
            print(f"{command}: {error}", file=sys.stderr)
        try:
            sys.stdout.flush()
        except OSError:  # what cannot be printed now cannot be at exit either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
