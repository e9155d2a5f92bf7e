"""Small raster files."""

import warnings
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

CRS = "EPSG:32613"
CORNER = (487000.0, 4443000.0)


def write_tif(
    path: Path, image: np.ndarray, pixel: float, *, names=(), shift=(0.0, 0.0), **profile
) -> Path:
    """A GeoTIFF of an image (C, H, W); its corner lies ``shift`` metres east and north of `CORNER`.

    Further arguments are rasterio's, ``transform`` and ``crs`` among them.
    """
    east, north = CORNER[0] + shift[0], CORNER[1] + shift[1]
    profile = {
        "driver": "GTiff",
        "count": image.shape[0],
        "height": image.shape[1],
        "width": image.shape[2],
        "dtype": image.dtype,
        "crs": CRS,
        "transform": Affine(pixel, 0, east, 0, -pixel, north),
    } | profile
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile) as file:
            file.write(image)
            for band, name in enumerate(names, 1):
                file.set_band_description(band, name)
    return path
