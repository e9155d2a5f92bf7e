"""A fused file measured: against a true one, or against the pair that it was made of."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from dcfnet.errors import DataError
from dcfnet.imagery.geotiff import Pair, Raster
from dcfnet.imagery.ground import TOLERANCE, Grid
from dcfnet.imagery.scene import Scene
from dcfnet.imagery.sensors import Sensor
from dcfnet.imagery.wald import Sample, full_resolution
from dcfnet.measure.metrics import evaluate


def measure_against_truth(
    fused_path: str | Path, truth_path: str | Path, sensor: Sensor
) -> dict[str, float]:
    """SAM, ERGAS, Q2n, SCC and PSNR of a fused raster by a true one, where both have data.

    The fused one's digital numbers may be whole or not.

    Raises:
        DataError: A file cannot be used, or the two do not lie on one grid.
    """
    with (
        Raster(fused_path, sensor.n_bands, sensor, whole=False) as fused,
        Raster(truth_path, sensor.n_bands, sensor) as truth,
    ):
        _require_one_grid(fused.grid, truth.grid)
        image, seen = _whole(fused)
        gt, mask = _whole(truth)
    mask = mask & seen
    _require_data(mask, fused.name, truth.name)
    nothing = gt[:, :0, :0]  # of what the truth makes superfluous
    sample = Sample(gt, nothing, nothing, gt[0], mask, sensor)
    return evaluate(sample, image, masked=True)


def measure_against_pair(
    fused_path: str | Path, ms_path: str | Path, pan_path: str | Path, sensor: Sensor
) -> dict[str, float]:
    """D_lambda, D_s and HQNR of a raster fused of MS and PAN, where all three have data.

    Raises:
        DataError: A file cannot be used, or the fused one does not lie on PAN's grid over common
            ground.
    """
    with (
        Pair(ms_path, pan_path, sensor, resample=True) as pair,
        Raster(fused_path, sensor.n_bands, sensor, whole=False) as fused,
    ):
        (h, w), r = pair.shape, sensor.ratio
        _require_one_grid(
            fused.grid, Grid("the ground of the pair", (r * h, r * w), pair.transform, pair.crs)
        )
        image, seen = _whole(fused)
        ms, mask = pair.read_ms(slice(0, h), slice(0, w))
        pan, seen_pan = pair.read_pan(slice(0, h), slice(0, w))
    sample = full_resolution(Scene(ms, pan, sensor, mask))
    sample = replace(sample, mask=sample.mask & seen & seen_pan)
    _require_data(sample.mask, fused.name, pair.ms.name)
    return evaluate(sample, image, masked=True)


def _whole(raster: Raster) -> tuple[np.ndarray, np.ndarray]:
    height, width = raster.shape
    return raster.read(slice(0, height), slice(0, width))


def _require_data(mask: np.ndarray, *names: str) -> None:
    if not mask.any():
        raise DataError(
            f"{' and '.join(names)} nowhere have data both: expected digital numbers, found 0, "
            "no-data values, or what a mask leaves out"
        )


def _require_one_grid(one: Grid, other: Grid) -> None:
    """Same size and, where both are georeferenced, same place."""
    places = [grid.transform for grid in (one, other) if not grid.transform.is_identity]
    off = 0.0
    if len(places) == 2:
        apart = ~places[1] @ places[0]
        corners = [(0, 0), one.shape[::-1]]
        off = max(abs(a - b) for at in corners for a, b in zip(apart @ at, at, strict=True))
    if one.shape != other.shape or off > TOLERANCE:
        raise DataError(
            f"{one.name} is {one.shape[0]} x {one.shape[1]} pixels, {other.name} is "
            f"{other.shape[0]} x {other.shape[1]}, and they lie {off:.3g} pixels apart: expected "
            "one grid; bring the first onto that of the second with `gdalwarp -te -ts`"
        )
