"""The command ``dcfnet fuse``: its flags are its arguments."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from dcfnet.fusion.tiles import OVERLAP, TILE
from dcfnet.imagery.sensors import SENSORS
from dcfnet.training.command import Flag, NetworkName, exclusive

__all__ = ["fuse"]

WEIGHTS = exclusive("Weights")


def fuse(
    out: Path,
    /,
    *,
    ms: str,
    pan: str,
    sensor: Annotated[
        str,
        Parameter(help=f"What took the images: {', '.join(SENSORS)}, or a .toml file of its own."),
    ],
    overwrite: Flag = False,
    network: Annotated[NetworkName, Parameter(group=WEIGHTS)] = "dcfnet",
    weights: Annotated[Path | None, Parameter(group=WEIGHTS)] = None,
    released: Annotated[Path | None, Parameter(group=WEIGHTS)] = None,
    tile: int = TILE,
    overlap: int = OVERLAP,
    device: str | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> int:
    """Fuse the MS and PAN GeoTIFFs of one place into a GeoTIFF with MS's bands and PAN's pixels.

    Any size: the scene is read, fused and written tile by tile. The result appears when it is
    complete. After an interruption the same command goes on where it stopped.

    Args:
        out: The GeoTIFF to write.
        ms: GeoTIFF, the sensor's bands; or what GDAL reads besides, /vsizip/S.zip/MS.tif or a VRT.
        pan: GeoTIFF, one band; likewise.
        sensor: What took the images; its help names all.
        overwrite: Replace the result if it is there.
        network: One of the book's trained networks.
        weights: weights.safetensors of your own run.
        released: A released .pth file.
        tile: Side of a tile, in PAN pixels.
        overlap: PAN pixels discarded at each side of a tile.
        device: cpu, cuda:0, or several with commas between, which share the tiles; by default all
            GPUs, else the CPU.
        precision: Of the network's arithmetic.
    """
    from dcfnet.fusion.files import fuse_files
    from dcfnet.imagery.sensors import get_sensor
    from dcfnet.networks import load_released, load_trained, load_weights

    taken_by = get_sensor(sensor)
    if weights:
        model = load_weights(weights)
    elif released:
        model = load_released(None, released, taken_by.n_bands)
    else:
        model = load_trained(network)
    try:
        fused = fuse_files(
            model,
            ms,
            pan,
            out,
            taken_by,
            tile=tile,
            overlap=overlap,
            device=device.split(",") if device else None,
            precision=precision,
            overwrite=overwrite,
            progress=sys.stderr.isatty(),
        )
    except KeyboardInterrupt:
        print("\ndcfnet fuse: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    print(fused)
    return 0
