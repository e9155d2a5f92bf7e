"""The files that bring a network into a reader's page: the runtime, the weights, the graphs.

A page that is read from disk may load scripts and nothing else, so everything travels as scripts:
compressed, in base64, in pieces of a megabyte, so that a page can say how much has come. They are
made when the book is built, from the weights in ``data/runs``, and belong into ``_static``:
``live.js``, which a page includes, and the folder ``live``, which is asked for on a click.
"""

from __future__ import annotations

import base64
import copy
import gzip
import json
import struct
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dcfnet.networks.dcfnet import DCFNet
from dcfnet.paths import written_whole
from dcfnet.show.live.graphs import MARGIN, Weights, interpolating, model_of
from dcfnet.show.live.trace import trace

_PIECE = 1 << 20
"""Characters of base64 in a script, a multiple of 4: each piece can be decoded by itself."""

_LEVELS = 65535
_FEW = 1024
"""Weights of fewer numbers are not rounded."""

_LICENCES = ("LICENSE", "ThirdPartyNotices.txt", "geotiff-LICENSES.txt")
"""Of the runtime, of the reader of GeoTIFFs, and of what they contain: they go with every copy."""


def rounded(model: DCFNet) -> DCFNet:
    """The network as it is packed: the same, but for the rounding of its large convolutions.

    A weight becomes a whole number between -65535 and 65535 times 1/65535 of the largest weight
    of its output channel, which takes half the room. The fused image changes by some hundredths of
    a digital number at most. Batch normalisation multiplies output channels: what it makes of such
    weights is exact again.

    Returns:
        A copy in eval mode. What a page computes agrees with it up to the rounding of sums.
    """
    copied = copy.deepcopy(model).to("cpu", torch.float32).eval()
    with torch.no_grad():
        for module in copied.modules():
            if isinstance(module, nn.Conv2d) and module.weight.numel() >= _FEW:
                step, count = _steps(module.weight.numpy())
                module.weight.copy_(torch.from_numpy(count * step))
    return copied


def _steps(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A step for each output channel, float32, and how many of them each weight is."""
    largest = np.abs(weight).max(axis=(1, 2, 3), keepdims=True)
    step = np.where(largest > 0, largest, 1) / np.float32(_LEVELS)
    return step, np.rint(weight / step)


def write(folder: str | Path, models: Mapping[str, DCFNet]) -> dict[str, int]:
    """Writes all files that pages with a live network need, for all pages together.

    Args:
        folder: The pages' ``_static``.
        models: By the name that pages load them by. They are rounded, see `rounded`.

    Returns:
        How many bytes each file has, by its path below the folder.

    Raises:
        RuntimeError: A model is a copy for inference, whose parts hold other values.
    """
    scripts = {"runtime": _runtime()}
    for name, model in models.items():
        scripts[name] = _scripts(name, gzip.compress(_container(model), mtime=0))
    offers = {
        name: {file: len(text) for file, text in parts.items()} for name, parts in scripts.items()
    }
    texts = {"live.js": _source("engine.js") + f"dcfnetLive.offers = {json.dumps(offers)};\n"}
    texts |= {f"live/{name}": _source(f"vendor/{name}") for name in ("geotiff.js", *_LICENCES)}
    for parts in scripts.values():
        texts |= parts
    sizes = {}
    for name, text in texts.items():
        with written_whole(Path(folder) / name) as unfinished:
            sizes[name] = unfinished.write_bytes(text.encode())
    return sizes


def _source(name: str) -> str:
    return files("dcfnet.show.live").joinpath(name).read_text("utf-8")


def _runtime() -> dict[str, str]:
    """ONNX Runtime as it comes from its makers, and the worker that uses it."""
    code = _source("vendor/ort.js") + _source("worker.js")
    wasm = files("dcfnet.show.live").joinpath("vendor/ort.wasm.gz").read_bytes()
    script = f"dcfnetLive.receive('code', 0, {json.dumps(code)});\n"
    return {"live/runtime-code.js": script, **_scripts("runtime", wasm)}


def _scripts(name: str, content: bytes) -> dict[str, str]:
    text = base64.b64encode(content).decode()
    pieces = [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
    return {
        f"live/{name}-{i}.js": f'dcfnetLive.receive("{name}", {i}, "{piece}");\n'
        for i, piece in enumerate(pieces)
    }


def _container(model: DCFNet) -> bytes:
    """A network as one piece: the length of a description, the description, and what it lists.

    The description is JSON: the names of gates and matrices, each part's activations, alpha and
    piece of the way back, the lengths of the models, and for each weight how it is written. Models
    and weights follow in that order.
    """
    made = trace(rounded(model))
    weights = Weights()
    models = {
        "fused": model_of(made, made.forward, weights, outputs=["fused"]),
        "forward": model_of(made, made.forward, weights),
        "lms": interpolating(model.bands),
        **{f"backward{i}": model_of(made, piece, weights) for i, piece in enumerate(made.backward)},
    }
    graphs = {name: proto.SerializeToString() for name, proto in models.items()}
    tensors, blobs = [], list(graphs.values())
    for array in weights.arrays:
        whole = array.ndim == 4 and array.size >= _FEW
        tensors.append([array.size, len(array) if whole else 0])
        blobs.append(_in_steps(array) if whole else array.tobytes())
    description = {
        "title": model.title,
        "bands": model.bands,
        "gates": made.gates,
        "matrices": made.matrices,
        "margin": MARGIN,
        "layers": {layer: [*names, made.way_back(layer)] for layer, names in made.layers.items()},
        "graphs": {name: len(graph) for name, graph in graphs.items()},
        "weights": tensors,
    }
    head = json.dumps(description).encode()
    return struct.pack("<I", len(head)) + head + b"".join(blobs)


def _in_steps(weight: np.ndarray) -> bytes:
    """Steps, then low bytes, high bytes and signs of the counts: alike numbers lie together."""
    step, count = _steps(weight)
    sizes = np.abs(count).astype("<u2").reshape(-1, 1).view(np.uint8)
    signs = np.packbits(count.ravel() < 0, bitorder="little")
    return (
        step.astype("<f4").tobytes()
        + sizes[:, 0].tobytes()
        + sizes[:, 1].tobytes()
        + signs.tobytes()
    )
