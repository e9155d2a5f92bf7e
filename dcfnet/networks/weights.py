"""Weights on disk: written and read as safetensors, released checkpoints read from .pth."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dcfnet.errors import DataError, unknown
from dcfnet.networks.base import PansharpeningNetwork
from dcfnet.networks.registry import NETWORKS, build_network, network_class
from dcfnet.paths import data_dir, is_file, written_whole

# --- Our own files ----------------------------------------------------------------------------


def save_weights(
    model: PansharpeningNetwork, path: str | Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Writes a network as safetensors, with what `load_weights` needs to build it again.

    The file gets its name once it is complete: a run that is interrupted leaves the old one. Its
    header keeps the metadata beside ``network``, ``bands`` and ``options``.

    Raises:
        ValueError: The network is a copy for inference, which cannot be built again.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    if _shapes(state) != _expected_shapes(model.name, model.bands, **model.options):
        raise ValueError(
            f"this {model.title} does not have the layers that it is built with, as after "
            "fused_for_inference(): save the network that it was made from"
        )
    header = {
        **(metadata or {}),
        "network": model.name,
        "bands": str(model.bands),
        "options": json.dumps(model.options),
    }
    with written_whole(path) as unfinished:
        unfinished.write_bytes(save(state, header))  # save_file would hide it from others


def load_weights(path: str | Path) -> PansharpeningNetwork:
    """The network that `save_weights` wrote, on the CPU and in eval mode.

    Raises:
        DataError: There is no such file, it is not one that `save_weights` wrote, or its values
            are not finite.
    """
    path = _existing(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{path} is a .pth file, not safetensors: if it is a released one, read it with "
            "load_released(name, path), the command's --released"
            if _is_pth(path)
            else f"{path} is not a complete safetensors file ({error}): pass one that "
            "dcfnet.networks.save_weights wrote"
        ) from error
    try:
        kind = header["network"], int(header["bands"])
        options = json.loads(header["options"])
        # Without memory first: a damaged header may ask for a network of any size.
        expected = _expected_shapes(*kind, **options)
    except (KeyError, TypeError, ValueError, ArithmeticError, RuntimeError, MemoryError) as error:
        raise DataError(
            f"{path} does not say which network it holds: expected 'network', 'bands' and "
            f"'options' in its metadata, found {header or 'none'!s:.300} ({error!s:.300}); pass a "
            "file that dcfnet.networks.save_weights wrote"
        ) from error
    title = network_class(kind[0]).title
    if (found := _shapes(state)) != expected:
        raise DataError(f"{path} does not fit a {title}: {_difference(expected, found)}")
    _require_sound(state, path)
    model = build_network(*kind, **options)
    dtype = next((v.dtype for v in state.values() if v.is_floating_point()), torch.float32)
    model.to(dtype).load_state_dict(state)
    return model.eval()


def _require_sound(state: Mapping[str, Tensor], path: Path) -> None:
    """Finite real numbers, counts apart, and no negative variance."""
    for key, value in state.items():
        counts = key.endswith("num_batches_tracked")
        if value.layout != torch.strided or value.is_floating_point() == counts:
            raise DataError(
                f"{path}: {key} holds {value.dtype} ({value.layout}), expected "
                f"{'whole' if counts else 'floating-point'} numbers; copy or train it again"
            )
        if not torch.isfinite(value).all() or (key.endswith("running_var") and value.min() < 0):
            raise DataError(
                f"{path}: {key} holds NaN, infinity or a negative variance, so no image could be "
                "computed; copy or train it again"
            )


def load_trained(name: str, directory: str | Path | None = None) -> PansharpeningNetwork:
    """The network of a training run, with the weights of its best epoch, in eval mode.

    A run has the name of its folder in ``data/runs``, or in another directory: ``"dcfnet"`` or, in
    a folder within, ``"dcfnet/fold1"``. Where a network has runs on folds alone, its name stands
    for that on fold 0.

    Raises:
        DataError: There is no such run, or its weights cannot be read.

    Example:
        >>> model = load_trained("dcfnet")
    """
    runs = Path(directory) if directory is not None else data_dir() / "runs"
    file = "weights.safetensors"
    for path in (runs / name / file, runs / name / "fold0" / file):
        if is_file(path):
            return load_weights(path)
    there = sorted(found.parent.relative_to(runs).as_posix() for found in runs.glob(f"**/{file}"))
    raise DataError(f"{unknown('training run', name, there)} in {runs}, or train the network first")


def fingerprint(model: PansharpeningNetwork) -> str:
    """What tells a network from another, by layout or by weights: a hash of both."""
    layout = getattr(model, "config", type(model).__name__)  # folded for inference or not
    digest = hashlib.sha256(repr(layout).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


# --- Released checkpoints ---------------------------------------------------------------------


def load_released(name: str | None, path: str | Path, bands: int = 8) -> PansharpeningNetwork:
    """A network with the weights that were released with the DLPan-Toolbox, in eval mode.

    Without a name it is the one that the tensors of the file fit, for so many bands. The file, a
    .pth, is a pickle, and read with ``weights_only=True``: one that wants to run code is refused.

    Raises:
        ValueError: No network has that name, or no checkpoint of it was released.
        DataError: There is no such file, or it is not a checkpoint of that network for that
            many bands. Every tensor of the file has a place, and none is missing.

    Example:
        >>> model = load_released("fusionnet", "fusionnet.pth")
    """
    if name and not network_class(name).released_layers:
        known = ", ".join(n for n, c in NETWORKS.items() if c.released_layers)
        raise ValueError(
            f"no released checkpoint of {network_class(name).title} can be read, only of {known}: "
            f"use load_trained({name!r}) or load_weights(path)"
        )
    path = _existing(path)
    released = _read_pth(path)
    for fitting in [name] if name else NETWORKS:
        state = _renamed(network_class(fitting), released)
        if state and _shapes(state) == _expected_shapes(fitting, bands):
            _require_sound(state, path)
            model = build_network(fitting, bands)
            model.load_state_dict(state)
            return model.eval()
    title = network_class(name).title if name else "any network"
    raise DataError(f"{path} is not a checkpoint of {title} for {bands} bands: {_guess(released)}")


def _read_pth(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load lets through whatever its readers raise
        # Its message, which advises to allow code, is no advice to hand on.
        raise DataError(
            f"{path} cannot be read as a file of tensors ({type(error).__name__}): expected a "
            "released .pth checkpoint, complete and with nothing but tensors; a file that holds "
            "other objects is refused, because to read it would run its code"
        ) from None
    if not isinstance(content, Mapping):
        raise DataError(
            f"{path} holds a {type(content).__name__}: expected a dictionary of tensors by name"
        )
    others = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise DataError(
            f"{path} holds more than tensors, namely {', '.join(others[:5])}: expected a "
            "dictionary of tensors by name; if one of these is that dictionary, save it alone"
        )
    # Trained on several GPUs, a network was wrapped in one whose "module" it is.
    wrapped = all(str(key).startswith("module.") for key in content)
    return {str(key).removeprefix("module.") if wrapped else key: v for key, v in content.items()}


def _is_pth(path: Path) -> bool:
    """Whether a file begins as those of torch.save do: today's are archives, older ones pickles."""
    try:
        with path.open("rb") as file:
            return file.read(2) in (b"PK", b"\x80\x02")
    except OSError:
        return False


def _renamed(
    network: type[PansharpeningNetwork], released: Mapping[str, Tensor]
) -> dict[str, Tensor] | None:
    """The released tensors under our names; None if one has no place or two disagree on one."""
    state: dict[str, Tensor] = {}
    for key, value in released.items():
        layer, _, leaf = str(key).rpartition(".")
        if layer not in network.released_layers:
            return None
        name = f"{network.released_layers[layer]}.{leaf}"
        if name in state and not torch.equal(state[name], value):
            return None
        state[name] = value
    return state


def _guess(released: Mapping[str, Tensor]) -> str:
    """What a checkpoint is instead, for the error message."""
    for name, network in NETWORKS.items():
        if network.released_layers and (state := _renamed(network, released)):
            for bands in range(1, 33):
                if _shapes(state) == _expected_shapes(name, bands):
                    return (
                        f"its tensors are those of a {network.title} for {bands} bands; load it "
                        f"with load_released({name!r}, path, bands={bands})"
                    )
    some = ", ".join(f"{key} {tuple(value.shape)}" for key, value in list(released.items())[:3])
    return (
        f"its {len(released)} tensors ({some or 'none'}{', ...' if len(released) > 3 else ''}) fit "
        "no network here; pass the file that was released for this network"
    )


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not is_file(path):
        raise DataError(f"there is no file {path}: pass the path of a file of weights")
    return path


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


def _expected_shapes(name: str, bands: int, **options: Any) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):  # shapes without memory or time
        return _shapes(build_network(name, bands, **options).state_dict())


def _difference(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> str:
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys())
    other = sorted(k for k in expected.keys() & found.keys() if expected[k] != found[k])
    lists = (("missing", missing), ("not expected", extra), ("of another shape", other))
    return "; ".join(f"{what}: {', '.join(names[:5])}" for what, names in lists if names)


def load_released_folder() -> dict[str, PansharpeningNetwork]:
    """All released WorldView-3 networks of the folder $DCFNET_RELEASED_WEIGHTS, in eval mode.

    They are named "PNN, released" and so on; where there is no folder there are none.
    """
    folder = os.environ.get("DCFNET_RELEASED_WEIGHTS")
    files = sorted(Path(folder).glob("*.pth")) if folder else []
    models = [load_released(None, file) for file in files]
    return {f"{NETWORKS[model.name].title}, released": model for model in models}
