"""The ground that an MS and a PAN image both show, from where their files say that they lie."""

import math
from typing import NamedTuple

from affine import Affine
from rasterio.crs import CRS

from dcfnet.errors import DataError

TOLERANCE = 0.1
"""PAN pixels by which two grids may differ anywhere."""


class Grid(NamedTuple):
    """Where the pixels of an image lie, and what errors call it.

    The transform, to map coordinates, is the identity where it is not georeferenced.
    """

    name: str
    shape: tuple[int, int]
    transform: Affine
    crs: CRS | None = None


class CommonGround(NamedTuple):
    """Whole MS pixels that PAN covers.

    Attributes:
        rows, cols: Of MS.
        top, left: The row and column of PAN where they begin.
        off: What is left: how far MS lies down and right of there, in PAN pixels, at most half of
            one; 0 where it is within `TOLERANCE`.
    """

    rows: slice
    cols: slice
    top: int
    left: int
    off: tuple[float, float]


def common_ground(ms: Grid, pan: Grid, ratio: int, *, resample: bool = False) -> CommonGround:
    """The ground that both images show, PAN with ``ratio`` pixels per MS pixel.

    Raises:
        DataError: One is not georeferenced, their coordinate systems differ, the pixel sizes are
            not in that ratio, the grids are offset by a fraction of a PAN pixel and not to be
            resampled, or the two do not overlap.
    """
    to_pan = _to_pan(ms, pan, ratio)
    # Over the whole image the grids may drift apart by so many PAN pixels.
    size = max(ms.shape)
    scales, shears = (to_pan.a, to_pan.e), (to_pan.b, to_pan.d)
    drift = size * max(*(abs(s - ratio) for s in scales), *map(abs, shears))
    if drift > TOLERANCE:
        raise DataError(
            f"a pixel of {ms.name} is {scales[0]:.7g} x {scales[1]:.7g} pixels of {pan.name}, "
            f"expected {ratio} x {ratio} on parallel grids: over the image they drift apart by "
            f"{drift:.3g} PAN pixels, at most {TOLERANCE} is allowed; {_cure(ms, pan, ratio)}"
        )
    rows, top = _overlap(ms.shape[0], pan.shape[0], round(to_pan.f), ratio)
    cols, left = _overlap(ms.shape[1], pan.shape[1], round(to_pan.c), ratio)
    if rows.stop <= rows.start or cols.stop <= cols.start:
        raise DataError(
            f"{ms.name} and {pan.name} do not overlap by a single MS pixel: expected two images "
            "of the same ground; check that they belong to one acquisition"
        )
    off = to_pan.f - round(to_pan.f), to_pan.c - round(to_pan.c)
    if max(map(abs, off)) <= TOLERANCE:
        off = 0.0, 0.0
    elif not resample:
        raise DataError(
            f"{ms.name} begins {to_pan.c:.2f} columns and {to_pan.f:.2f} rows from the corner of "
            f"{pan.name}, expected whole PAN pixels; ask to resample MS (--resample), or "
            f"{_cure(ms, pan, ratio)}"
        )
    return CommonGround(rows, cols, top, left, off)


def _to_pan(ms: Grid, pan: Grid, ratio: int) -> Affine:
    """From MS pixels to PAN pixels: a scale and a shift, if all is well."""
    for name, _, transform, _ in (ms, pan):
        if not all(map(math.isfinite, transform)) or transform.determinant == 0:
            raise DataError(
                f"the pixels of {name} have no place or size ({tuple(transform[:6])}): expected "
                "a georeferenced image, or none at all; set it with `gdal_edit.py -a_ullr`"
            )
    if ms.transform.is_identity != pan.transform.is_identity:
        bare, other = (ms, pan) if ms.transform.is_identity else (pan, ms)
        left, top = other.transform @ (0, 0)
        right, bottom = other.transform @ other.shape[::-1]
        raise DataError(
            f"{bare.name} is not georeferenced, {other.name} is: expected both, or neither; if "
            f"both show the same ground, say so with `gdal_translate -a_ullr {left:.15g} "
            f"{top:.15g} {right:.15g} {bottom:.15g} {bare.name} NEW.tif`"
        )
    if ms.crs != pan.crs:
        raise DataError(
            f"{ms.name} has the coordinate system {ms.crs or 'none'}, {pan.name} has "
            f"{pan.crs or 'none'}: expected the same; reproject one with `gdalwarp -t_srs`, or set "
            "one that is missing with `gdal_translate -a_srs`"
        )
    if ms.transform.is_identity:
        if pan.shape != (ratio * ms.shape[0], ratio * ms.shape[1]):
            _refuse_shapes(ms, pan, ratio)
        return Affine.scale(ratio)
    to_pan = ~pan.transform @ ms.transform
    if not all(map(math.isfinite, to_pan)):
        raise DataError(
            f"the georeferencing of {ms.name} and {pan.name} cannot be compared: expected pixel "
            f"sizes in a ratio of {ratio}, found {ms.transform.a} and {pan.transform.a}"
        )
    return to_pan


def _refuse_shapes(ms: Grid, pan: Grid, ratio: int) -> None:
    """Two images that lie nowhere show the same ground only if their sizes fit."""
    h, w = (min(m, p // ratio) for m, p in zip(ms.shape, pan.shape, strict=True))
    crops = [
        f"`gdal_translate -srcwin 0 0 {width} {height} {grid.name} NEW.tif`"
        for grid, height, width in ((ms, h, w), (pan, ratio * h, ratio * w))
        if grid.shape != (height, width)
    ]
    cure = f"if they share their first pixel, crop with {' and '.join(crops)}"
    raise DataError(
        f"neither {ms.name} nor {pan.name} is georeferenced, so both must show the same ground: "
        f"expected PAN of {ratio * ms.shape[0]} x {ratio * ms.shape[1]} pixels, {ratio} times MS, "
        f"found {pan.shape[0]} x {pan.shape[1]}; "
        + (cure if h and w else "check that they belong together")
    )


def _cure(ms: Grid, pan: Grid, ratio: int) -> str:
    """The command that brings PAN onto a grid that fits MS."""
    t = ms.transform
    if t.b or t.d or t.a < 0 or t.e > 0:
        return (
            "bring both onto grids with north up with `gdalwarp -tr`, PAN's pixels "
            f"{ratio} times smaller"
        )
    left, top = t.c, t.f
    right, bottom = t @ ms.shape[::-1]
    return (
        f"resample PAN with `gdalwarp -r cubic -tr {t.a / ratio:.15g} {-t.e / ratio:.15g} "
        f"-te {left:.15g} {bottom:.15g} {right:.15g} {top:.15g} {pan.name} NEW.tif`"
    )


def _overlap(ms_size: int, pan_size: int, shift: int, ratio: int) -> tuple[slice, int]:
    """Along one axis: the MS pixels that lie within PAN, and PAN's first pixel under them."""
    first = max(0, math.ceil(-shift / ratio))
    last = min(ms_size, (pan_size - shift) // ratio)
    return slice(first, last), shift + ratio * first
