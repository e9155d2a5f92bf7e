"""A result in the making: a raw raster that outlives whatever ends the work, then a GeoTIFF."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from glob import escape as escape_glob
from pathlib import Path

import numpy as np
import rasterio.shutil
import torch
from filelock import FileLock
from rasterio.io import DatasetWriter, MemoryFile
from rasterio.windows import Window

from dcfnet.errors import DataError, unknown
from dcfnet.fusion.tiles import Tile
from dcfnet.imagery.geotiff import Pair, open_raster
from dcfnet.paths import beside, written_whole

_TYPES = ("uint8", "uint16", "int16", "uint32", "int32")
_BLOCK = 512  # side of the result's blocks in pixels

CACHE = 64 * 2**20
"""Bytes of blocks that GDAL keeps, at least; by default 5 % of the memory. That is the input of a
row of tiles, up to 80,000 columns, where the files have strips. While tiles are fused more gains
nothing, as whole lines are written."""

# What MS says of its file and not of its image: of the result something else is true.
_OF_A_FILE = {
    "AREA_OR_POINT", "METADATATYPE", "NODATA_VALUES", "TIFFTAG_DATETIME", "TIFFTAG_SOFTWARE",
    "TIFFTAG_XRESOLUTION", "TIFFTAG_YRESOLUTION", "TIFFTAG_RESOLUTIONUNIT",
}  # fmt: skip


def sidecars(path: Path) -> list[Path]:
    """Files beside a GeoTIFF that GDAL would read with it."""
    return [path.with_name(path.name + end) for end in (".aux.xml", ".msk", ".ovr", ".msk.ovr")]


class WorkRaster:
    """Rows of tiles in a raw raster beside the result, and a journal of those that are safe.

    Strips of a scene share the raster, and each has a journal of its own.
    """

    def __init__(
        self, out: Path, source: Pair, fingerprint: str, software: str, rows: list[Tile], strip: str
    ) -> None:
        """Plan the files; none is made yet.

        The fingerprint stands for everything that decides the values; the rows are all rows of
        tiles, or those of the strip of that name.

        Raises:
            DataError: The values of MS have a type that a result cannot have, or the RPCs of PAN
                make no sense.
        """
        self.out, self.source, self.fingerprint = out, source, fingerprint
        self.software = software
        self.raster, self.journal = beside(out, "work"), beside(out, f"journal{strip}")
        self.dtype, self.nodata = _type_and_nodata(source)
        self.rpcs, self.gcps = source.rpcs, source.gcps
        self.rows, self.strip = rows, strip
        height, width = (source.sensor.ratio * size for size in source.shape)
        self.shape = (source.sensor.n_bands, height, width)

    def begin(self) -> int:
        """Find or make the raw raster.

        Returns:
            How many rows of tiles an interrupted call with the same fingerprint has left in it.
        """
        if done := self.done():
            return done
        self.journal.unlink(missing_ok=True)  # of other settings, whose rows are overwritten now
        lock = FileLock(beside(self.out, "work.lock"))
        with lock:
            if not self._whole():
                self._make()
            Path(lock.lock_file).unlink(missing_ok=True)
        return 0

    def _make(self) -> None:
        self.clear()
        size, free = self._size(), shutil.disk_usage(self.out.parent).free
        if free < 1.7 * size:
            raise OSError(
                f"{self.out.parent} has {free / 2**30:.3g} GiB free, fusing needs about "
                f"{1.7 * size / 2**30:.3g} GiB there: a work file and the result"
            )
        bands, height, width = self.shape
        with open_raster(
            self.raster, "w", driver="ENVI", count=bands, height=height, width=width,
            dtype=self.dtype, SUFFIX="ADD",
        ):  # fmt: skip
            pass

    def _size(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def _whole(self) -> bool:
        """Whether the raw raster is there, as large as it should be."""
        try:
            with open_raster(self.raster) as file:
                fits = (file.count, *file.shape) == self.shape and file.dtypes[0] == self.dtype
            return fits and self.raster.stat().st_size == self._size()
        except (OSError, ValueError):
            return False

    def done(self) -> int:
        """How many rows of tiles are safe."""
        try:
            entry = json.loads(self.journal.read_text())
            done = int(entry["rows"])
            fits = entry["settings"] == self.fingerprint and 0 < done <= len(self.rows)
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return 0
        return done if fits and self._whole() else 0

    @contextlib.contextmanager
    def row(self, number: int) -> Iterator[Callable[[np.ndarray, np.ndarray, Tile], None]]:
        """Write a row of tiles, counted from 1.

        When the block ends it is safe on the disk, and in the journal.

        Yields:
            A function that takes a tile: fused (C, h, w), mask (h, w), its place in the row.
        """
        (bands, _, width), r = self.shape, self.source.sensor.ratio
        row = self.rows[number - 1]
        # Whole lines: of parts of them GDAL would read the rest first.
        lines = np.empty((bands, r * (row.keep_stop - row.keep_start), width), self.dtype)

        def put(image: np.ndarray, mask: np.ndarray, col: Tile) -> None:
            lines[:, :, r * col.keep_start : r * col.keep_stop] = self._digital_numbers(image, mask)

        yield put
        window = Window(0, r * row.keep_start, width, lines.shape[1])
        with open_raster(self.raster, "r+") as file:
            file.write(lines, window=window)
        # GDAL writes when it closes the file, and then says nothing of what the disk refused.
        with open_raster(self.raster) as file:
            for band, expected in enumerate(lines, 1):
                if not np.array_equal(file.read(band, window=window), expected):
                    raise OSError(f"cannot write {self.raster}: is the disk full?")
        with self.raster.open("rb+") as raw:
            os.fsync(raw.fileno())
        with written_whole(self.journal) as temporary:
            temporary.write_text(json.dumps({"settings": self.fingerprint, "rows": number}))

    def _digital_numbers(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Rounded and clipped as a file holds them."""
        if not np.isfinite(image).all():
            raise DataError(
                "the network gives NaN or infinity: expected trained weights; where they are, pass "
                "precision='fp32'"
            )
        largest, nodata = self.source.sensor.max_value, self.nodata
        values = np.clip(np.rint(image), 1, largest)
        if 1 <= nodata <= largest:
            values[values == nodata] = nodata - 1 if nodata > 1 else 2
        return np.where(mask, values, nodata).astype(self.dtype)

    def finish(self) -> None:
        """Turn the raw raster into the result."""
        # With less than a row of blocks GDAL would read and compress everything many times.
        row = _BLOCK * self.shape[0] * self.shape[2] * self.dtype.itemsize
        with (
            rasterio.Env(GDAL_CACHEMAX=max(CACHE, row * 11 // 10)),
            written_whole(self.out) as temporary,
            MemoryFile(ext=".vrt") as described,
        ):
            try:
                rasterio.shutil.copy(self.raster, described.name, driver="VRT")
                with open_raster(described.name, "r+") as file:
                    self._describe(file)
                # Level 1 is a third faster, and the file three per cent larger. Threads as torch
                # has them, for which processes that share a machine have an own number each.
                rasterio.shutil.copy(
                    described.name, temporary, driver="COG", COMPRESS="DEFLATE", PREDICTOR="2",
                    LEVEL="1", BLOCKSIZE=str(_BLOCK), OVERVIEW_RESAMPLING="AVERAGE",
                    BIGTIFF="IF_SAFER", NUM_THREADS=str(torch.get_num_threads()),
                )  # fmt: skip
                with open_raster(temporary) as written:
                    whole = (written.count, *written.shape) == self.shape
            except Exception as error:  # rasterio lets some of GDAL's own through
                raise OSError(f"cannot write {self.out} ({error}): is the disk full?") from error
            finally:
                for rest in temporary.parent.glob(f"{escape_glob(temporary.name)}.*"):
                    rest.unlink(missing_ok=True)
            if not whole:
                raise OSError(f"cannot write {self.out}: it came out incomplete")
            for old in sidecars(self.out):  # of a result that is replaced
                old.unlink(missing_ok=True)

    def _describe(self, file: DatasetWriter) -> None:
        """Say of the result what PAN says of its grid and MS of its bands."""
        source, ms, pan = self.source, self.source.ms.file, self.source.pan.file
        file.nodata = self.nodata
        if source.crs:
            file.crs = source.crs
        if not pan.transform.is_identity:
            file.transform = source.transform
        elif self.gcps[0]:
            file.gcps = self.gcps
        if self.rpcs:
            file.rpcs = self.rpcs
        area = pan.tags().get("AREA_OR_POINT", "Area")
        file.update_tags(AREA_OR_POINT=area, TIFFTAG_SOFTWARE=self.software)
        file.update_tags(**{k: v for k, v in ms.tags().items() if k not in _OF_A_FILE})
        file.update_tags(**ms.tags(ns="IMAGERY"))  # acquisition, satellite, clouds
        for band, (theirs, name) in enumerate(
            zip(source.ms.bands, source.sensor.band_names, strict=True), 1
        ):
            file.set_band_description(band, ms.descriptions[theirs - 1] or name)
            tags = {k: v for k, v in ms.tags(theirs).items() if not k.startswith("STATISTICS_")}
            file.update_tags(band, **tags)
        for what in ("scales", "offsets", "units"):
            values = tuple(getattr(ms, what)[band - 1] for band in source.ms.bands)
            if values != getattr(file, what):
                setattr(file, what, values)

    def remove(self) -> None:
        """Delete what is worth nothing: with the raster, unless other strips have rows in it."""
        if self.strip:
            self.journal.unlink(missing_ok=True)
        else:
            self.clear()

    def clear(self) -> None:
        """Delete the raster and the journals of all strips."""
        header = self.raster.with_name(f"{self.raster.name}.hdr")
        journals = beside(Path(escape_glob(self.out.name)), "journal*").name
        for path in (self.raster, header, *self.out.parent.glob(journals)):
            path.unlink(missing_ok=True)


def _type_and_nodata(source: Pair) -> tuple[np.dtype, int]:
    """Those of MS, where they suit whole numbers."""
    dtype, nodata, sensor = source.ms.dtype, source.ms.nodata[0], source.sensor
    if dtype.kind == "f":
        dtype = np.promote_types(np.uint16, np.min_scalar_type(sensor.max_value))
    if dtype.name not in _TYPES:
        what = f"kind of values in {source.ms.name}"
        raise DataError(
            f"{unknown(what, dtype.name, _TYPES)}; convert it with `gdal_translate -ot UInt16`"
        )
    limits = np.iinfo(dtype)
    if limits.max < sensor.max_value:
        raise DataError(
            f"{source.ms.name} holds {dtype} values, too short for {sensor.bits} bits: check the "
            "sensor"
        )
    if nodata is None or not limits.min <= nodata <= limits.max or nodata != int(nodata):
        return dtype, 0
    return dtype, int(nodata)
