"""Fuse a scene of any size: digital numbers in, digital numbers out.

`fuse_scene` and `fuse_files` cut a scene into tiles that overlap. Every pixel of the result comes
from one tile: the margin of a tile, where the network lacks surroundings and where bilinear
upsampling with aligned corners has shifted its coarse branches, is discarded.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import itertools
import json
import os
import shutil
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from glob import escape as escape_glob
from pathlib import Path
from queue import Queue
from typing import Protocol
from xml.sax.saxutils import escape

import numpy as np
import rasterio
import rasterio.shutil
import torch
from affine import Affine
from filelock import FileLock, Timeout
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterWindow
from scipy.ndimage import distance_transform_edt
from tqdm import tqdm

from dcfnet.errors import DataError
from dcfnet.imagery.scene import Scene, common_ground
from dcfnet.imagery.sensors import Sensor
from dcfnet.imagery.wald import exp_upsample
from dcfnet.networks import PansharpeningNetwork
from dcfnet.paths import is_file, written_whole

__all__ = [
    "OVERLAP",
    "TILE",
    "Tile",
    "displacement",
    "fuse_files",
    "fuse_scene",
    "tiles_along",
]

TILE = 256
"""Side of a tile in PAN pixels, unless another is asked for."""

OVERLAP = 16
"""PAN pixels that are discarded along each side of a tile that has a neighbour there.

With 8 and more DCFNet's error at seams is within half a percent of what it is there in one pass;
with 0 it is up to a tenth larger (``tests/benchmarks/bench_tiles.py``). 16 is that with a margin.
"""

# MS pixels around a tile that the 23-tap interpolation of the tile looks at: 11 samples of the
# half-way grid and 11 of the fine one are 5.5 + 2.75 MS pixels.
_FILTER_MARGIN = 9


@dataclass(frozen=True)
class Tile:
    """Along one axis: what the network sees, and the part of it that is kept. MS pixels."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int

    @property
    def kept(self) -> slice:
        """What is kept, counted from the tile's start."""
        return slice(self.keep_start - self.start, self.keep_stop - self.start)


def tiles_along(size: int, tile: int, overlap: int) -> list[Tile]:
    """Cut one axis into tiles of one size, whose kept parts cover it without gap.

    The last tile is moved back so that it ends with the scene: all tiles have the same size, and
    none sees invented ground. A scene smaller than a tile is one tile.

    Args:
        size: Length of the axis.
        tile: Length of a tile.
        overlap: Discarded at each end of a tile that has a neighbour there, at least.

    Raises:
        ValueError: Nothing of a tile would be kept, or a number is negative.
    """
    if size < 1 or tile < 1 or overlap < 0 or 2 * overlap >= tile:
        raise ValueError(
            f"a tile of {tile} with {overlap} discarded at both ends keeps nothing of an axis of "
            f"{size}: the overlap must be at least 0 and less than half of the tile"
        )
    if size <= tile:
        return [Tile(0, size, 0, size)]
    starts = [*range(0, size - tile, tile - 2 * overlap), size - tile]
    # Between neighbours the border lies in the middle of what both see.
    borders = [(a + tile + b) // 2 for a, b in itertools.pairwise(starts)]
    return [
        Tile(start, start + tile, low, high)
        for start, low, high in zip(starts, [0, *borders], [*borders, size], strict=True)
    ]


def displacement(tiles: Sequence[Tile], factor: int = 4) -> np.ndarray:
    """By how much aligned corners displace a branch of DCFNet, along one axis of tiles.

    What goes down by ``factor`` and up again with aligned corners is displaced by ``factor - 1``
    times its position relative to the tile: not at all at its start, by ``factor - 1`` at its end.
    So one and the same ground is displaced differently in tiles of different size or place.

    Args:
        tiles: As `tiles_along` makes them, in MS pixels.
        factor: PAN pixels per pixel of the branch: 4 for branch 2, 2 for branch 1.

    Returns:
        Pixels of displacement at every PAN pixel of the axis.
    """
    parts = []
    for tile in tiles:
        kept = np.arange(4 * tile.kept.start, 4 * tile.kept.stop)
        parts.append((factor - 1) * kept / (4 * (tile.stop - tile.start) - 1))
    return np.concatenate(parts)


class _Source(Protocol):
    """Where tiles come from: `read(rows, cols)` in MS pixels gives MS, PAN and their masks."""

    shape: tuple[int, int]
    sensor: Sensor

    def read_ms(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]: ...

    def read_pan(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]: ...


class _Arrays:
    def __init__(self, scene: Scene) -> None:
        self.scene, self.sensor, self.shape = scene, scene.sensor, scene.mask.shape

    def read_ms(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        return self.scene.ms[:, rows, cols], self.scene.mask[rows, cols]

    def read_pan(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        r = self.sensor.ratio
        pan = self.scene.pan[r * rows.start : r * rows.stop, r * cols.start : r * cols.stop]
        return pan, pan != 0


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


def _filled(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Pixels without data get the nearest value that is one, so that filters see no cliff."""
    if mask.all() or not mask.any():
        return image
    nearest = distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return image[..., nearest[0], nearest[1]]


def _read(source: _Source, rows: Tile, cols: Tile) -> tuple[np.ndarray, ...]:
    """MS, its interpolation, PAN and the mask of a tile."""
    r, m = source.sensor.ratio, _FILTER_MARGIN
    wide, pad = [], []
    for tile, size in zip((rows, cols), source.shape, strict=True):
        low, high = max(0, tile.start - m), min(size, tile.stop + m)
        wide.append(slice(low, high))
        pad.append((low - tile.start + m, tile.stop + m - high))
    ms, mask = source.read_ms(*wide)
    pan, pan_mask = source.read_pan(slice(rows.start, rows.stop), slice(cols.start, cols.stop))
    # The scene ends with its border pixels repeated, where exp_upsample would go round.
    ms = np.pad(_filled(ms, mask), ((0, 0), *pad), mode="edge")
    mask = np.pad(mask, pad, mode="edge")[m:-m, m:-m]
    lms = exp_upsample(ms, r)[:, r * m : -r * m, r * m : -r * m]
    mask = mask.repeat(r, 0).repeat(r, 1) & pan_mask
    return ms[:, m:-m, m:-m], lms, _filled(pan, pan_mask), mask


class _Runner:
    """A network made ready on one device: a batch of tiles in, digital numbers out."""

    def __init__(
        self, model: PansharpeningNetwork, sensor: Sensor, device: torch.device, precision: str
    ) -> None:
        self.device = device
        if hasattr(model, "fused_for_inference"):
            self.model = model.fused_for_inference()
        else:
            self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.model.to(self.device)
        self.precision, self.scale = precision, float(sensor.max_value)

    def __call__(self, ms: np.ndarray, lms: np.ndarray, pan: np.ndarray) -> np.ndarray:
        inputs = (
            torch.from_numpy(np.asarray(image, np.float32) / np.float32(self.scale))
            .to(self.device)
            .contiguous(memory_format=torch.channels_last)
            for image in (pan[:, None], ms, lms)
        )
        cast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")
        with torch.inference_mode(), cast:
            fused = self.model(*inputs)
        return (fused.float() * self.scale).cpu().numpy()


def _devices(model: PansharpeningNetwork, asked: str | Sequence[str] | None) -> list[torch.device]:
    """Where tiles are fused. Unless asked: where the network is, else all GPUs, else the CPU."""
    own = next(model.parameters()).device
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if asked is None:
        return [own] if own.type != "cpu" else [torch.device(name) for name in gpus or ["cpu"]]
    found = []
    for name in [asked] if isinstance(asked, str) else asked:
        try:
            found.append(torch.device(name))
            torch.empty(0, device=found[-1]).cpu()
        except (RuntimeError, AssertionError) as error:  # a torch without CUDA asserts that it has
            raise ValueError(
                f"cannot compute on {name!r}: expected one of {', '.join(['cpu', *gpus])}"
            ) from error
    if not found:
        raise ValueError("no device to compute on: pass at least one, or None")
    return found


class _Workers:
    """A network on one device or several, which share the tiles."""

    def __init__(
        self,
        model: PansharpeningNetwork,
        sensor: Sensor,
        device: str | Sequence[str] | None,
        precision: str,
    ) -> None:
        if precision not in ("fp32", "bf16"):
            raise ValueError(f"precision is 'fp32' or 'bf16', got {precision!r}")
        devices = _devices(model, device)
        self.kinds = sorted({device.type for device in devices})
        self.batch = 1 if self.kinds == ["cpu"] else 8
        self.number = len(devices)
        self._free: Queue[_Runner] = Queue()
        for where in devices:
            self._free.put(_Runner(model, sensor, where, precision))

    def _fuse(self, parts: list[tuple[np.ndarray, ...]]) -> np.ndarray:
        if not any(mask.any() for *_, mask in parts):  # nothing but no data
            return np.zeros((len(parts), *parts[0][1].shape), np.float32)
        runner = self._free.get()
        try:
            return runner(*(np.stack([part[i] for part in parts]) for i in range(3)))
        finally:
            self._free.put(runner)

    def fused(
        self, source: _Source, rows: list[Tile], cols: list[Tile]
    ) -> Iterator[tuple[Tile, Tile, np.ndarray, np.ndarray]]:
        """Row by row the tiles' kept parts: row, column, fused (C, h, w), mask (h, w).

        While the devices work, the next tiles are read.
        """
        r = source.sensor.ratio
        places = itertools.product(rows, cols)
        waiting: deque[tuple[list[tuple[Tile, Tile]], list[np.ndarray], Future[np.ndarray]]]
        waiting = deque()

        def first() -> Iterator[tuple[Tile, Tile, np.ndarray, np.ndarray]]:
            chosen, masks, work = waiting.popleft()
            for (row, col), image, mask in zip(chosen, work.result(), masks, strict=True):
                kept = tuple(slice(r * k.start, r * k.stop) for k in (row.kept, col.kept))
                yield row, col, image[:, *kept], mask[kept]

        with ThreadPoolExecutor(self.number) as pool:
            try:
                while chosen := list(itertools.islice(places, self.batch)):
                    parts = [_read(source, *place) for place in chosen]
                    masks = [mask for *_, mask in parts]
                    waiting.append((chosen, masks, pool.submit(self._fuse, parts)))
                    if len(waiting) > self.number:
                        yield from first()
                while waiting:
                    yield from first()
            finally:
                for *_, work in waiting:
                    work.cancel()


def _plan(source: _Source, tile: int, overlap: int) -> tuple[list[Tile], list[Tile]]:
    r = source.sensor.ratio
    if tile % r or overlap % r:
        raise ValueError(
            f"tile and overlap are multiples of {r} PAN pixels, got {tile} and {overlap}"
        )
    rows, cols = (tiles_along(size, tile // r, overlap // r) for size in source.shape)
    return rows, cols


def fuse_scene(
    model: PansharpeningNetwork,
    scene: Scene,
    *,
    tile: int = TILE,
    overlap: int = OVERLAP,
    device: str | Sequence[str] | None = None,
    precision: str = "fp32",
    progress: bool = False,
) -> np.ndarray:
    """The fused image of a scene at PAN's resolution, tile by tile.

    The network works on a copy made for inference; the given one stays as it is. Only the result
    grows with the scene. MS is interpolated for each tile with enough ground around it that tiles
    agree with `dcfnet.imagery.wald.exp_upsample` of the whole, except at the scene's borders,
    which are continued by their pixels where that function goes round.

    Args:
        model: Any network of this package, with as many bands as the scene.
        scene: MS and PAN.
        tile: Side of a tile in PAN pixels, a multiple of the sensor's ratio.
        overlap: PAN pixels discarded along every side of a tile that has a neighbour, likewise.
        device: ``"cpu"``, ``"cuda:0"``, or several, which share the tiles. By default where the
            network is, and if that is the CPU, all GPUs that there are.
        precision: ``"fp32"``, or ``"bf16"`` for automatic mixed precision.
        progress: Show a bar.

    Returns:
        (C, H, W) float32 in digital numbers, neither rounded nor clipped; 0 where there is no
        data.

    Raises:
        ValueError: Tile and overlap do not fit each other, or there is no such device.

    Example:
        >>> model = build_network("dcfnet")                     # doctest: +SKIP
        >>> fuse_scene(model, load_scene("simulated")).shape    # doctest: +SKIP
        (8, 1664, 1664)
    """
    source = _Arrays(scene)
    rows, cols = _plan(source, tile, overlap)
    workers = _Workers(model, scene.sensor, device, precision)
    r = scene.sensor.ratio
    out = np.zeros((scene.sensor.n_bands, *scene.pan.shape), np.float32)
    with (
        tqdm(total=len(rows) * len(cols), unit="tile", disable=not progress) as bar,
        contextlib.closing(workers.fused(source, rows, cols)) as tiles,
    ):
        for row, col, image, mask in tiles:
            y = slice(r * row.keep_start, r * row.keep_stop)
            x = slice(r * col.keep_start, r * col.keep_stop)
            np.multiply(image, mask, out=out[:, y, x])
            bar.update()
    return out


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
        plan = _plan(source, tile, overlap)
        workers = _Workers(model, sensor, device, precision)
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
    workers: _Workers,
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
