"""The one reader of rasters: what GDAL knows of a pair of files is asked for, and judged, here."""

import contextlib
import copy
import warnings
from pathlib import Path
from typing import Any, Self

import numpy as np
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetWriter
from rasterio.rpc import RPC
from rasterio.windows import Window as RasterWindow

from dcfnet.errors import DataError
from dcfnet.imagery.ground import Grid, common_ground
from dcfnet.imagery.moved import read_moved
from dcfnet.imagery.regions import Window
from dcfnet.imagery.sensors import Sensor
from dcfnet.paths import is_file

WHOLE = 1e-3
"""By how much a floating-point value may differ from a whole digital number."""

# Masks that follow from the values and the alpha band, which are read anyway.
_KNOWN_MASKS = ({MaskFlags.all_valid}, {MaskFlags.nodata}, {MaskFlags.per_dataset, MaskFlags.alpha})
_TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
          "float32", "float64")  # fmt: skip


def raster_name(path: str | Path) -> str:
    """A path as GDAL takes it; a `DataError` where it is no UTF-8 text."""
    name = str(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{name!a} is no UTF-8 text, as GDAL expects of a path: rename the file or folder"
        ) from None
    return name


def open_raster(path: str | Path, mode: str = "r", **profile: Any) -> DatasetWriter:
    """As `rasterio.open`, without a warning where a raster is not georeferenced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, mode, **profile)


def count_bands(path: str | Path) -> int:
    """How many bands of a raster are image, not alpha."""
    with _opened(path) as file:
        return sum(color != ColorInterp.alpha for color in file.colorinterp) or file.count


def _opened(path: str | Path) -> DatasetWriter:
    name = raster_name(path)
    # To open a pipe would wait for ever.
    if not is_file(Path(path)) and not (":" in name or name.startswith("/vsi")):
        raise DataError(f"cannot read {name}: expected a GeoTIFF, found no file")
    try:
        return open_raster(name)
    except (RasterioError, OSError, ValueError) as error:
        raise DataError(f"cannot read {name} ({error}): expected a GeoTIFF") from error


class Raster:
    """An image of digital numbers that GDAL can read: a GeoTIFF, a VRT, a .TIL, one in a zip file.

    Attributes:
        name: The path as it was given.
        bands: Numbers of the bands that are the image, without an alpha band, counted from 1.
        dtype: The type that holds the values of all bands.
        files: Every file that the image is read from: sidecars, and what a VRT refers to.
    """

    def __init__(self, path: str | Path, bands: int, sensor: Sensor, *, whole: bool = True) -> None:
        """Open a file, or what GDAL reads besides, and see whether it can be what it should.

        Images that were taken must hold whole digital numbers within the sensor's range. Where
        ``whole`` is false, for fused ones, they may be others.

        Raises:
            DataError: It cannot be read, or has other bands or values of another kind.
        """
        self.name, self.sensor, self._whole = raster_name(path), sensor, whole
        self.file = _opened(path)
        try:
            self.shape: tuple[int, int] = self.file.shape
            self.bands, self._alpha = self._image_bands(bands)
            self.dtype = self._common_type()
            self.files: list[str] = self.file.files
            self.nodata = [self.file.nodatavals[band - 1] for band in self.bands]
            self._masked = any(
                set(self.file.mask_flag_enums[band - 1]) not in _KNOWN_MASKS for band in self.bands
            )
        except BaseException:
            self.file.close()
            raise

    def _image_bands(self, expected: int) -> tuple[list[int], int | None]:
        """Numbers of the image's bands and of the alpha band."""
        count, colors = self.file.count, self.file.colorinterp
        if count == expected:  # GDAL takes the fourth band of 8 bits for alpha; here it is image
            return [*range(1, count + 1)], None
        alpha = [band for band, color in enumerate(colors, 1) if color == ColorInterp.alpha]
        kind = "a PAN image" if expected == 1 else f"an MS image of {self.sensor.title}"
        if count != expected + 1:
            raise DataError(
                f"{self.name} has {count} bands, expected {expected} for {kind}; check the order "
                "of the two files and the sensor"
            )
        if alpha != [count]:
            found = f"band {alpha[0]} is marked as alpha" if alpha else "none is marked as alpha"
            undo = "".join(f" -colorinterp_{band} undefined" for band in alpha)
            raise DataError(
                f"{self.name} has {count} bands, expected {expected} for {kind}, or one more that "
                f"is alpha, the last; here {found}. If the last one is, say so with "
                f"`gdal_translate{undo} -colorinterp_{count} alpha`, else check the order of the "
                "two files and the sensor"
            )
        return [*range(1, count)], count

    def _common_type(self) -> np.dtype:
        kinds = {self.file.dtypes[band - 1] for band in self.bands}
        if odd := kinds - {*_TYPES}:  # GDAL has types that numpy lacks
            raise DataError(
                f"{self.name} holds {min(odd)} values, expected whole digital numbers "
                f"(uint16, up to {self.sensor.max_value})"
            )
        return np.result_type(*kinds)

    @property
    def grid(self) -> Grid:
        """Where the pixels lie."""
        return Grid(self.name, self.shape, self.file.transform, self.file.crs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def read(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        """A window of the image.

        No data is where a mask or an alpha band of the file says so, where any band holds its
        no-data value or NaN, and where all bands are 0.

        Returns:
            (C, h, w) unsigned whole numbers, unless others are allowed, 0 where there is no data;
            and (h, w) bool, True where there is.

        Raises:
            DataError: The file is damaged or too large for the memory, or holds values that are no
                digital numbers of the sensor.
        """
        window = RasterWindow.from_slices(rows, cols)
        try:
            image = self.file.read(self.bands, window=window, out_dtype=self.dtype)
            valid = np.ones(image.shape[1:], bool)
            if self._masked:
                valid &= self.file.read_masks(self.bands, window=window).all(axis=0)
            if self._alpha:
                valid &= self.file.read(self._alpha, window=window) != 0
        except (RasterioError, OSError, ValueError, MemoryError) as error:
            raise DataError(
                f"cannot read {self.name}, rows {rows.start} to {rows.stop} "
                f"({error.__cause__ or error}): expected a complete GeoTIFF that fits into "
                "memory; copy it again"
            ) from error
        for values, nodata in zip(image, self.nodata, strict=True):
            if nodata is not None:
                with np.errstate(over="ignore"):  # no value of a narrow type is so large
                    valid &= values != nodata
        if image.dtype.kind == "f":
            valid &= ~np.isnan(image).any(axis=0)
        image[:, ~valid] = 0
        if self._whole:
            image = self._digital_numbers(image, rows.start, cols.start)
        return image, (image != 0).any(axis=0)

    def _digital_numbers(self, image: np.ndarray, top: int, left: int) -> np.ndarray:
        """Values as whole numbers, if they are the sensor's."""

        def found(index: np.intp) -> str:
            band, y, x = (int(i) for i in np.unravel_index(index, image.shape))
            at = f"band {self.bands[band]}, row {top + y}, column {left + x}"
            return f"{image[band, y, x]:.6g} in {at}"

        largest = self.sensor.max_value
        wanted = f"0 to {largest} ({self.sensor.bits} bits)"
        if image.dtype.kind == "f":
            with np.errstate(invalid="ignore"):
                broken = ~(np.abs(image - np.rint(image)) <= WHOLE)  # infinity is none either
            if broken.any():
                raise DataError(
                    f"{self.name} holds {self.dtype} values, expected whole digital numbers, "
                    f"{wanted}, found {found(broken.argmax())}; reflectances must be scaled back "
                    "first"
                )
            image = np.rint(image)
        if image.min() < 0 or image.max() > largest:
            worst = image.argmin() if image.min() < 0 else image.argmax()
            raise DataError(
                f"{self.name} holds {found(worst)}, expected {wanted}: check the sensor; for "
                "another bit depth use dataclasses.replace(sensor, bits=...); products scaled to "
                "16 bits or to reflectance must be scaled back first"
            )
        return image.astype(np.promote_types(np.uint16, np.min_scalar_type(largest)))


class Pair:
    """MS and PAN files of one scene, cropped to the ground that both show; a source of tiles.

    Attributes:
        shape: Rows and columns of MS on common ground.
        off: How far MS was off PAN's grid before it was resampled, down and right in PAN pixels.
        transform: From PAN pixels of common ground to map coordinates.
    """

    def __init__(
        self, ms_path: str | Path, pan_path: str | Path, sensor: Sensor, *, resample: bool = False
    ) -> None:
        """Open both files, or what GDAL reads besides.

        With ``resample`` MS is resampled as it is read, where the grids are offset by a fraction
        of a PAN pixel.

        Raises:
            DataError: One cannot be read, or they do not fit each other or the sensor.
        """
        self.sensor = sensor
        with contextlib.ExitStack() as opened:
            self.ms = opened.enter_context(Raster(ms_path, sensor.n_bands, sensor))
            self.pan = opened.enter_context(Raster(pan_path, 1, sensor))
            self.crs: CRS | None = self.pan.file.crs
            rows, cols, self._top, self._left, self.off = common_ground(
                self.ms.grid, self.pan.grid, sensor.ratio, resample=resample
            )
            self._first = (rows.start, cols.start)
            self.shape = (rows.stop - rows.start, cols.stop - cols.start)
            self.transform = self.pan.file.transform @ Affine.translation(self._left, self._top)
            self._close = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._close.close()

    def read_ms(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        """MS and its mask of a window of MS pixels on common ground."""
        if any(self.off):
            steps = np.tile(np.divide(self.off, self.sensor.ratio), (self.sensor.n_bands, 1))
            return read_moved(self._read_ms, Window(rows, cols), self.shape, steps)
        return self._read_ms(rows, cols)

    def _read_ms(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        return self.ms.read(*Window(rows, cols).moved(*self._first))

    def read_pan(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        """PAN (H, W) and its mask of the same window of MS pixels."""
        window = Window(rows, cols).times(self.sensor.ratio).moved(self._top, self._left)
        image, mask = self.pan.read(*window)
        return image[0], mask

    @property
    def rpcs(self) -> RPC | None:
        """PAN's rational polynomial coefficients, for the pixels of common ground."""
        try:
            rpcs = self.pan.file.rpcs
        except (KeyError, ValueError) as error:
            raise DataError(
                f"the RPCs of {self.pan.name} cannot be understood ({error}): expected GDAL's; "
                "take them off with `gdal_edit.py -unsetrpc`, or the file beside it away"
            ) from error
        if rpcs is None:
            return None
        moved = copy.copy(rpcs)
        moved.line_off -= self._top
        moved.samp_off -= self._left
        return moved

    @property
    def gcps(self) -> tuple[list[GroundControlPoint], CRS | None]:
        """PAN's ground control points, for the pixels of common ground, and their system."""
        points, crs = self.pan.file.gcps
        moved = [
            GroundControlPoint(p.row - self._top, p.col - self._left, p.x, p.y, p.z, p.id, p.info)
            for p in points
        ]
        return moved, crs
