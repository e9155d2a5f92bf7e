"""A scene: MS and PAN of one place, seen at one time by one sensor."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from affine import Affine

from dcfnet.errors import DataError
from dcfnet.imagery.filters import coarse_mask
from dcfnet.imagery.geotiff import Pair
from dcfnet.imagery.sensors import Sensor


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
        """The part of the scene in a window of MS pixels."""
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
    resample: bool = False,
) -> Scene:
    """Your own GeoTIFFs, or other rasters that GDAL reads, as a scene.

    Both are cropped to the ground that they share, along whole MS pixels. What counts as no data
    says `dcfnet.imagery.geotiff.Raster.read`.

    Args:
        ms_path: MS image with the sensor's bands, in its order, in digital numbers.
        pan_path: PAN image with one band, on a grid aligned with that of MS.
        sensor: The imager, :data:`dcfnet.WV3` for example.
        attribution: The line that every figure of this scene carries.
        name: What to call it; by default the name of the MS file.
        resample: Resample MS where its grid is offset from PAN's by a fraction of a PAN pixel.

    Raises:
        DataError: A file cannot be read, or the pair does not fit: band count, pixel size
            ratio, coordinate system, overlap, alignment, or values beyond the sensor's bits.
    """
    with Pair(ms_path, pan_path, sensor, resample=resample) as pair:
        everything = slice(0, pair.shape[0]), slice(0, pair.shape[1])
        ms, mask = pair.read_ms(*everything)
        pan, pan_mask = pair.read_pan(*everything)
        for raster, data in ((pair.ms, mask), (pair.pan, pan_mask)):
            if not data.any():
                raise DataError(
                    f"{raster.name} holds no data where both images lie: expected digital numbers "
                    "there, found 0, the no-data value, or what a mask leaves out"
                )
        return Scene(
            ms=ms,
            pan=pan,
            sensor=sensor,
            mask=mask & ~coarse_mask(~pan_mask, sensor.ratio),
            transform=pair.transform,
            crs=pair.crs.to_string() if pair.crs else None,
            attribution=attribution,
            name=name or Path(ms_path).stem,
        )
