"""The HDF5 layout of PanCollection: files checked, and their patches read one by one.

PanCollection is the field's benchmark (Deng et al., "Machine learning in pansharpening: a
benchmark, from shallow to deep networks", 2022). Its files hold ``gt``, ``ms``, ``lms``
and ``pan`` of about ten thousand patches in several gigabytes, so nothing is read but what is
asked for.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np
import torch
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from dcfnet.errors import DataError
from dcfnet.imagery.sensors import SENSORS, Sensor, generic_sensor, sensor_from_table
from dcfnet.imagery.tensors import as_tensor

_HINT = "see data/README.md for the layout"

# What h5py raises for damaged files, depending on where the damage is.
_UNREADABLE = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError)


def _open_h5(path: Path) -> h5py.File:
    if not path.exists():
        raise DataError(
            f"{path} does not exist: expected an HDF5 file; run `dcfnet data` to build those of "
            "the book's scene"
        )
    if not path.is_file():  # to open a pipe would wait for ever
        raise DataError(f"{path} cannot be opened as HDF5: expected a file, found a folder or pipe")
    try:
        return h5py.File(path, "r")
    except _UNREADABLE as error:
        raise DataError(
            f"{path} cannot be opened as HDF5 ({error}): {_cure(path, error)}"
        ) from error


def _cure(path: Path, error: Exception) -> str:
    """What to do about a file that cannot be opened."""
    if "unable to lock file" in str(error):
        return (
            "another process writes to it, so close that first; on a disk that knows no locks set "
            "the environment variable HDF5_USE_FILE_LOCKING=FALSE"
        )
    if isinstance(error, PermissionError):
        return "expected a file that you may read; change its permissions"
    with contextlib.suppress(OSError), path.open("rb") as file:
        start = file.read(16)
        if start.startswith(b"MATLAB 5.0"):
            return (
                "it is a MATLAB 5 file; read it with scipy.io.loadmat, bring each array to (patch, "
                "band, row, column), for example with numpy.moveaxis(a, -1, 1), and write it with "
                "h5py as in data/README.md"
            )
        if start and "signature" in str(error):
            return f"expected HDF5, found a file that begins with {start!r}; was it downloaded?"
    return "expected a complete file; copy or build it again"


@contextlib.contextmanager
def _damage_reported(path: Path, what: str = "") -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except _UNREADABLE as error:
        raise DataError(
            f"{path}{what} cannot be read ({error or type(error).__name__}): expected a complete "
            "file whose patches fit into memory; copy or build it again"
        ) from error


def _check_structure(file: h5py.File, path: Path) -> tuple[int, int]:
    """Keys, links, ranks, types, counts and sizes; returns the number of patches and of bands."""
    _check_order_of_axes(file, path)
    keys = _keys(file)
    if missing := {"pan", "ms", "lms"} - {*keys}:
        found = ", ".join(sorted(file)) or "nothing"
        raise DataError(f"{path} has no dataset {min(missing)!r}, found {found}; {_HINT}")
    for key in keys:
        item = file[key]
        if not isinstance(item, h5py.Dataset):
            raise DataError(f"{path}: {key!r} is a group, expected a dataset; {_HINT}")
        if item.ndim != 4:
            raise DataError(
                f"{path}: {key!r} has shape {item.shape}, expected four axes "
                f"(patch, band, row, column); {_HINT}"
            )
        if item.dtype.kind not in "uif":
            raise DataError(f"{path}: {key!r} holds {item.dtype}, expected numbers; {_HINT}")

    shapes = {key: file[key].shape for key in keys}
    n, bands, h, w = shapes["lms"]
    if n == 0 or h == 0 or w == 0:
        raise DataError(f"{path} holds no patches: lms has shape {shapes['lms']}")
    expected = {
        "gt": (n, bands, h, w),
        "ms": (n, bands, h // 4, w // 4),
        "lms": (n, bands, h, w),
        "pan": (n, 1, h, w),
    }
    if h % 4 or w % 4:
        raise DataError(f"{path}: patches are {h} x {w}, expected sizes that are multiples of 4")
    for key, shape in shapes.items():
        if shape != expected[key]:
            raise DataError(
                f"{path}: {key!r} has shape {shape}, expected {expected[key]} to go with lms "
                f"{shapes['lms']}; {_HINT}"
            )
    return n, bands


def _keys(file: h5py.File) -> tuple[str, ...]:
    """Its images; full-resolution test files have no truth."""
    return tuple(key for key in ("pan", "ms", "lms", "gt") if key in file)


def _check_order_of_axes(file: h5py.File, path: Path) -> None:
    """Bands come second; ms is smaller along the two axes of the image alone."""
    found = [file[key].shape for key in ("ms", "lms") if isinstance(file.get(key), h5py.Dataset)]
    if [len(shape) for shape in found] != [4, 4]:
        return
    ms, lms = found
    smaller = [4 * few == many for few, many in zip(ms, lms, strict=True)]
    cures = {
        (False, True, True, False): "numpy.moveaxis(a, -1, 1)",
        (True, True, False, False): "numpy.transpose(a)",
    }
    if cure := cures.get(tuple(smaller)):
        raise DataError(
            f"{path}: lms has shape {lms} and ms {ms}: expected the axes (patch, band, row, "
            f"column), found another order; rearrange each array with {cure}"
        )


def _read_patch(file: h5py.File, path: Path, key: str, i: int) -> np.ndarray:
    with _damage_reported(path, f": patch {i} of {key!r}"):
        return file[key][i]


def _check_values(file: h5py.File, path: Path, sensor: Sensor, rows: Iterable[int]) -> None:
    """Finite digital numbers within the sensor's range."""
    top = sensor.max_value
    largest = 0.0
    for i in rows:
        for key in _keys(file):
            values = _read_patch(file, path, key, i)
            if not np.isfinite(values).all():
                raise DataError(
                    f"{path}: patch {i} of {key!r} holds NaN or infinity, expected digital "
                    "numbers; set pixels without data to 0 or leave the patch out"
                )
            # Filters overshoot, so what was interpolated may leave the range, and what was degraded
            # a little, unless it was rounded and clipped.
            low, high = float(values.min()), float(values.max())
            slack = top if key == "lms" else top / 8 if values.dtype.kind == "f" else 0
            if low < -slack or high > top + slack:
                raise DataError(
                    f"{path}: patch {i} of {key!r} holds values from {low:g} to {high:g}, expected "
                    f"digital numbers from 0 to {top} of {sensor.title}; check the sensor and "
                    "the scale"
                )
            largest = max(largest, high)
    whole = any(file[key].dtype.kind in "ui" for key in _keys(file) if key != "lms")
    if 0 < largest <= 1.5 and not whole:
        raise DataError(
            f"{path}: no value exceeds {largest:g}, expected digital numbers up to {top}, not "
            f"values in [0, 1]; multiply by {top}"
        )


def check_h5(path: str | Path, sensor: Sensor | None = None, *, progress: bool = False) -> Sensor:
    """Whether a file in PanCollection's layout can be used. Reads every value once.

    Returns:
        What took the images: the sensor given, else the one noted in the file, else one of which
        nothing is known but the number of bands.

    Raises:
        DataError: It cannot be used; the message says why and what to do.
    """
    path = Path(path)
    with _damage_reported(path), _open_h5(path) as file:
        n, sensor = _about(file, path, sensor)
        bar = tqdm(range(n), desc=path.name, unit="patch", disable=not progress)
        _check_values(file, path, sensor, bar)
    return sensor


def _about(file: h5py.File, path: Path, sensor: Sensor | None) -> tuple[int, Sensor]:
    """Number of patches; the sensor given, else the one noted in the file, else a stand-in."""
    n, bands = _check_structure(file, path)
    name, table = (file.attrs.get(key) for key in ("sensor", "sensor_table"))
    if sensor is None and isinstance(table, str):
        sensor = sensor_from_table(str(name), json.loads(table), path)
    if sensor is None:
        sensor = SENSORS.get(name) if isinstance(name, str) else None
    if sensor is None:
        sensor = generic_sensor(bands)
    if bands != sensor.n_bands:
        raise DataError(
            f"{path} has {bands} bands, but {sensor.title} has {sensor.n_bands}; pass the sensor "
            "that took the images"
        )
    return n, sensor


class PatchDataset(Dataset[dict[str, torch.Tensor]]):
    """Patches in PanCollection's HDF5 layout, read one by one as they are asked for.

    Files that ``dcfnet data`` builds have the same layout. Each process opens the file for itself
    at its first access, so the dataset can be handed to the workers of a ``DataLoader``.

    The sensor, as of `check_h5`, scales images to [0, 1] by its largest value.

    Raises:
        DataError: The file cannot be used.

    Example:
        >>> data = PatchDataset(data_file("train"), WV3)  # doctest: +SKIP
        >>> {key: tuple(value.shape) for key, value in data[0].items()}  # doctest: +SKIP
        {'pan': (1, 64, 64), 'ms': (8, 16, 16), 'lms': (8, 64, 64), 'gt': (8, 64, 64)}
    """

    def __init__(self, path: str | Path, sensor: Sensor | None = None) -> None:
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._pid: int | None = None
        with _damage_reported(self.path), _open_h5(self.path) as file:
            self._length, self.sensor = _about(file, self.path, sensor)
            # A few patches tell a wrong scale; check_h5 looks at all of them.
            few = sorted({0, self._length // 2, self._length - 1})
            _check_values(file, self.path, self.sensor, few)
            self.keys = _keys(file)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """One patch: float32 tensors in [0, 1], by name."""
        if not -self._length <= index < self._length:
            raise IndexError(f"patch {index} of {self._length}")
        file = self._opened()
        index %= self._length
        patch = {key: _read_patch(file, self.path, key, index) for key in self.keys}
        return {key: as_tensor(image, self.sensor) for key, image in patch.items()}

    def _opened(self) -> h5py.File:
        # An HDF5 handle must not be shared with a forked worker.
        if self._file is None or self._pid != os.getpid():
            self._file, self._pid = _open_h5(self.path), os.getpid()
        return self._file

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_file": None, "_pid": None}
