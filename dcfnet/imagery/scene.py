"""A scene: MS and PAN of one place, seen at one time by one sensor."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from dcfnet.errors import DataError
from dcfnet.imagery.sensors import Sensor
from dcfnet.paths import is_file

__all__ = [
    "Scene",
    "common_ground",
    "open_scene",
]


@dataclass(frozen=True)
class Scene:
    """MS and PAN of one place.

    Attributes:
        ms: Multispectral image, (C, h, w) uint16, digital numbers.
        pan: Panchromatic image of the same ground, (ratio h, ratio w) uint16.
        sensor: The imager.
        mask: (h, w) bool, True where there is data.
        transform: Affine transform from PAN pixel (column, row) to map coordinates, or None.
        crs: Coordinate reference system as a string (an EPSG code or WKT), or None.
        attribution: The line that every figure of this scene carries.
        name: What it is called.
        truth: What the sensor would have seen with MS pixels as small as PAN's,
            (C, ratio h, ratio w) float32; only a simulated scene knows it.
    """

    ms: np.ndarray
    pan: np.ndarray
    sensor: Sensor
    mask: np.ndarray
    transform: Affine | None = None
    crs: str | None = None
    attribution: str = ""
    name: str = ""
    truth: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        c, h, w = self.ms.shape
        r = self.sensor.ratio
        if c != self.sensor.n_bands:
            raise DataError(
                f"MS has {c} bands, but {self.sensor.title} has {self.sensor.n_bands} "
                f"({', '.join(self.sensor.bands)}); pass the sensor that took the image"
            )
        if self.pan.shape != (r * h, r * w):
            raise DataError(
                f"PAN is {self.pan.shape[0]} x {self.pan.shape[1]} pixels, expected "
                f"{r * h} x {r * w}: {r} times MS ({h} x {w}); crop both to the same ground"
            )

    def crop(self, rows: slice, cols: slice) -> Scene:
        """The part of the scene in a window of MS pixels.

        Args:
            rows: Rows of MS.
            cols: Columns of MS.
        """
        r = self.sensor.ratio
        y0, y1, _ = rows.indices(self.ms.shape[1])
        x0, x1, _ = cols.indices(self.ms.shape[2])
        fine = (slice(r * y0, r * y1), slice(r * x0, r * x1))
        return replace(
            self,
            ms=self.ms[:, y0:y1, x0:x1],
            pan=self.pan[fine],
            mask=self.mask[y0:y1, x0:x1],
            transform=self.transform and self.transform @ Affine.translation(r * x0, r * y0),
            truth=None if self.truth is None else self.truth[:, *fine],
        )


def open_scene(
    ms_path: str | Path,
    pan_path: str | Path,
    sensor: Sensor,
    *,
    attribution: str = "",
    name: str = "",
) -> Scene:
    """Your own GeoTIFFs as a scene.

    Both are cropped to the ground that they share, along whole MS pixels. Pixels that are the
    files' no-data value, or 0 in every band, count as no data.

    Args:
        ms_path: MS image with the sensor's bands, in its order, in digital numbers.
        pan_path: PAN image with one band, on a grid aligned with that of MS.
        sensor: The imager, :data:`dcfnet.WV3` for example.
        attribution: The line that every figure of this scene carries.
        name: What to call it; by default the name of the MS file.

    Raises:
        DataError: A file cannot be read, or the pair does not fit: band count, pixel size
            ratio, coordinate system, overlap, alignment, or values beyond the sensor's bits.
    """
    ms_path, pan_path = Path(ms_path), Path(pan_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        ms, ms_mask, ms_transform, ms_crs = _read_image(ms_path, sensor.n_bands, sensor)
        pan, pan_mask, pan_transform, pan_crs = _read_image(pan_path, 1, sensor)
    if ms_crs != pan_crs:
        raise DataError(
            f"{ms_path.name} is in {ms_crs or 'no coordinate system'} but {pan_path.name} in "
            f"{pan_crs or 'none'}: expected the same; reproject one with `gdalwarp -t_srs`"
        )
    r = sensor.ratio
    rows, cols, top, left = common_ground(
        ms.shape[1:], ms_transform, pan.shape[1:], pan_transform, r, ms_path.name, pan_path.name
    )
    ms, ms_mask = ms[:, rows, cols], ms_mask[rows, cols]
    h, w = ms_mask.shape
    pan = pan[0, top : top + r * h, left : left + r * w]
    pan_mask = pan_mask[top : top + r * h, left : left + r * w]
    seen_by_pan = pan_mask.reshape(h, r, w, r).any(axis=(1, 3))
    return Scene(
        ms=ms,
        pan=pan,
        sensor=sensor,
        mask=ms_mask & seen_by_pan,
        transform=pan_transform @ Affine.translation(left, top),
        crs=pan_crs,
        attribution=attribution,
        name=name or ms_path.stem,
    )


def _read_image(
    path: Path, bands: int, sensor: Sensor
) -> tuple[np.ndarray, np.ndarray, Affine, str | None]:
    """(C, H, W) uint16 with 0 for no data, (H, W) mask, transform, coordinate system."""
    if not is_file(path):
        raise DataError(f"cannot read {path}: expected a GeoTIFF of {bands} band(s), found no file")
    try:
        with rasterio.open(path) as file:
            if file.count != bands:
                kind = "a PAN image" if bands == 1 else f"an MS image of {sensor.title}"
                raise DataError(
                    f"{path.name} has {file.count} bands, expected {bands} for {kind}; "
                    "check the order of the two files and the sensor"
                )
            image, nodata = file.read(), file.nodata
            transform = file.transform
            crs = file.crs.to_string() if file.crs else None
    except DataError:
        raise
    except (RasterioError, OSError, ValueError, MemoryError) as error:
        raise DataError(
            f"cannot read {path} ({error}): expected a complete GeoTIFF of {bands} band(s) that "
            "fits into memory"
        ) from error
    if not np.issubdtype(image.dtype, np.integer):
        raise DataError(
            f"{path.name} holds {image.dtype} values, expected whole digital numbers "
            f"(uint16, up to {sensor.max_value}); reflectances must be scaled back first"
        )
    mask = (image != 0).any(axis=0)
    if nodata is not None and nodata != 0:
        mask &= (image != nodata).any(axis=0)
        image = np.where(mask, image, 0).astype(image.dtype)
    low, high = int(image.min()), int(image.max())
    if low < 0 or high > sensor.max_value:
        raise DataError(
            f"{path.name} holds values from {low} to {high}, expected 0 to {sensor.max_value} "
            f"({sensor.bits} bits); for another bit depth use "
            "dataclasses.replace(sensor, bits=...)"
        )
    if not mask.any():
        raise DataError(f"{path.name} holds no data: every pixel is 0 or the no-data value")
    return image.astype(np.uint16), mask, transform, crs


def common_ground(
    ms_shape: tuple[int, int],
    ms_transform: Affine,
    pan_shape: tuple[int, int],
    pan_transform: Affine,
    ratio: int,
    ms_name: str,
    pan_name: str,
) -> tuple[slice, slice, int, int]:
    """The ground that an MS and a PAN image both show, from their georeferencing.

    Args:
        ms_shape: Rows and columns of MS.
        ms_transform: From its pixels to map coordinates.
        pan_shape: Rows and columns of PAN.
        pan_transform: From its pixels to map coordinates.
        ratio: PAN pixels per MS pixel.
        ms_name: What errors call MS.
        pan_name: What errors call PAN.

    Returns:
        Rows and columns of MS that PAN covers, and the row and column of PAN where they begin.

    Raises:
        DataError: The pixel sizes are not in that ratio, the grids are offset by a fraction of a
            PAN pixel, or the two do not overlap.
    """
    for name, transform in ((ms_name, ms_transform), (pan_name, pan_transform)):
        if not all(map(math.isfinite, transform)) or transform.determinant == 0:
            raise DataError(
                f"the pixels of {name} have no place or size ({tuple(transform[:6])}): expected "
                "a georeferenced image, or none at all; set it with `gdal_edit.py -a_ullr`"
            )
    # Maps MS pixel coordinates to PAN pixel coordinates: a scale and a shift, if all is well.
    if ms_transform.is_identity and pan_transform.is_identity:
        # No georeferencing at all: the two images must show the same ground.
        to_pan = Affine.scale(pan_shape[1] / ms_shape[1], pan_shape[0] / ms_shape[0])
    else:
        to_pan = ~pan_transform @ ms_transform
    if not all(map(math.isfinite, to_pan)):
        raise DataError(
            f"the georeferencing of {ms_name} and {pan_name} cannot be compared: expected pixel "
            f"sizes in a ratio of {ratio}, found {ms_transform.a} and {pan_transform.a}"
        )
    found = (to_pan.a, to_pan.e)
    # Over the whole image the grids may drift apart by a tenth of a PAN pixel.
    tolerance = 0.1 / max(ms_shape)
    if any(abs(scale - ratio) > tolerance for scale in found) or any(
        abs(shear) > tolerance for shear in (to_pan.b, to_pan.d)
    ):
        raise DataError(
            f"a pixel of {ms_name} is {found[0]:.4g} x {found[1]:.4g} pixels of {pan_name}, "
            f"expected {ratio} x {ratio} on parallel grids; resample PAN with "
            "`gdalwarp -tr` to the exact ratio"
        )
    rows, top = _overlap(ms_shape[0], pan_shape[0], round(to_pan.f), ratio)
    cols, left = _overlap(ms_shape[1], pan_shape[1], round(to_pan.c), ratio)
    if rows.stop <= rows.start or cols.stop <= cols.start:
        raise DataError(
            f"{ms_name} and {pan_name} do not overlap by a single MS pixel: expected two images "
            "of the same ground; check that they belong to one acquisition"
        )
    if max(abs(shift - round(shift)) for shift in (to_pan.c, to_pan.f)) > 0.1:
        raise DataError(
            f"{ms_name} begins {to_pan.c:.2f} columns and {to_pan.f:.2f} rows from the corner of "
            f"{pan_name}, expected whole PAN pixels; align them with `gdalwarp -te -tr`"
        )
    return rows, cols, top, left


def _overlap(ms_size: int, pan_size: int, shift: int, ratio: int) -> tuple[slice, int]:
    """Along one axis: the MS pixels that lie within PAN, and PAN's first pixel under them."""
    first = max(0, math.ceil(-shift / ratio))
    last = min(ms_size, (pan_size - shift) // ratio)
    return slice(first, last), shift + ratio * first
