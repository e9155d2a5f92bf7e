"""Files in, a file out: two GeoTIFFs become a third, and work that was interrupted goes on."""

import contextlib
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from glob import escape as escape_glob
from pathlib import Path

import pandas as pd
import rasterio
import torch
from filelock import FileLock, Timeout
from rasterio.drivers import raster_driver_extensions
from tqdm import tqdm

from dcfnet.errors import DataError
from dcfnet.fusion.methods import MethodTiles
from dcfnet.fusion.tiled import Workers, plan_tiles
from dcfnet.fusion.tiles import OVERLAP, TILE, Tile
from dcfnet.fusion.work import CACHE, WorkRaster, sidecars
from dcfnet.imagery.classical import Method
from dcfnet.imagery.geotiff import Pair, raster_name
from dcfnet.imagery.sensors import Sensor
from dcfnet.imagery.source import AlignedSource, Source
from dcfnet.networks import PansharpeningNetwork
from dcfnet.networks.base import require_bands
from dcfnet.networks.weights import fingerprint
from dcfnet.paths import beside, is_file


def fuse_files(
    how: PansharpeningNetwork | Method,
    ms_path: str | Path,
    pan_path: str | Path,
    out_path: str | Path,
    sensor: Sensor,
    *,
    tile: int = TILE,
    overlap: int = OVERLAP,
    device: str | Sequence[str] | None = None,
    precision: str = "fp32",
    engine: str | None = None,
    overwrite: bool = False,
    resample: bool = False,
    places: pd.DataFrame | None = None,
    strips: int = 1,
    strip: int | None = None,
    progress: bool = False,
    on_row: Callable[[int, int], None] | None = None,
) -> Path:
    """Fuse two GeoTIFFs into a third of any size; in memory is a row of tiles of it.

    The result is a cloud-optimised GeoTIFF on PAN's grid, over the ground that MS and PAN share,
    with PAN's ground control points and RPCs, and MS's data type (uint16 instead of floats), band
    names, tags and no-data value (0 if it has none). What counts as no data in the inputs says
    `dcfnet.imagery.geotiff.Raster.read`. Values are rounded and clipped to 1 ... the sensor's
    largest, so that no pixel with data reads as no data.

    Finished rows of tiles are kept in a hidden file beside the result. After whatever interrupts
    the work, the same call goes on after the last of them, and the result is the same. A call with
    other settings, weights or inputs starts anew.

    Args:
        how: Any network of this package, or one of `dcfnet.imagery.classical.METHODS`, which
            measures the whole scene first.
        ms_path: MS with the sensor's bands in its order, whole digital numbers; a file, or what
            GDAL reads besides, ``/vsizip/...`` for example.
        pan_path: PAN, one band, on a grid aligned with that of MS; likewise.
        out_path: The GeoTIFF to write. It appears when it is complete.
        sensor: The imager.
        tile: As of `dcfnet.fuse_scene`, and so the next four.
        overlap: PAN pixels discarded along every side of a tile that has a neighbour.
        device: Where.
        precision: Of the network.
        engine: What computes it.
        overwrite: Replace the result if it is there.
        resample: Resample MS where its grid is offset from PAN's by a fraction of a PAN pixel.
        places: From `dcfnet.imagery.registration.displacements`: each band is moved onto PAN.
        strips: In how many strips the rows of tiles are fused, by as many processes as one likes.
        strip: The one to fuse now, counted from 0. A last call without it joins them.
        progress: Show a bar.
        on_row: Called after each row of tiles that is safe on disk, with its number and how many
            there are.

    Returns:
        ``out_path``.

    Raises:
        DataError: The inputs do not fit each other, the network or the sensor, or the result is
            there already, or a strip is missing.
        OSError: The result cannot be written, for want of space for example.
        ValueError: Tile and overlap do not fit each other, or there is no such device or engine.
    """
    out_path = _result(out_path)
    if strips < 1 or strip not in (None, *range(strips)):
        raise ValueError(f"expected a strip below {strips}, at least 1 of them, got {strip}")
    if not isinstance(how, Method):
        require_bands(how, sensor)
    with (
        rasterio.Env(GDAL_CACHEMAX=CACHE),
        Pair(ms_path, pan_path, sensor, resample=resample) as pair,
    ):
        require_free(out_path, pair, overwrite)
        source: Source = pair if places is None else AlignedSource(pair, places)
        rows, cols = plan_tiles(source, tile, overlap)
        workers: Workers | MethodTiles
        if isinstance(how, Method):
            workers, whose = MethodTiles(how, progress), how.title
        else:
            tiles = len(rows) * len(cols)
            workers = Workers(how, sensor, device, precision, engine, tiles)
            whose = fingerprint(how)
        settings = {
            "inputs": [_identity(name) for name in _inputs(pair)],
            "moved": [resample, None if places is None else places.to_json()],
            "sensor": asdict(sensor),
            "weights": whose,
            "tile": [tile, overlap],
            "how": [workers.kinds, precision, torch.__version__, workers.engine],
        }
        settled = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
        software = f"dcfnet ({workers.engine})"
        names = [f"-{i}-of-{strips}" * (strips > 1) for i in range(strips)]
        with _alone(out_path, "" if strip is None else names[strip]):
            works = [
                WorkRaster(out_path, pair, settled, software, some, name)
                for name, some in zip(names, _cut(rows, strips), strict=True)
            ]
            if strip is not None or strips == 1:
                _fuse_rows(source, workers, cols, works[strip or 0], progress, on_row)
            del workers  # the copy needs their memory
            if strip is None:
                _finish(out_path, works)
    return out_path


@contextlib.contextmanager
def _alone(out: Path, strip: str) -> Iterator[None]:
    """Keeps others from a result, or a strip of it, and clears away what killed processes left."""
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(beside(out, f"lock{strip}"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise DataError(f"another process is making {out}: wait for it or end it") from None
    try:
        if not strip:
            parts = beside(Path(escape_glob(out.name)), "*.part*").name
            for unfinished in out.parent.glob(parts):
                unfinished.unlink(missing_ok=True)
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def require_free(out_path: str | Path, source: Pair, overwrite: bool) -> None:
    """Whether a result may be written under a name.

    Raises:
        DataError: It may not: the name is no GeoTIFF's, or something is there already.
    """
    out_path = _result(out_path)
    for there in filter(Path.exists, (out_path, *sidecars(out_path))):
        if any(there.samefile(path) for path in map(_on_disk, _inputs(source)) if path):
            raise DataError(f"{there} is an input: name another file for the result")
        if not there.is_file():
            raise DataError(f"{there} is a folder or a device: name a file for the result")
        if not overwrite:
            raise DataError(
                f"{there} exists already: name another file for what is fused of "
                f"{source.ms.name} and {source.pan.name}, or ask to overwrite it"
            )


def _inputs(source: Pair) -> list[str]:
    return [*source.ms.files, *source.pan.files]


def _result(path: str | Path) -> Path:
    """A name that a result can have."""
    if "://" in str(path) or str(path).startswith("/vsi"):
        raise DataError(f"{path} is no file on a disk: name one for the result, and copy it there")
    path = Path(path)
    raster_name(path.parent)  # GDAL writes there, under another name
    ending = path.suffix[1:].lower()
    driver = raster_driver_extensions().get(ending, "GTiff")
    if ending not in ("tif", "tiff") and driver != "GTiff":
        raise DataError(
            f"{path} has the ending of {driver} files, but the result is a GeoTIFF: name it "
            f"{path.with_suffix('.tif')}, and convert that with `gdal_translate` if need be"
        )
    return path


def _cut(rows: list[Tile], strips: int) -> list[list[Tile]]:
    if strips > len(rows):
        raise ValueError(f"expected at most {len(rows)} strips, a row of tiles each, got {strips}")
    ends = [len(rows) * i // strips for i in range(strips + 1)]
    return [rows[start:stop] for start, stop in itertools.pairwise(ends)]


def _fuse_rows(
    source: Source,
    workers: Workers | MethodTiles,
    cols: list[Tile],
    work: WorkRaster,
    progress: bool,
    on_row: Callable[[int, int], None] | None,
) -> None:
    rows = work.rows
    done = work.begin()
    total = len(rows) * len(cols)
    try:
        with (
            tqdm(total=total, initial=done * len(cols), unit="tile", disable=not progress) as bar,
            contextlib.closing(workers.fused(source, rows[done:], cols)) as tiles,
        ):
            for number in range(done + 1, len(rows) + 1):
                with work.row(number) as put:
                    for _, col, image, mask in itertools.islice(tiles, len(cols)):
                        put(image, mask, col)
                        bar.update()
                if on_row:
                    on_row(number, len(rows))
    except (KeyboardInterrupt, OSError):
        raise  # the same call goes on here
    except BaseException:
        work.remove()
        raise


def _finish(out: Path, works: list[WorkRaster]) -> None:
    for number, work in enumerate(works):
        if work.done() < len(work.rows):
            raise DataError(
                f"strip {number} of {len(works)} of {out} is not there, or was made with other "
                "settings: fuse it first"
            )
    works[0].finish()
    works[0].clear()


def _on_disk(name: str) -> Path | None:
    """The file that GDAL reads under a name; the archive, if it reads a file in one."""
    path = Path(re.sub(r"^(/vsi\w+/)+", "", name))
    return next((part for part in (path, *path.parents) if is_file(part)), None)


def _identity(name: str) -> list[str | int]:
    """What tells an input from another, and from itself after a change."""
    if path := _on_disk(name):
        status = path.stat()
        return [name, str(path.resolve()), status.st_size, status.st_mtime_ns]
    return [name]
