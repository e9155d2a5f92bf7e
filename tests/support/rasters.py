"""Small raster files."""

import warnings
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning
from rasterio.rpc import RPC

CRS = "EPSG:32613"
CORNER = (487000.0, 4443000.0)
RPCS = RPC(
    height_off=1500.0, height_scale=500.0, lat_off=40.1, lat_scale=0.1, long_off=-105.1,
    long_scale=0.1, line_off=24.5, line_scale=24.0, samp_off=32.25, samp_scale=32.0,
    line_num_coeff=[float(i) for i in range(20)], line_den_coeff=[1.0, *[0.0] * 19],
    samp_num_coeff=[0.5 * i for i in range(20)], samp_den_coeff=[1.0, *[0.0] * 19],
    err_bias=2.0, err_rand=0.5,
)  # fmt: skip


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


def write_pair(folder: Path, ms: np.ndarray, pan: np.ndarray, **of_ms) -> tuple[Path, Path]:
    """MS (C, h, w) of 1.2 m and PAN (H, W) of 0.3 m of one ground; ``of_ms`` as for `write_tif`."""
    folder.mkdir(parents=True, exist_ok=True)
    pair = write_tif(folder / "ms.tif", ms, 1.2, **of_ms)
    return pair, write_tif(folder / "pan.tif", pan[None], 0.3)


def hide(path: Path, where: tuple[slice, ...] | slice) -> np.ndarray:
    """Give a file a mask, which it returns: True where it has data still."""
    with rasterio.open(path, "r+") as file:
        seen = np.ones(file.shape, bool)
        seen[where] = False
        file.write_mask(seen)
    return seen
