"""Damages small, good files in many ways and feeds them to every reader.

    python -m tests.support.mutations [--count N] [--seed S] [--kind KIND] [--keep FOLDER]

A reader may refuse a file with `DataError` (or what its documentation names besides), or read
it; what it reads must then be sound. Anything else is a finding: another exception, NaN in what
was read, a process that dies, a reader that hangs. The readers work in a process of their own,
because C libraries can bring theirs down.

The n-th mutation of a seed is always the same one.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import copy
import dataclasses
import functools
import json
import math
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import h5py
import numpy as np
import rasterio
import rasterio.shutil
import torch
from affine import Affine
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from dcfnet.errors import DataError, RunError
from dcfnet.fusion.below import below
from dcfnet.fusion.files import fuse_files
from dcfnet.imagery.classical import METHODS
from dcfnet.imagery.geotiff import Pair, count_bands
from dcfnet.imagery.pair_check import check_pair
from dcfnet.imagery.pancollection import PatchDataset, check_h5
from dcfnet.imagery.scene import open_scene
from dcfnet.imagery.sensors import WV3
from dcfnet.measure.files import measure_against_truth
from dcfnet.networks import NETWORKS, build_network, load_released, load_trained, load_weights
from dcfnet.networks import save_weights as write_weights
from dcfnet.training.history import COLUMNS, History
from dcfnet.training.loop import fit
from dcfnet.training.plan import Plan
from dcfnet.training.runs import RunFolder, read_run
from tests.support.rasters import write_tif

SECONDS = 20
"""A reader that takes longer than this with one small file hangs, unless told otherwise."""

MEMORY = 4 << 30
"""What the readers' process may take beyond its start, in bytes."""


# --- Good files -------------------------------------------------------------------------------


def _images(seed):
    chance = np.random.default_rng(seed)
    ms = chance.integers(1, 2000, (3, 8, 4, 4)).astype(np.uint16)
    lms = ms.repeat(4, 2).repeat(4, 3)
    return {"gt": lms, "ms": ms, "lms": lms.astype(np.float32), "pan": lms[:, :1]}


def _write_h5(path, **options):
    with h5py.File(path, "w") as file:
        file.attrs["sensor"] = "wv3"
        for key, values in _images(1).items():
            file.create_dataset(key, data=values, **options)


def _released():
    """A state of random numbers under the names that released PNN files have."""
    network = NETWORKS["pnn"]
    ours = build_network("pnn", 8).state_dict()
    return {
        f"{theirs}.{leaf}": ours[f"{layer}.{leaf}"].clone()
        for theirs, layer in network.released_layers.items()
        for leaf in ("weight", "bias")
        if f"{layer}.{leaf}" in ours
    }


class _Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(5, 4, 3, padding=1)

    def forward(self, pan, ms, lms):
        return self.layer(torch.cat((pan, lms), 1))


def _patches(count):
    chance = torch.Generator().manual_seed(count)
    sizes = {"pan": (1, 16, 16), "ms": (4, 4, 4), "lms": (4, 16, 16), "gt": (4, 16, 16)}
    return [{k: torch.rand(s, generator=chance) for k, s in sizes.items()} for _ in range(count)]


def _fit(folder, epochs, resume):
    torch.manual_seed(0)
    plan = Plan(epochs=epochs, average=0.9, precision="fp32", batch_size=2)
    return fit(
        _Small(),
        _patches(4),
        _patches(2),
        plan,
        run_dir=folder,
        resume=resume,
        device="cpu",
        progress=False,
    )


def write_good(folder: Path) -> None:
    """One good file, pair of files or run of each kind."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_h5(folder / "plain.h5")
    _write_h5(folder / "packed.h5", chunks=True, compression="gzip", fletcher32=True)
    chance = np.random.default_rng(2)
    ms = chance.integers(1, 2047, (8, 16, 16), dtype=np.uint16)
    pan = chance.integers(1, 2047, (1, 64, 64), dtype=np.uint16)
    write_tif(folder / "ms.tif", ms, 2.0, nodata=0)
    write_tif(folder / "pan.tif", pan, 0.5, compress="deflate", predictor=2)
    run = folder / "run"
    torch.manual_seed(0)
    write_weights(build_network("dcfnet", 4, width=0.05), run / "weights.safetensors")
    row = dict.fromkeys(COLUMNS, 0.5)
    History([{**row, "epoch": e, "valid_loss": 1 / e} for e in range(1, 9)]).write(
        run / "history.csv"
    )
    settings = {
        "network": "dcfnet",
        "options": {"width": 0.05},
        "batch_size": 32,
        "train": {"patches": 361},
    }
    (run / "run.json").write_text(json.dumps({"settings": settings, "epochs": 8}))
    torch.save(_released(), folder / "pnn.pth")
    _fit(folder / "trained", 1, resume=False)


# --- Damages to the bytes ---------------------------------------------------------------------


def _bytes_damaged(chance: random.Random, path: Path) -> str:
    content = bytearray(path.read_bytes())
    # Headers matter most and are short: half of the damages hit the first bytes.
    reach = min(len(content), 2048) if chance.random() < 0.5 else len(content)
    at = chance.randrange(reach)
    length = min(chance.choice((1, 2, 4, 8, 64, 512)), len(content) - at)
    how = chance.choice(
        ("flip", "flips", "truncate", "zero", "ones", "repeat", "insert", "remove", "swap", "text")
    )
    if how in ("flip", "flips"):
        for _ in range(1 if how == "flip" else 20):
            content[chance.randrange(reach)] ^= 1 << chance.randrange(8)
    elif how == "truncate":
        del content[at:]
    elif how == "zero":
        content[at : at + length] = bytes(length)
    elif how == "ones":
        content[at : at + length] = b"\xff" * length
    elif how == "repeat":
        content[at:at] = content[at : at + length]
    elif how == "insert":
        content[at:at] = chance.randbytes(length)
    elif how == "remove":
        del content[at : at + length]
    elif how == "swap":
        other = chance.randrange(len(content) - length + 1)
        one, two = content[at : at + length], content[other : other + length]
        content[at : at + length], content[other : other + length] = two, one
    else:
        content[at : at + length] = (b"-1e999,nan;{[" * 40)[:length]
    path.write_bytes(content)
    return f"{how} at {at}"


def _replaced(chance: random.Random, path: Path) -> str:
    """Something that is no file of this kind at all stands in its place."""
    how = chance.choice(
        ("empty", "folder", "no file", "dangling link", "link to itself", "pipe", "other", "text")
    )
    content = path.read_bytes()
    path.unlink()
    if how == "empty":
        path.touch()
    elif how == "folder":
        path.mkdir()
    elif how == "dangling link":
        path.symlink_to("nowhere")
    elif how == "link to itself":
        path.symlink_to(path.name)
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "other":
        path.write_bytes(chance.choice((b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"II*\0")) + content)
    elif how == "text":
        path.write_text(chance.choice(("[" * 100_000, "\0" * 9, "{}", "\ufeffepoch", "null", "0")))
    return how


# --- Damages to what the files say ------------------------------------------------------------

_ODD = (math.nan, math.inf, -math.inf, -1.0, 1e30, 0.0, 65535.0)


def _h5_damaged(chance: random.Random, path: Path) -> str:
    how = chance.choice(
        ("value", "dtype", "shape", "attribute", "link", "group", "null", "huge", "compound")
    )
    key = chance.choice(("gt", "ms", "lms", "pan"))
    with h5py.File(path, "r+") as file:
        values = file[key][()]
        if how == "attribute":
            odd = (b"wv3", b"\xff\xfe", "nonsense", 7, np.array(["wv3"] * 3, "S3"), h5py.Empty("f"))
            file.attrs["sensor"] = chance.choice(odd)
            return f"attribute {file.attrs['sensor']!r}"
        del file[key]
        if how == "value":
            values = values.astype(np.float64)
            values.flat[chance.randrange(values.size)] = chance.choice(_ODD)
            file[key] = values
        elif how == "dtype":
            kind = chance.choice(("S4", "f2", "i1", "u8", "c8", "?", ">f8", ">i2", "f16", "V4"))
            file[key] = (
                np.zeros(values.shape, kind) if kind in ("S4", "V4") else values.astype(kind)
            )
            how += f" {kind}"
        elif how == "shape":
            cut = [slice(chance.choice((0, 1, 2, n, n))) for n in values.shape]
            file[key] = values[tuple(cut)] if chance.random() < 0.7 else values.reshape(-1)
        elif how == "link":
            link = chance.choice((h5py.SoftLink("/x"), h5py.ExternalLink("a", "/b")))
            file[key] = chance.choice((link, h5py.SoftLink(f"/{key}"), h5py.SoftLink("/")))
        elif how == "group":
            file.create_group(key)
        elif how == "null":
            file[key] = h5py.Empty("f4")
        elif how == "huge":  # no bytes, a shape alone
            for each in ("gt", "ms", "lms", "pan"):
                with contextlib.suppress(KeyError):
                    del file[each]
            side = chance.choice((1 << 16, 1 << 20))
            for each, (bands, size) in {
                "gt": (8, side),
                "ms": (8, side // 4),
                "lms": (8, side),
                "pan": (1, side),
            }.items():
                file.create_dataset(each, (3, bands, size, size), "u2", chunks=(1, 1, 64, 64))
        else:
            file[key] = np.zeros(values.shape, [("a", "f4"), ("b", "i2")])
    return f"{how} of {key}"


def _tif_damaged(chance: random.Random, path: Path) -> str:
    kinds = (
        "dtype",
        "value",
        "transform",
        "crs",
        "nodata",
        "size",
        "bands",
        "huge",
        "names",
        "gaps",
        "mask",
        "files",
        "places",
    )
    how = chance.choice((*kinds, "layout"))
    with rasterio.open(path) as file:
        image, pixel = file.read(), file.transform.a
    extra: dict = {}
    if how == "dtype":
        kinds = ("u1", "i1", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "c8", "c16", "complex_int16")
        kind = chance.choice(kinds)
        if kind == "complex_int16":
            extra["dtype"], kind = kind, "c8"
        image = image.astype(kind)
    elif how == "value":
        image = image.astype(chance.choice(("f4", "i4", "u4")))
        odd = [v for v in _ODD if image.dtype.kind == "f" or (math.isfinite(v) and 0 <= v < 1e9)]
        image[:, 3:5] = chance.choice(odd)
    elif how == "transform":
        pixel = chance.choice((0.0, math.nan, math.inf, -pixel, 1e-300, 1e300, pixel * 1.01))
        if chance.random() < 0.4:
            pixel = 1.0
            extra["transform"] = Affine(*(chance.choice((0, 1, -1, 0.5, 1e9)) for _ in range(6)))
    elif how == "crs":
        extra["crs"] = chance.choice((None, "EPSG:4326", "LOCAL_CS['x']"))
    elif how == "nodata":
        extra["nodata"] = chance.choice((65535, 1, 2047, int(image[0, 0, 0])))
        if chance.random() < 0.5:  # a value that pixels of this type cannot have
            odd = chance.choice(("nan", "inf", "-9999", "70000", "1e300", "0.5", "x", ""))
            path.unlink()
            write_tif(path, image, pixel)
            with rasterio.open(path, "r+") as file:
                file.nodata = 7  # makes the tag
            path.write_bytes(_tag_replaced(path.read_bytes(), 42113, odd))
            return f"nodata {odd!r}"
    elif how == "size":
        image = image[:, : chance.choice((1, 3, 9)), : chance.choice((1, 3, 9))]
    elif how == "bands":
        image = image[:1].repeat(chance.choice((1, 2, 4, 8, 9)), 0)
    elif how == "names":
        odd = chance.choice(("<&>]]>", "\x01", "\u00e4\u4e00", "x" * 10_000, "\n", "'\""))
        path.unlink()
        write_tif(path, image, pixel)
        with rasterio.open(path, "r+") as file:
            file.set_band_description(1, odd)
        return f"name {odd[:9]!r}"
    elif how == "gaps":
        image[:, chance.randrange(image.shape[1]) :] = 0
        image[:, :, : chance.choice((0, 5, image.shape[2]))] = 0
    elif how == "layout":
        extra = chance.choice(
            (
                {"tiled": True, "blockxsize": 16, "blockysize": 16},
                {"tiled": True, "blockxsize": 1024, "blockysize": 1024, "sparse_ok": True},
                {"interleave": "pixel", "compress": "zstd"},
                {"interleave": "band", "compress": "lzw", "predictor": 2, "bigtiff": "yes"},
                {"photometric": "rgb", "alpha": "yes"},
                {"endianness": "big", "nbits": 12},
                {"driver": "PNG"},
                {"driver": "ENVI"},
            )
        )
        if extra.get("driver") == "PNG":
            image = image[:1]
    elif how == "mask":
        kind = chance.choice(("of the dataset", "alpha", "per band", "by tags"))
        if kind == "alpha":
            image = np.concatenate([image, image[:1] * chance.choice((0, 1))])
            extra["alpha"] = "yes"
        path.unlink()
        write_tif(path, image, pixel, **extra)
        with rasterio.open(path, "r+") as file:
            if kind == "of the dataset":
                mask = np.full(file.shape, 255, np.uint8)
                mask[: chance.choice((0, 5, 99))] = 0
                file.write_mask(mask)
            elif kind == "by tags":
                odd = chance.choice(("1 " * len(image), "x", "1 2", "1e999 " * len(image)))
                file.update_tags(NODATA_VALUES=odd)
            elif kind == "per band":
                file.close()
                _behind_vrt(path, "<NoDataValue>{odd}</NoDataValue>", chance)
        return f"mask {kind}"
    elif how == "files":
        return _behind_vrt(path, chance.choice(("", "<Scale>x</Scale>", "<LUT>1:2</LUT>")), chance)
    elif how == "places":
        odd = chance.choice(("x", "", "nan", "1e999", "1 2 3", "0"))
        path.with_name(path.name + ".aux.xml").write_text(
            f'<PAMDataset><Metadata domain="RPC"><MDI key="LINE_OFF">{odd}</MDI>'
            f"</Metadata><GCPList Projection='{odd}'><GCP Id='' Pixel='{odd}' Line='1' X='2' "
            "Y='3'/></GCPList></PAMDataset>"
        )
        return f"places {odd!r}"
    else:  # a sparse file that claims to be large
        path.unlink()
        side = chance.choice((100_000, 200_000))  # more than the readers may take
        profile = {"driver": "GTiff", "count": len(image), "dtype": "uint16", "tiled": True}
        profile |= {"height": side, "width": side, "sparse_ok": True, "bigtiff": "yes"}
        with rasterio.open(path, "w", **profile):
            pass
        return f"huge {side}"
    path.unlink()
    write_tif(path, image, pixel, **extra)
    return f"{how} {extra or pixel if how != 'dtype' else image.dtype}"


def _behind_vrt(path: Path, of_band: str, chance: random.Random) -> str:
    """The file becomes a VRT of another, which has gone at times."""
    source = path.with_name(f"behind_{path.name}")
    path.rename(source)
    rasterio.shutil.copy(source, path, driver="VRT")
    bands = [chance.choice(("1", "70000", "nan", "x", "-1")) for _ in range(9)]
    parts = path.read_text().split("<SimpleSource>")
    text = parts[0] + "".join(
        of_band.format(odd=odd) + "<SimpleSource>" + part
        for odd, part in zip(bands, parts[1:], strict=False)
    )
    path.write_text(text)
    if chance.random() < 0.2:
        source.unlink()
    return f"files {of_band} {bands}"


def _tag_replaced(content: bytes, tag: int, text: str) -> bytes:
    """A classic, little-endian TIFF with a short text in one of its tags."""
    content = bytearray(content)
    start = int.from_bytes(content[4:8], "little")
    for entry in range(int.from_bytes(content[start : start + 2], "little")):
        at = start + 2 + 12 * entry
        if int.from_bytes(content[at : at + 2], "little") == tag:
            data = text.encode() + b"\0"
            content[at + 4 : at + 8] = len(data).to_bytes(4, "little")
            if len(data) <= 4:
                content[at + 8 : at + 12] = data.ljust(4, b"\0")
            else:
                content[at + 8 : at + 12] = len(content).to_bytes(4, "little")
                content += data
            return bytes(content)
    raise ValueError(f"there is no tag {tag}")


_ODD_JSON = (
    None,
    -1,
    0,
    10**30,
    1e300,
    math.nan,
    math.inf,
    True,
    "",
    "nan",
    "../..",
    [],
    [1],
    {},
    {"a": 1},
)


def _weights_damaged(chance: random.Random, path: Path) -> str:
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    state = load_file(path)
    key = chance.choice(sorted(state))
    how = chance.choice(
        ("value", "dtype", "shape", "missing", "more", "network", "bands", "options", "no header")
    )
    if how == "value":
        odd = chance.choice(_ODD) if state[key].is_floating_point() else -1
        state[key].reshape(-1)[:1].fill_(odd)
        how += f" {odd}"
    elif how == "dtype":
        names = ("float16", "bfloat16", "float64", "int8", "int64", "bool", "complex64")
        kind = getattr(torch, chance.choice(names))
        which = [key] if chance.random() < 0.5 else list(state)
        state |= {k: state[k].to(kind) for k in which}
        how += f" {kind} of {len(which)}"
    elif how == "shape":
        state[key] = chance.choice((state[key].reshape(-1)[:0], state[key][None].clone()))
    elif how == "missing":
        del state[key]
    elif how == "more":
        state[chance.choice(("more", "", "\0", key + ".more"))] = torch.zeros(2)
    elif how == "network":
        header["network"] = chance.choice((*NETWORKS, "", "nonsense", "\0"))
    elif how == "bands":
        header["bands"] = chance.choice(("-1", "0", "1e9", "999999999999", "nan", "9" * 5000, "8"))
    elif how == "options":
        options = json.loads(header["options"])
        if chance.random() < 0.6:
            options[chance.choice((*options, "more", "bands", "name"))] = chance.choice(_ODD_JSON)
            header["options"] = json.dumps(options)
        else:
            header["options"] = chance.choice(("", "[]", "null", "[" * 100_000, '{"": 1}', "7"))
        how += " " + header["options"][:60]
    else:
        header = None
    save_file(state, path, metadata=header)
    return f"{how} of {key}"


def _torch_damaged(chance: random.Random, path: Path) -> str:
    """A .pth or checkpoint with one leaf changed, removed or added anywhere."""
    content = torch.load(path, weights_only=True)
    if chance.random() < 0.1:
        odd = chance.choice((None, 3, [], {}, torch.zeros(3), {"format": 1}, "text", [{}]))
        torch.save(odd, path)
        return f"all replaced by {odd!r}"
    spot, where = content, []
    while True:
        keys = list(spot) if isinstance(spot, dict) else range(len(spot))
        key = chance.choice(keys)
        where.append(key)
        value = spot[key]
        deeper = isinstance(value, dict | list) and len(value)
        if not deeper or chance.random() < 0.15:
            break
        spot = value
    how = chance.choice(("remove", "odd", "tensor", "shape", "dtype", "value", "key"))
    if how == "remove":
        del spot[key]
    elif how == "key" and isinstance(spot, dict):
        spot[chance.choice((7, "x", ("a", 1)))] = spot.pop(key)
    elif how == "tensor":
        odd = (torch.zeros(()), torch.zeros(0), torch.zeros(2, 2).to_sparse(), torch.zeros(3) + 1j)
        spot[key] = chance.choice(odd)
    elif isinstance(value, torch.Tensor) and how == "shape":
        spot[key] = value[None]
    elif isinstance(value, torch.Tensor) and how == "dtype":
        spot[key] = value.to(chance.choice((torch.float16, torch.int64, torch.complex64)))
    elif isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel():
        spot[key] = value.clone()
        spot[key].reshape(-1)[-1:] = chance.choice(_ODD)
    else:
        spot[key] = copy.deepcopy(chance.choice(_ODD_JSON))
        how = f"{spot[key]!r}"
    torch.save(content, path)
    return f"{how} at {'/'.join(map(str, where))}"


def _table_damaged(chance: random.Random, path: Path) -> str:
    lines = path.read_text().splitlines()
    at = chance.randrange(len(lines))
    how = chance.choice(("cell", "cells", "remove", "repeat", "swap", "encoding", "quote", "more"))
    cells = lines[at].split(",")
    odd = chance.choice(("nan", "inf", "-1", "", "1e999", "x", "1_0", " 3 ", "٣", "9" * 5000, "\0"))
    if how == "cell":
        cells[chance.randrange(len(cells))] = odd
    elif how == "cells":
        del cells[chance.randrange(len(cells)) :]
    lines[at] = ",".join(cells)
    if how == "remove":
        del lines[at]
    elif how == "repeat":
        lines.insert(at, lines[at])
    elif how == "swap":
        lines[at], lines[-1] = lines[-1], lines[at]
    elif how == "quote":
        lines[at] = '"' + "x" * chance.choice((1, 200_000)) + lines[at]
    elif how == "more":
        lines[at] += ",1,2,3"
    path.write_text("\n".join(lines) + "\n", "utf-16" if how == "encoding" else "utf-8")
    return f"{how} {odd[:9]!r} in line {at}"


def _record_damaged(chance: random.Random, path: Path) -> str:
    record = json.loads(path.read_text())
    spot = chance.choice((record, record["settings"], record["settings"], *_inner(record)))
    key = chance.choice(list(spot))
    odd = chance.choice(_ODD_JSON)
    if chance.random() < 0.2:
        del spot[key]
        odd = "removed"
    else:
        spot[key] = odd
    path.write_text(json.dumps(record))
    return f"{key} {odd!r}"


def _inner(record):
    return record["settings"]["train"], record["settings"]["options"]


# --- Readers ----------------------------------------------------------------------------------


def _require(sound, what):
    if not sound:
        raise AssertionError(f"read without complaint, but {what}")


def _read_check_h5(folder, name):
    check_h5(folder / name)
    data = PatchDataset(folder / name)  # a file that passes can be used
    for i in range(len(data)):
        patch = data[i]
        _require(all(torch.isfinite(v).all() for v in patch.values()), "a patch is not finite")
        _require(all(v.max() <= 2 for v in patch.values()), "a patch is not in range")


def _read_dataset(folder, name):
    data = PatchDataset(folder / name)
    for i in range(len(data)):
        patch = data[i]
        _require(patch["lms"].shape == (8, *patch["pan"].shape[1:]), "its shapes do not fit")


def _read_scene(folder, name):
    scene = open_scene(folder / "ms.tif", folder / "pan.tif", WV3)
    _require(scene.ms.dtype == scene.pan.dtype == np.uint16, "its type is another")
    _require(max(scene.ms.max(), scene.pan.max()) <= WV3.max_value, "its values are too large")
    if scene.transform is not None:
        _require(np.isfinite(scene.transform[:6]).all(), "it lies nowhere")


@functools.cache
def _network():
    torch.manual_seed(0)
    return build_network("dicnn", 8)


def _read_fuse(folder, name):
    out = folder / "new" / "out.tif"
    try:
        fuse_files(
            _network(), folder / "ms.tif", folder / "pan.tif", out, WV3, tile=32, overlap=8,
            device="cpu",
        )  # fmt: skip
    finally:
        left = [path.name for path in out.parent.glob("*") if path != out]
        _require(not left, f"{left} were left")
        complete = out.exists()
        if complete:  # whatever is there can be read
            with rasterio.open(out) as file:
                image, nodata = file.read(), file.nodata
            shutil.rmtree(out.parent)
    _require(complete, "there is no result")
    data = (image != nodata).any(axis=0)
    _require(np.isfinite(nodata), "what is no data is not finite")
    _require(np.can_cast(np.min_scalar_type(int(nodata)), image.dtype) or nodata == 0, "no data?")
    _require(image.shape[0] == 8 and not (set(image.shape[1:]) - set(range(4, 65, 4))), "its size")
    _require((image[:, data] >= 1).all() and (image[:, data] <= 2047).all(), "its values")


def _read_check_pair(folder, name):
    pair = folder / "ms.tif", folder / "pan.tif"
    count_bands(folder / name)
    found = check_pair(*pair, WV3, resample=True)
    _require(len(found.bands) == 9 and found.lines, "bands are missing")
    _require((found.bands["max"] <= WV3.max_value).all(), "its values are too large")


def _read_below(folder, name):
    with Pair(folder / "ms.tif", folder / "pan.tif", WV3, resample=True) as pair:
        for block in below(pair).blocks:
            _require(np.isfinite(block.lms).all() and block.gt.max() <= WV3.max_value, "no block")


def _read_by_method(folder, name):
    out = folder / "by_method.tif"
    fuse_files(
        METHODS["mtf-glp-fs"], folder / "ms.tif", folder / "pan.tif", out, WV3, tile=32, overlap=8
    )
    with rasterio.open(out) as file:
        _require(file.count == 8, "bands are missing")
    out.unlink()


def _read_measured(folder, name):
    path = folder / "ms.tif"
    found = measure_against_truth(path, path, WV3)
    _require(not found["sam"] > 1e-3 and not found["ergas"] > 1e-3, "it is not like itself")


def _require_sound(model):
    for key, value in model.state_dict().items():
        _require(torch.isfinite(value).all(), f"{key} is not finite")
        _require(not key.endswith("running_var") or (value >= 0).all(), f"{key} is negative")
        counts = key.endswith("num_batches_tracked")
        _require(counts or value.is_floating_point(), f"{key} is {value.dtype}")


def _read_weights(folder, name):
    _require_sound(load_weights(folder / name))


def _read_trained(folder, name):
    _require_sound(load_trained("run", folder))


def _read_released(folder, name):
    _require_sound(load_released("pnn", folder / name))


def _require_rows(history):
    _require(history["epoch"].tolist() == [*range(1, len(history) + 1)], "its epochs do not count")
    for column in ("train_loss", "valid_loss"):
        _require(not np.isnan(history[column]).any(), f"{column} holds NaN")


def _read_history(folder, name):
    history = History.read(folder / name)
    _require_rows(history)
    history.best_epoch(), history.optimal_epoch(3)


def _read_record(folder, name):
    run = read_run("run", folder)
    _require_rows(run.history)
    _require(isinstance(run.steps_per_epoch, int), "an epoch has no whole number of steps")


def _read_checkpoint(folder, name):
    RunFolder(folder / "trained").load()


def _read_fit(folder, name):
    history = _fit(folder / "trained", 2, resume=True)
    _require_rows(history)


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of file: where it lies, how to damage what it says, who reads it."""

    files: tuple[str, ...]
    damage: object
    readers: tuple[object, ...]
    allowed: tuple[type[Exception], ...] = (DataError,)
    weight: int = 2


KINDS = {
    "hdf5": Kind(("plain.h5", "packed.h5"), _h5_damaged, (_read_check_h5, _read_dataset), weight=5),
    "geotiff": Kind(
        ("ms.tif", "pan.tif"),
        _tif_damaged,
        (_read_scene, _read_fuse, _read_check_pair, _read_below, _read_by_method, _read_measured),
        weight=4,
    ),
    "safetensors": Kind(
        ("run/weights.safetensors",), _weights_damaged, (_read_weights, _read_trained), weight=3
    ),
    "pth": Kind(("pnn.pth",), _torch_damaged, (_read_released,)),
    "history": Kind(("run/history.csv",), _table_damaged, (_read_history,)),
    "record": Kind(("run/run.json",), _record_damaged, (_read_record,)),
    "checkpoint": Kind(
        ("trained/checkpoint.pt",),
        _torch_damaged,
        (_read_checkpoint, _read_fit),
        (DataError, RunError, FloatingPointError),
        weight=3,
    ),
}


def damage(folder: Path, seed: int, number: int, kind: str | None = None) -> tuple[str, str, str]:
    """Damages one of the good files in a folder, of any kind unless one is given.

    Returns:
        Kind of file, its name, and what was done to it.
    """
    chance = random.Random(f"{seed}/{number}")
    drawn = chance.choices(list(KINDS), [k.weight for k in KINDS.values()])[0]
    kind = kind or drawn
    name = chance.choice(KINDS[kind].files)
    share = chance.random()
    if share < 0.06:
        done = "replaced: " + _replaced(chance, folder / name)
    elif share < 0.5:
        done = "bytes: " + _bytes_damaged(chance, folder / name)
    else:
        done = "content: " + KINDS[kind].damage(chance, folder / name)
    return kind, name, done


# --- The run ----------------------------------------------------------------------------------


def _work(pipe):
    """Reads what it is told to until the pipe ends; in a process of its own."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with Path("/proc/self/statm").open() as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)  # libtiff and HDF5 write there
    pipe.send(("ready", ""))
    while True:
        try:
            kind, place, folder, name = pipe.recv()
        except EOFError:
            return
        try:
            KINDS[kind].readers[place](Path(folder), name)
            pipe.send(("read", ""))
        except KINDS[kind].allowed as error:
            pipe.send(("refused", str(error)))
        except Exception:
            pipe.send(("FOUND", traceback.format_exc()))


class Reader:
    """A process of readers, started anew when it dies or hangs."""

    def __init__(self, seconds):
        self._seconds = seconds
        self._context = multiprocessing.get_context("spawn")
        self._process = None

    def _start(self):
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(target=_work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.poll(120)
        self._pipe.recv()

    def read(self, kind, place, folder, name):
        if self._process is None:
            self._start()
        self._pipe.send((kind, place, str(folder), name))
        try:
            if self._pipe.poll(self._seconds):
                return self._pipe.recv()
            outcome = ("FOUND", f"hangs for more than {self._seconds} seconds\n")
        except (EOFError, ConnectionResetError):
            self._process.join()
            outcome = ("FOUND", f"died with code {self._process.exitcode}\n")
        self.close()
        return outcome

    def close(self):
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None


def mutate(numbers, seed=0, keep=None, progress=None, only=None, seconds=SECONDS):
    """Damages and reads.

    Args:
        numbers: Which mutations of the seed.
        seed: What decides them.
        keep: A folder for the files of findings.
        progress: Called with each finding's text as it comes.
        only: The one kind of file to damage.
        seconds: A reader that takes longer than this hangs.

    Returns:
        Counts by (kind, reader, outcome), and the texts of the findings.
    """
    counts, findings = collections.Counter(), []
    reader = Reader(seconds)
    with tempfile.TemporaryDirectory() as place:
        good = Path(place, "good")
        write_good(good)
        try:
            for number in numbers:
                folder = Path(place, "bad")
                shutil.copytree(good, folder)
                kind, name, done = damage(folder, seed, number, only)
                for i, function in enumerate(KINDS[kind].readers):
                    outcome, text = reader.read(kind, i, folder, name)
                    who = function.__name__.removeprefix("_read_")
                    counts[kind, who, outcome] += 1
                    if outcome == "FOUND":
                        findings.append(f"{seed}/{number} {name}, {done}, {who}: {text}")
                        if progress:
                            progress(findings[-1])
                        if keep:
                            with contextlib.suppress(shutil.Error):  # no copy of pipes
                                shutil.copytree(
                                    folder, Path(keep, str(number)), True, dirs_exist_ok=True
                                )
                shutil.rmtree(folder)
        finally:
            reader.close()
    return counts, findings


def main(argv: list[str] | None = None) -> int:
    """The command; 1 if there are findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.mutations", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many (1000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (0)")
    parser.add_argument("--seed", type=int, default=0, help="other damages (0)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"to read one ({SECONDS})")
    parser.add_argument("--kind", choices=KINDS, help="damage files of this kind alone")
    parser.add_argument("--keep", type=Path, help="folder for the files of findings")
    options = parser.parse_args(argv)
    numbers = range(options.first, options.first + options.count)
    counts, findings = mutate(
        numbers,
        options.seed,
        options.keep,
        lambda text: print(text, flush=True),
        options.kind,
        options.seconds,
    )
    print(f"{options.count} mutations, {sum(counts.values())} readings, {len(findings)} findings")
    print(f"{'file':<12} {'reader':<12} {'refused':>8} {'read':>8} {'found':>8}")
    for kind, who in sorted({key[:2] for key in counts}):
        numbers = (counts[kind, who, outcome] for outcome in ("refused", "read", "FOUND"))
        print(f"{kind:<12} {who:<12} " + " ".join(f"{n:>8}" for n in numbers))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
