"""Files in, a file out: two GeoTIFFs become a third, and work that was interrupted goes on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from glob import escape as escape_glob
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import rasterio
import rasterio.shutil
import torch
from affine import Affine
from filelock import FileLock, Timeout
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterWindow
from tqdm import tqdm

from dcfnet.errors import DataError
from dcfnet.fusion.tiled import Workers, plan_tiles
from dcfnet.fusion.tiles import OVERLAP, TILE, Tile
from dcfnet.imagery.scene import common_ground
from dcfnet.imagery.sensors import Sensor
from dcfnet.networks import PansharpeningNetwork
from dcfnet.paths import is_file, written_whole

__all__ = ["fuse_files"]


class _Files:
    """Two GeoTIFFs, read window by window, cropped to the ground that both show."""

    def __init__(self, ms_path: Path, pan_path: Path, sensor: Sensor) -> None:
        self.paths = (ms_path, pan_path)
        self.sensor = sensor
        with contextlib.ExitStack() as opened:
            self.ms = _opened(opened, ms_path, sensor.n_bands, f"an MS image of {sensor.title}")
            self.pan = _opened(opened, pan_path, 1, "a PAN image")
            if self.ms.crs != self.pan.crs:
                crs = [str(file.crs) if file.crs else "none" for file in (self.ms, self.pan)]
                raise DataError(
                    f"{ms_path.name} has the coordinate system {crs[0]}, {pan_path.name} has "
                    f"{crs[1]}: expected the same; set a missing one with "
                    "`gdal_edit -a_srs`, or reproject one with `gdalwarp -t_srs`"
                )
            rows, cols, self.top, self.left = common_ground(
                self.ms.shape,
                self.ms.transform,
                self.pan.shape,
                self.pan.transform,
                sensor.ratio,
                ms_path.name,
                pan_path.name,
            )
            self.first = (rows.start, cols.start)
            self.shape = (rows.stop - rows.start, cols.stop - cols.start)
            self.transform = self.pan.transform @ Affine.translation(self.left, self.top)
            self._close = opened.pop_all()

    def close(self) -> None:
        self._close.close()

    def read_ms(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        y, x = self.first
        image = self._window(self.ms, y + rows.start, x + cols.start, rows, cols, 1)
        return self._checked(image, self.ms.nodata, self.paths[0])

    def read_pan(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        r = self.sensor.ratio
        y, x = self.top + r * rows.start, self.left + r * cols.start
        image = self._window(self.pan, y, x, rows, cols, r)
        image, mask = self._checked(image, self.pan.nodata, self.paths[1])
        return image[0], mask

    @staticmethod
    def _window(
        file: rasterio.DatasetReader, y: int, x: int, rows: slice, cols: slice, scale: int
    ) -> np.ndarray:
        h, w = scale * (rows.stop - rows.start), scale * (cols.stop - cols.start)
        try:
            return file.read(window=RasterWindow(x, y, w, h))
        except RasterioError as error:
            raise DataError(
                f"cannot read rows {y} to {y + h} of {file.name} ({error}): expected a complete "
                "GeoTIFF; copy it again"
            ) from error

    def _checked(
        self, image: np.ndarray, nodata: float | None, path: Path
    ) -> tuple[np.ndarray, np.ndarray]:
        mask = (image != 0).any(axis=0)
        if nodata is not None and nodata != 0:
            mask &= (image != nodata).any(axis=0)
            image = np.where(mask, image, 0)
        if image.min() < 0 or image.max() > self.sensor.max_value:
            raise DataError(
                f"{path.name} holds values from {image.min()} to {image.max()}, expected 0 to "
                f"{self.sensor.max_value} ({self.sensor.bits} bits): check the sensor; products "
                "scaled to 16 bits or to reflectance must be scaled back first"
            )
        return image, mask


def _opened(
    stack: contextlib.ExitStack, path: Path, bands: int, kind: str
) -> rasterio.DatasetReader:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            file = stack.enter_context(rasterio.open(path))
    except (RasterioError, OSError) as error:
        raise DataError(f"cannot read {path} ({error}): expected a GeoTIFF") from error
    if file.count != bands:
        raise DataError(
            f"{path.name} has {file.count} bands, expected {bands} for {kind}; check the order of "
            "the two files and the sensor"
        )
    if not file.dtypes[0].startswith(("int", "uint")):  # GDAL has types that numpy lacks
        raise DataError(
            f"{path.name} holds {file.dtypes[0]} values, expected whole digital numbers; "
            "reflectances must be scaled back first"
        )
    return file


def fuse_files(
    model: PansharpeningNetwork,
    ms_path: str | Path,
    pan_path: str | Path,
    out_path: str | Path,
    sensor: Sensor,
    *,
    tile: int = TILE,
    overlap: int = OVERLAP,
    device: str | Sequence[str] | None = None,
    precision: str = "fp32",
    overwrite: bool = False,
    progress: bool = False,
    on_row: Callable[[int, int], None] | None = None,
) -> Path:
    """Fuse two GeoTIFFs into a third, of any size in the same memory.

    The result is a cloud-optimised GeoTIFF on PAN's grid, over the ground that MS and PAN share,
    with MS's data type, band names and no-data value (0 if it has none). Values are rounded and
    clipped to 1 ... the sensor's largest, so that no pixel with data reads as no data.

    Finished rows of tiles are kept in a hidden file beside the result. After whatever interrupts
    the work, the same call goes on after the last of them, and the result is the same. A call with
    other settings, weights or inputs starts anew.

    Args:
        model: Any network of this package.
        ms_path: MS with the sensor's bands in its order, whole digital numbers.
        pan_path: PAN, one band, on a grid aligned with that of MS.
        out_path: The GeoTIFF to write. It appears when it is complete.
        sensor: The imager.
        tile: Side of a tile in PAN pixels, a multiple of the sensor's ratio.
        overlap: PAN pixels discarded along every side of a tile that has a neighbour, likewise.
        device: ``"cpu"``, ``"cuda:0"``, or several, which share the tiles. By default where the
            network is, and if that is the CPU, all GPUs that there are.
        precision: ``"fp32"``, or ``"bf16"`` for automatic mixed precision.
        overwrite: Replace the result if it is there.
        progress: Show a bar.
        on_row: Called after each row of tiles that is safe on disk, with its number and how many
            there are.

    Returns:
        ``out_path``.

    Raises:
        DataError: The inputs do not fit each other, the network or the sensor, or the result is
            there already.
        OSError: The result cannot be written, for want of space for example.
        ValueError: Tile and overlap do not fit each other, or there is no such device.
    """
    ms_path, pan_path, out_path = Path(ms_path), Path(pan_path), Path(out_path)
    for path in (ms_path, pan_path):
        if not is_file(path):
            raise DataError(f"cannot read {path}: expected a GeoTIFF, found no file")
    if out_path.exists() and any(out_path.samefile(path) for path in (ms_path, pan_path)):
        raise DataError(f"{out_path} is an input: name another file for the result")
    if out_path.exists() and not out_path.is_file():
        raise DataError(f"{out_path} is a folder or a device: name a file for the result")
    if out_path.exists() and not overwrite:
        raise DataError(f"{out_path} exists already: name another file, or ask to overwrite it")
    if model.bands != sensor.n_bands:
        raise DataError(
            f"the network is for {model.bands} bands, {sensor.title} has {sensor.n_bands}: pass "
            "one that was made for the sensor"
        )
    with (
        # MiB. By default blocks that were read fill 5 % of the memory; less than a row of blocks of
        # the result, 164 MiB for 20,000 columns, and GDAL reads everything many times.
        rasterio.Env(GDAL_CACHEMAX=512),
        contextlib.closing(_Files(ms_path, pan_path, sensor)) as source,
    ):
        plan = plan_tiles(source, tile, overlap)
        workers = Workers(model, sensor, device, precision)
        out_path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(_beside(out_path, "lock"), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise DataError(
                f"another process is making {out_path}: wait for it or end it"
            ) from None
        try:
            for unfinished in out_path.parent.glob(f".{escape_glob(out_path.name)}.*.part*"):
                unfinished.unlink(missing_ok=True)  # left by a process that was killed
            settings = {
                "inputs": [_identity(path) for path in (ms_path, pan_path)],
                "sensor": asdict(sensor),
                "weights": _weights_hash(model),
                "tile": [tile, overlap],
                "how": [workers.kinds, precision, torch.__version__],
            }
            fingerprint = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
            _fuse_files(source, workers, plan, out_path, fingerprint, progress, on_row)
        finally:
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()
    return out_path


def _fuse_files(
    source: _Files,
    workers: Workers,
    plan: tuple[list[Tile], list[Tile]],
    out_path: Path,
    fingerprint: str,
    progress: bool,
    on_row: Callable[[int, int], None] | None,
) -> None:
    rows, cols = plan
    r = source.sensor.ratio
    dtype = np.dtype(source.ms.dtypes[0])
    nodata = 0 if source.ms.nodata is None else int(source.ms.nodata)
    height, width = (r * size for size in source.shape)
    if dtype.name not in _GDAL_TYPES:
        raise DataError(
            f"{source.paths[0].name} holds {dtype} values, expected one of "
            f"{', '.join(_GDAL_TYPES)}; convert it with `gdal_translate -ot UInt16`"
        )
    if np.iinfo(dtype).max < source.sensor.max_value:
        raise DataError(
            f"{source.paths[0].name} holds {dtype} values, too short for "
            f"{source.sensor.bits} bits: check the sensor"
        )
    work, journal = _beside(out_path, "work"), _beside(out_path, "journal")
    size = source.sensor.n_bands * height * width * dtype.itemsize
    done = _done(journal, work, fingerprint, size, len(rows))
    if not done:
        free = shutil.disk_usage(out_path.parent).free + (
            work.stat().st_size if work.exists() else 0
        )
        if free < 1.7 * size:
            raise OSError(
                f"{out_path.parent} has {free / 2**30:.3g} GiB free, fusing needs about "
                f"{1.7 * size / 2**30:.3g} GiB there: a work file and the result"
            )
    total = len(rows) * len(cols)
    keep = False
    try:
        with (
            work.open("r+b" if done else "w+b") as file,
            tqdm(total=total, initial=done * len(cols), unit="tile", disable=not progress) as bar,
            contextlib.closing(workers.fused(source, rows[done:], cols)) as tiles,
        ):
            file.truncate(size)
            for row, col, image, mask in tiles:
                if not np.isfinite(image).all():
                    raise DataError(
                        "the network gives NaN or infinity: expected trained weights; where they "
                        "are, pass precision='fp32'"
                    )
                values = _digital_numbers(image, mask, source.sensor, dtype, nodata)
                corner = (r * row.keep_start, r * col.keep_start)
                _put(file.fileno(), values, corner, (height, width))
                bar.update()
                if col is not cols[-1]:
                    continue
                done += 1
                os.fsync(file.fileno())
                with written_whole(journal) as temporary:
                    temporary.write_text(json.dumps({"settings": fingerprint, "rows": done}))
                if on_row:
                    on_row(done, len(rows))
        _write_cog(source, work, out_path, (height, width), dtype, nodata)
    except (KeyboardInterrupt, OSError):
        keep = True  # the same call goes on here
        raise
    finally:
        if not keep:
            work.unlink(missing_ok=True)
            journal.unlink(missing_ok=True)


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f".{path.name}.{what}")


def _identity(path: Path) -> list[str | int]:
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


def _weights_hash(model: PansharpeningNetwork) -> str:
    digest = hashlib.sha256(repr(getattr(model, "config", type(model).__name__)).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _done(journal: Path, work: Path, fingerprint: str, size: int, total: int) -> int:
    """Rows of tiles that an interrupted call with these settings left in the work file."""
    try:
        entry = json.loads(journal.read_text())
        if entry["settings"] == fingerprint and work.stat().st_size == size:
            done = int(entry["rows"])
            if 0 < done <= total:
                return done
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        pass
    journal.unlink(missing_ok=True)
    return 0


def _digital_numbers(
    image: np.ndarray, mask: np.ndarray, sensor: Sensor, dtype: np.dtype, nodata: int
) -> np.ndarray:
    """Rounded and clipped as a file holds them."""
    values = np.clip(np.rint(image), 1, sensor.max_value)
    if 1 <= nodata <= sensor.max_value:
        values[values == nodata] = nodata - 1 if nodata > 1 else 2
    return np.where(mask, values, nodata).astype(dtype)


def _put(file: int, values: np.ndarray, corner: tuple[int, int], shape: tuple[int, int]) -> None:
    """Write a tile into the raw file: bands one after the other, each row by row."""
    height, width = shape
    top, left = corner
    for band, plane in enumerate(values):
        for y, line in enumerate(plane, top):
            at = ((band * height + y) * width + left) * values.itemsize
            data = memoryview(np.ascontiguousarray(line)).cast("B")
            while data:
                written = os.pwrite(file, data, at)
                data, at = data[written:], at + written


_GDAL_TYPES = {
    "uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32", "int32": "Int32",
}  # fmt: skip


def _write_cog(
    source: _Files, work: Path, out: Path, shape: tuple[int, int], dtype: np.dtype, nodata: int
) -> None:
    """Turn the raw file into the result, through a description that GDAL reads."""
    height, width = shape
    vrt = _beside(out, "vrt")
    kind = _GDAL_TYPES[dtype.name]
    lines = [f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">']
    if source.pan.crs:
        lines.append(f"<SRS>{escape(source.pan.crs.to_wkt())}</SRS>")
    if not source.pan.transform.is_identity:
        numbers = ", ".join(repr(float(value)) for value in source.transform.to_gdal())
        lines.append(f"<GeoTransform>{numbers}</GeoTransform>")
    step = dtype.itemsize
    for band in range(source.sensor.n_bands):
        name = source.ms.descriptions[band] or source.sensor.band_names[band]
        lines.append(
            f'<VRTRasterBand dataType="{kind}" band="{band + 1}" subClass="VRTRawRasterBand">'
            f"<Description>{escape(name)}</Description><NoDataValue>{nodata}</NoDataValue>"
            f'<SourceFilename relativeToVRT="1">{escape(work.name)}</SourceFilename>'
            f"<ImageOffset>{band * height * width * step}</ImageOffset>"
            f"<PixelOffset>{step}</PixelOffset><LineOffset>{width * step}</LineOffset>"
            f"<ByteOrder>{'LSB' if np.little_endian else 'MSB'}</ByteOrder></VRTRasterBand>"
        )
    try:
        vrt.write_text("\n".join([*lines, "</VRTDataset>"]))
        with (
            written_whole(out) as temporary,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            try:
                rasterio.shutil.copy(
                    vrt, temporary, driver="COG", COMPRESS="DEFLATE", PREDICTOR="2",
                    BLOCKSIZE="512", OVERVIEW_RESAMPLING="AVERAGE", BIGTIFF="IF_SAFER",
                )  # fmt: skip
                with rasterio.open(temporary) as written:
                    whole = written.shape == shape and written.count == source.sensor.n_bands
            except Exception as error:  # rasterio lets some of GDAL's own through
                raise OSError(f"cannot write {out} ({error}): is the disk full?") from error
            finally:
                for rest in temporary.parent.glob(f"{escape_glob(temporary.name)}.*"):
                    rest.unlink(missing_ok=True)
            if not whole:
                raise OSError(f"cannot write {out}: it came out incomplete")
    finally:
        vrt.unlink(missing_ok=True)
