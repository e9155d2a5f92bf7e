"""Patches of a scene written to HDF5, in the layout that `dcfnet.imagery.pancollection` reads.

A file appears under its name only when it is complete, whatever comes between.
"""

import contextlib
import io
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from dcfnet.errors import DataError, unknown
from dcfnet.imagery.catalogue import load_scene, scene_name
from dcfnet.imagery.filters import coarse_mask
from dcfnet.imagery.geotiff import Pair
from dcfnet.imagery.patches import PATCH, all_windows, none_fits, patch_windows
from dcfnet.imagery.regions import SPLITS, Split, Window
from dcfnet.imagery.sensors import SENSORS, Sensor, sensor_table
from dcfnet.imagery.source import reduced_window
from dcfnet.imagery.wald import Sample, reduce_resolution
from dcfnet.paths import data_dir, written_whole

BLOCK = 1024
"""Side of the blocks, in MS pixels, in which files of any size are read."""


def data_file(split: Split, scene: str | None = None, fold: int = 0) -> Path:
    """Where the built file of a split lies.

    It is ``data/<scene>/<split>.h5``, for fold k above 0 ``data/<scene>/fold<k>/<split>.h5``. The
    scene is named as in :func:`dcfnet.load_scene`.
    """
    if split not in SPLITS:
        raise DataError(unknown("split", split, SPLITS))
    folder = data_dir() / scene_name(scene)
    return (folder / f"fold{fold}" if fold else folder) / f"{split}.h5"


def write_h5(
    path: str | Path, sample: Sample, windows: Sequence[Window], *, progress: bool = False
) -> None:
    """Write patches of a sample, windows of one size, in the layout of PanCollection.

    Datasets ``gt`` (N, C, H, W), ``ms`` (N, C, H/4, W/4), ``lms`` (N, C, H, W) and ``pan``
    (N, 1, H, W), in digital numbers, in the types of the sample; no ``gt`` at full resolution.
    An older file is replaced once the new one is complete.

    Raises:
        DataError: The disk is full or the folder cannot be written.
    """
    patches = ((sample, window) for window in windows)
    _write_patches(Path(path), patches, len(windows), progress)


def _write_patches(
    path: Path, patches: Iterator[tuple[Sample, Window]], count: int, progress: bool
) -> None:
    """Patches of samples of one sensor, one after the other."""
    if not count:
        raise DataError(
            f"nothing to write to {path}: expected at least one window; this part of the ground "
            "is too small for a patch of 64 x 64 MS pixels, or has no data"
        )
    with _writing(path), written_whole(path) as temporary, _SafeForHDF5(temporary, "w+b") as disk:
        first = next(patches)
        sensor = first[0].sensor
        with h5py.File(disk, "w") as file:
            file.attrs["sensor"] = sensor.name
            if sensor != SENSORS.get(sensor.name):
                file.attrs["sensor_table"] = json.dumps(sensor_table(sensor))
            sets = {
                key: file.create_dataset(key, (count, *array.shape), array.dtype)
                for key, array in _as_patch(*first).items()
            }
            found = itertools.chain([first], patches)
            bar = tqdm(found, path.name, count, unit="patch", disable=not progress)
            for i, (sample, window) in enumerate(bar):
                for key, array in _as_patch(sample, window).items():
                    sets[key][i] = array
                if disk.error:
                    break
        if disk.error:
            raise disk.error


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"could not write {path} ({error}): expected a folder that can be written, with "
            "room for the file; free some space or set DCFNET_DATA to another folder"
        ) from error


class _SafeForHDF5(io.FileIO):
    """A file that keeps its first write error for later.

    HDF5 that meets a full disk cannot close its file any more, and brings down the process at
    exit. So it is told that all is well, and the error is raised when it has finished.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        left = memoryview(data)
        while left and self.error is None:
            with self._kept():
                left = left[super().write(left) :]
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        with self._kept():
            super().truncate(size)
        return size or 0

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = self.error or error


def _as_patch(sample: Sample, window: Window) -> dict[str, np.ndarray]:
    cut = sample.crop(*window)
    patch = {"ms": cut.ms, "lms": cut.lms, "pan": cut.pan[None]}
    return patch if cut.gt is None else {"gt": cut.gt, **patch}


def build_data(
    scene: str | None = None, *, fold: int = 0, progress: bool = True
) -> dict[Split, Path]:
    """Build train, valid and test files of a scene, named as in :func:`dcfnet.load_scene`.

    They lie where `data_file` says, which is returned for each split; folds are those of
    `dcfnet.imagery.regions`.
    """
    sample = reduce_resolution(load_scene(scene))
    paths = {split: data_file(split, scene, fold) for split in SPLITS}
    with _alone(paths["train"].parent):
        for split, path in paths.items():
            write_h5(path, sample, patch_windows(sample, split, fold=fold), progress=progress)
    return paths


def build_pairs(
    pairs: Sequence[tuple[str | Path, str | Path]],
    sensor: Sensor,
    folder: str | Path,
    *,
    fold: int = 0,
    size: int = PATCH,
    resample: bool = False,
    progress: bool = True,
) -> dict[Split, Path]:
    """Build train, valid and test files of your own GeoTIFFs.

    Each pair is divided by itself, as `dcfnet.imagery.regions` says, and read block by block, so
    that it may be of any size.

    Args:
        pairs: MS and PAN of each, files or what GDAL reads besides.
        sensor: What took all of them.
        folder: Where the files go, whose paths are returned.
        fold: Which division.
        size: Side of a patch on the grid of MS, a multiple of 4.
        resample: Resample MS where its grid is offset from PAN's by a fraction of a PAN pixel.
        progress: Show a progress bar for each file.

    Raises:
        DataError: A pair cannot be used, or is too small, or the files cannot be written.
    """
    paths = {split: Path(folder) / f"{split}.h5" for split in SPLITS}
    with contextlib.ExitStack() as stack:
        stack.enter_context(_alone(Path(folder)))
        opened = [
            stack.enter_context(Pair(ms, pan, sensor, resample=resample)) for ms, pan in pairs
        ]
        for split, path in paths.items():
            blocks = [
                (pair, *block) for pair in opened for block in _blocks(pair, split, fold, size)
            ]
            patches = (
                (sample, window)
                for pair, ground, windows in blocks
                for sample in [reduced_window(pair, ground)]
                for window in windows
            )
            count = sum(len(windows) for *_, windows in blocks)
            _write_patches(path, patches, count, progress)
    return paths


def _blocks(
    pair: Pair, split: Split, fold: int, size: int
) -> Iterator[tuple[Window, list[Window]]]:
    """Ground with patches of a split, a block at a time: where it lies, its patches' windows in it.

    Only where there is data is read.

    Raises:
        DataError: Nowhere is there a patch with data.
    """
    r, (h, w) = pair.sensor.ratio, pair.shape
    shape = h // r * r, w // r * r
    blocks: dict[tuple[int, int], list[Window]] = {}
    for window in all_windows(shape, split, fold=fold, size=size):
        place = window.rows.start // BLOCK, window.cols.start // BLOCK
        blocks.setdefault(place, []).append(window)
    empty = True
    for windows in blocks.values():
        ground = Window(*(_spanned(sides) for sides in zip(*windows, strict=True)))
        mask, seen = pair.read_ms(*ground)[1], pair.read_pan(*ground)[1]
        mask = mask & coarse_mask(seen, r)
        inner = [window.moved(-ground.rows.start, -ground.cols.start) for window in windows]
        if there := [window for window in inner if mask[window].all()]:
            empty = False
            yield ground, there
    if empty:
        raise none_fits(shape, split, fold, size)


def _spanned(sides: Sequence[slice]) -> slice:
    return slice(min(side.start for side in sides), max(side.stop for side in sides))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits for others that build there, and clears away what they left if they were killed."""
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            tqdm.write(f"waiting for another process that builds data in {folder}", sys.stderr)
            lock.acquire()
    try:
        for unfinished in folder.glob(".*.h5.*.part"):
            unfinished.unlink(missing_ok=True)
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
