"""The command ``dcfnet fuse``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from dcfnet.errors import DataError
from dcfnet.fusion.files import fuse_files
from dcfnet.fusion.tiles import OVERLAP, TILE
from dcfnet.imagery.sensors import SENSORS, get_sensor
from dcfnet.networks import NETWORKS, load_trained, load_weights

__all__ = ["add_fuse_parser"]

FUSE = """\
Fuse the MS and PAN GeoTIFFs of one place into a GeoTIFF with MS's bands and PAN's pixels.

Any size: the scene is read, fused and written tile by tile. The result appears when it is
complete. After an interruption the same command goes on where it stopped.

examples:
  dcfnet fuse --ms MS.tif --pan PAN.tif --sensor wv3 OUT.tif
  dcfnet fuse --ms MS.tif --pan PAN.tif --sensor wv3 OUT.tif --overwrite --network fusionnet
  dcfnet fuse --ms MS.tif --pan PAN.tif --sensor wv3 OUT.tif --weights runs/mine/weights.safetensors
"""


def add_fuse_parser(commands: Any) -> argparse.ArgumentParser:
    """Add ``fuse`` to the subparsers of the command."""
    parser = commands.add_parser(
        "fuse",
        help="fuse the GeoTIFFs of a scene",
        description=FUSE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, metavar="OUT.tif", help="the GeoTIFF to write")
    parser.add_argument("--ms", type=Path, required=True, help="GeoTIFF, the sensor's bands")
    parser.add_argument("--pan", type=Path, required=True, help="GeoTIFF, one band")
    parser.add_argument("--sensor", choices=SENSORS, required=True, help="what took the images")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT.tif if it is there")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--network", choices=NETWORKS, help="one of the book's trained networks (default: dcfnet)"
    )
    source.add_argument("--weights", type=Path, help="weights.safetensors of your own run")
    parser.add_argument(
        "--tile", type=int, default=TILE, metavar="N", help=f"PAN pixels (default: {TILE})"
    )
    parser.add_argument(
        "--overlap",
        type=int,
        default=OVERLAP,
        metavar="N",
        help=f"PAN pixels discarded at each side of a tile (default: {OVERLAP})",
    )
    parser.add_argument(
        "--device",
        type=lambda names: names.split(","),
        metavar="NAMES",
        help="cpu, cuda:0, or several with commas between, which share the tiles "
        "(default: all GPUs, else the CPU)",
    )
    parser.add_argument(
        "--precision", choices=("fp32", "bf16"), default="fp32", help="(default: fp32)"
    )
    parser.set_defaults(run=_fuse)
    return parser


def _fuse(args: argparse.Namespace) -> None:
    model = load_weights(args.weights) if args.weights else load_trained(args.network or "dcfnet")
    try:
        out = fuse_files(
            model,
            args.ms,
            args.pan,
            args.out,
            get_sensor(args.sensor),
            tile=args.tile,
            overlap=args.overlap,
            device=args.device,
            precision=args.precision,
            overwrite=args.overwrite,
            progress=sys.stderr.isatty(),
        )
    except DataError:
        raise
    except (ValueError, OSError) as error:
        raise SystemExit(f"dcfnet fuse: {error}") from error
    except KeyboardInterrupt:
        print("\ndcfnet fuse: stopped; the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from None
    print(out)
