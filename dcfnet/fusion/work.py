"""A result in the making: a raw raster that outlives whatever ends the work, then a GeoTIFF."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from glob import escape as escape_glob
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np
import rasterio.shutil
from rasterio.io import DatasetWriter, MemoryFile
from rasterio.windows import Window

from dcfnet.errors import DataError, unknown
from dcfnet.fusion.tiles import Tile
from dcfnet.imagery.geotiff import Pair, open_raster
from dcfnet.paths import beside, written_whole

__all__ = ["WorkRaster", "sidecars"]

_TYPES = ("uint8", "uint16", "int16", "uint32", "int32")

# What MS says of its file and not of its image: of the result something else is true.
_OF_A_FILE = {
    "AREA_OR_POINT", "METADATATYPE", "NODATA_VALUES", "TIFFTAG_DATETIME", "TIFFTAG_SOFTWARE",
    "TIFFTAG_XRESOLUTION", "TIFFTAG_YRESOLUTION", "TIFFTAG_RESOLUTIONUNIT",
}  # fmt: skip


def sidecars(path: Path) -> list[Path]:
    """Files beside a GeoTIFF that GDAL would read with it."""
    return [path.with_name(path.name + end) for end in (".aux.xml", ".msk", ".ovr", ".msk.ovr")]


class WorkRaster:
    """Rows of tiles in a raw raster beside the result, and a journal of those that are safe."""

    def __init__(
        self,
        out: Path,
        source: Pair,
        fingerprint: str,
        software: str,
        rows: list[Tile],
        strip: str = "",
    ) -> None:
        """Plan the files; none is made yet.

        Args:
            out: The result.
            source: What is fused.
            fingerprint: Stands for everything that decides the values.
            software: What fuses, for the file to say.
            rows: The rows of tiles, all or those of a strip.
            strip: A name for that strip.

        Raises:
            DataError: The values of MS have a type that a result cannot have, or the RPCs of PAN
                make no sense.
        """
        self.out, self.source, self.fingerprint = out, source, fingerprint
        self.software = software
        self.raster, self.journal = beside(out, f"work{strip}"), beside(out, f"journal{strip}")
        self.dtype, self.nodata = _type_and_nodata(source)
        self.rpcs, self.gcps = source.rpcs, source.gcps
        r, self.rows = source.sensor.ratio, rows
        self.top, bottom = r * rows[0].keep_start, r * rows[-1].keep_stop
        self.shape = (source.sensor.n_bands, bottom - self.top, r * source.shape[1])

    def begin(self) -> int:
        """Find or make the raw raster.

        Returns:
            How many rows of tiles an interrupted call with the same fingerprint has left in it.

        Raises:
            OSError: There is too little room on the disk.
        """
        if done := self.done():
            return done
        self.remove()
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
            return 0

    def _size(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def done(self) -> int:
        """How many rows of tiles are safe."""
        try:
            entry = json.loads(self.journal.read_text())
            done = int(entry["rows"])
            with open_raster(self.raster) as file:
                whole = (file.count, *file.shape) == self.shape and file.dtypes[0] == self.dtype
            whole = whole and self.raster.stat().st_size == self._size()
            if whole and entry["settings"] == self.fingerprint and 0 < done <= len(self.rows):
                return done
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            pass
        return 0

    @contextlib.contextmanager
    def row(self, number: int) -> Iterator[Callable[[np.ndarray, np.ndarray, Tile], None]]:
        """Write a row of tiles: when the block ends it is safe on the disk, and in the journal.

        Args:
            number: Which row of tiles, counted from 1.

        Yields:
            A function that takes a tile: fused (C, h, w), mask (h, w), its place in the row.

        Raises:
            DataError: The network gave no numbers.
            OSError: The disk did not take everything.
        """
        (bands, _, width), r = self.shape, self.source.sensor.ratio
        row = self.rows[number - 1]
        # Whole lines: of parts of them GDAL would read the rest first.
        lines = np.empty((bands, r * (row.keep_stop - row.keep_start), width), self.dtype)

        def put(image: np.ndarray, mask: np.ndarray, col: Tile) -> None:
            lines[:, :, r * col.keep_start : r * col.keep_stop] = self._digital_numbers(image, mask)

        yield put
        window = Window(0, r * row.keep_start - self.top, width, lines.shape[1])
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

    def finish(self, strips: Sequence[WorkRaster]) -> None:
        """Turn the raw rasters of strips that make up the whole into the result.

        Raises:
            OSError: The result cannot be written.
        """
        vrt, shape = _mosaic(strips)
        with written_whole(self.out) as temporary, MemoryFile(ext=".vrt") as described:
            try:
                rasterio.shutil.copy(vrt, described.name, driver="VRT")
                with open_raster(described.name, "r+") as file:
                    self._describe(file)
                rasterio.shutil.copy(
                    described.name, temporary, driver="COG", COMPRESS="DEFLATE", PREDICTOR="2",
                    BLOCKSIZE="512", OVERVIEW_RESAMPLING="AVERAGE", BIGTIFF="IF_SAFER",
                )  # fmt: skip
                with open_raster(temporary) as written:
                    whole = (written.count, *written.shape) == shape
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
        """Delete what was needed to make the result."""
        header = self.raster.with_name(f"{self.raster.name}.hdr")
        for path in (self.raster, header, self.journal):
            path.unlink(missing_ok=True)


def _mosaic(strips: Sequence[WorkRaster]) -> tuple[str, tuple[int, int, int]]:
    """A VRT of the strips' rasters, one below the other, and its shape."""
    (bands, _, width), name = strips[0].shape, strips[0].dtype.name
    kind = {"uint8": "Byte"}.get(name, name)
    height = sum(strip.shape[1] for strip in strips)
    vrt = Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    for band in range(1, bands + 1):
        part = SubElement(vrt, "VRTRasterBand", dataType=kind, band=str(band))
        for strip in strips:
            source = SubElement(part, "SimpleSource")
            SubElement(source, "SourceFilename").text = str(strip.raster.absolute())
            SubElement(source, "SourceBand").text = str(band)
            place = {"xOff": "0", "xSize": str(width), "ySize": str(strip.shape[1])}
            SubElement(source, "SrcRect", place, yOff="0")
            SubElement(source, "DstRect", place, yOff=str(strip.top))
    return tostring(vrt, "unicode"), (bands, height, width)


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
