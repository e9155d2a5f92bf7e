"""Damages small, good files and feeds them to every reader.

    python -m tests.support.mutations [--count N] [--first N] [--seed S]

A reader may refuse a file with `DataError` (or what its documentation names besides), or read
it; what it reads must then be sound. Anything else ends the process, which has printed what it was
about: another exception, NaN in what was read, a crash of a C library, a reader that hangs.

The n-th mutation of a seed is always the same one.
"""

import argparse
import faulthandler
import functools
import json
import os
import random
import resource
import shutil
import tempfile
import warnings
from pathlib import Path

import h5py
import numpy as np
import rasterio
import torch

from dcfnet.errors import DataError, RunError
from dcfnet.fusion.below import below
from dcfnet.fusion.files import fuse_files
from dcfnet.imagery.classical import METHODS
from dcfnet.imagery.geotiff import Pair
from dcfnet.imagery.pair_check import check_pair
from dcfnet.imagery.pancollection import PatchDataset, check_h5
from dcfnet.imagery.scene import open_scene
from dcfnet.imagery.sensors import WV3
from dcfnet.measure.files import measure_against_truth
from dcfnet.networks import build_network, load_released, load_weights, save_weights
from dcfnet.training.history import History
from dcfnet.training.runs import read_run
from tests.support.networks import as_released
from tests.support.rasters import write_tif
from tests.support.training import network, patches, quick_fit

SECONDS = 120
"""A reader that takes longer than this with one small file hangs, also on a busy machine."""

MEMORY = 4 << 30
"""What readers may take beyond the start of their process, in bytes."""


def write_good(folder: Path) -> None:
    """One good file, pair of files or run of each kind."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(1)
    ms = chance.integers(1, 2000, (3, 8, 4, 4)).astype(np.uint16)
    lms = ms.repeat(4, 2).repeat(4, 3)
    images = {"gt": lms, "ms": ms, "lms": lms.astype(np.float32), "pan": lms[:, :1]}
    packed = {"chunks": True, "compression": "gzip", "fletcher32": True}
    for name, options in (("plain.h5", {}), ("packed.h5", packed)):
        with h5py.File(folder / name, "w") as file:
            file.attrs["sensor"] = "wv3"
            for key, values in images.items():
                file.create_dataset(key, data=values, **options)
    ms = chance.integers(1, 2047, (8, 16, 16), dtype=np.uint16)
    pan = chance.integers(1, 2047, (1, 64, 64), dtype=np.uint16)
    write_tif(folder / "ms.tif", ms, 2.0, nodata=0)
    write_tif(folder / "pan.tif", pan, 0.5, compress="deflate", predictor=2)
    torch.manual_seed(0)
    save_weights(build_network("dcfnet", 4, width=0.05), folder / "weights.safetensors")
    torch.save(as_released(build_network("pnn", 8)), folder / "pnn.pth")
    _fit(folder, 1, resume=False)


def _fit(folder: Path, epochs: int, resume: bool = True) -> History:
    given = {"epochs": epochs, "average": 0.9, "batch_size": 2, "resume": resume}
    return quick_fit(network(), patches(4), patches(2, 1), run_dir=folder / "run", **given)


def damage(chance: random.Random, path: Path) -> str:
    """Damages a file, or puts something else in its place; returns what was done."""
    content = path.read_bytes()
    # Headers matter most and are short: half of the damages hit the first bytes.
    reach = min(len(content), 2048) if chance.random() < 0.5 else len(content)
    at = chance.randrange(reach)
    end = at + chance.choice((1, 2, 4, 8, 64, 512))
    flipped = bytes(byte ^ chance.randrange(256) for byte in content[at:end])
    changed = {
        "flipped": content[:at] + flipped + content[end:],
        "truncated": content[:at],
        "zeroed": content[:at] + bytes(end - at) + content[end:],
        "ones": content[:at] + b"\xff" * (end - at) + content[end:],
        "repeated": content[:end] + content[at:],
        "inserted": content[:at] + chance.randbytes(end - at) + content[at:],
        "removed": content[:at] + content[end:],
        "text": content[:at] + (b"-1e999,nan;{[" * 40)[: end - at] + content[end:],
        "empty": b"",
        "another": b"\x89HDF\r\n\x1a\n" + content,
        "null": b"null",
    }
    special = {
        "folder": path.mkdir,
        "dangling link": lambda: path.symlink_to("nowhere"),
        "link to itself": lambda: path.symlink_to(path.name),
        "pipe": lambda: os.mkfifo(path),
    }
    how = chance.choice([*changed, *changed, *special])
    path.unlink()
    if how in changed:
        path.write_bytes(changed[how])
    else:
        special[how]()
    return f"{how} at {at}"


def _require(sound: object, what: str) -> None:
    if not sound:
        raise AssertionError(f"read without complaint, but {what}")


def _patches(path: Path) -> None:
    check_h5(path)
    for patch in map(PatchDataset(path).__getitem__, range(len(PatchDataset(path)))):
        _require(patch["lms"].shape == (8, *patch["pan"].shape[1:]), "its shapes do not fit")
        _require(all(v.isfinite().all() and v.max() <= 2 for v in patch.values()), "its values")


def _pair(path: Path) -> None:
    pair = path.with_name("ms.tif"), path.with_name("pan.tif")
    scene = open_scene(*pair, WV3)
    _require(max(scene.ms.max(), scene.pan.max()) <= WV3.max_value, "its values are too large")
    _require((check_pair(*pair, WV3).bands["max"] <= WV3.max_value).all(), "its values")
    with Pair(*pair, WV3) as source:
        _require(all(np.isfinite(block.lms).all() for block in below(source).blocks), "no block")


def _fused(path: Path) -> None:
    pair = path.with_name("ms.tif"), path.with_name("pan.tif")
    for how in (_network(), METHODS["mtf-glp-fs"]):
        out = path.parent / "new" / "out.tif"
        try:
            fuse_files(how, *pair, out, WV3, tile=32, overlap=8, device="cpu")
        finally:
            left = [left.name for left in out.parent.glob("*") if left != out]
            _require(not left, f"{left} were left")
        with rasterio.open(out) as file:
            image = file.read()
            data = (image != file.nodata).any(axis=0)
        _require(image.shape[0] == 8 and image.max() <= 2047, "its values")
        _require((image[:, data] >= 1).all(), "its values")
        out.unlink()


@functools.cache
def _network() -> torch.nn.Module:
    return build_network("dicnn", 8)


def _measured(path: Path) -> None:
    found = measure_against_truth(path.with_name("ms.tif"), path.with_name("ms.tif"), WV3)
    _require(not found["sam"] > 1e-3 and not found["ergas"] > 1e-3, "it is not like itself")


def _weights(path: Path) -> None:
    model = load_released("pnn", path) if path.suffix == ".pth" else load_weights(path)
    state = model.state_dict()
    _require(all(value.isfinite().all() for value in state.values()), "a weight is not finite")
    variances = [value for key, value in state.items() if key.endswith("running_var")]
    _require(all((value >= 0).all() for value in variances), "a variance is negative")


def _run(path: Path) -> None:
    history = read_run("run", path.parent.parent).history
    _require(history["epoch"].tolist() == [*range(1, len(history) + 1)], "its epochs do not count")


KINDS = {
    "plain.h5": [_patches],
    "packed.h5": [_patches],
    "ms.tif": [_pair, _fused, _measured],
    "pan.tif": [_pair, _fused],
    "weights.safetensors": [_weights],
    "pnn.pth": [_weights],
    "run/history.csv": [_run],
    "run/run.json": [_run],
    "run/checkpoint.pt": [lambda path: _fit(path.parent.parent, 2)],
}
"""Files of `write_good`, and who reads them."""

REFUSALS = (DataError, RunError, FloatingPointError)


def main() -> None:
    """Damages and reads."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.mutations", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many (1000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (0)")
    parser.add_argument("--seed", type=int, default=0, help="other damages (0)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    outcomes = {"read": 0, "refused": 0}
    with tempfile.TemporaryDirectory() as place:
        good, bad = Path(place, "good"), Path(place, "bad")
        write_good(good)
        for number in range(options.first, options.first + options.count):
            chance = random.Random(f"{options.seed}/{number}")
            name = chance.choice(list(KINDS))
            shutil.copytree(good, bad)
            print(f"{options.seed}/{number}: {name}, {damage(chance, bad / name)}", flush=True)
            for reader in KINDS[name]:
                faulthandler.dump_traceback_later(SECONDS, exit=True)
                try:
                    reader(bad / name)
                    outcomes["read"] += 1
                except REFUSALS:
                    outcomes["refused"] += 1
                faulthandler.cancel_dump_traceback_later()
            shutil.rmtree(bad)
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
