"""A training run on disk: its history, its checkpoint, its record, and who may write them."""

import contextlib
import hashlib
import io
import json
import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors.torch import save
from torch import nn

from dcfnet.errors import DataError, RunError
from dcfnet.networks import (
    NETWORKS,
    PansharpeningNetwork,
    build_network,
    count_operations,
    save_weights,
)
from dcfnet.paths import data_dir, is_file, written_whole
from dcfnet.training.history import History


class RunFolder:
    """The folder of a run, held by one process at a time; it is made if need be.

    ``checkpoint.pt`` alone is the truth: all that is needed to go on, in one file that is
    replaced as a whole. ``history.csv``, ``weights.safetensors`` and ``run.json`` follow from it
    and are written after it, so whatever interrupts a run, the next one puts them right.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.checkpoint = self.path / "checkpoint.pt"
        self.weights = self.path / "weights.safetensors"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other processes out; the system ends this with the process, however it ends."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise RunError(
                f"another process is training in {self.path}: wait for it, stop it, or choose "
                "another run_dir"
            ) from None
        try:
            for unfinished in (*self.path.glob(".*.part"), *self.path.glob(".*.tmp")):
                unfinished.unlink(missing_ok=True)  # left by a process that was killed
            yield
        finally:
            lock.release()

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint. The state holds tensors, numbers, strings, lists and dicts."""
        content = io.BytesIO()
        torch.save({"format": 1, **state}, content)
        with self._clear_failure("the checkpoint"), written_whole(self.checkpoint) as temporary:
            temporary.write_bytes(content.getbuffer())

    def load(self) -> dict[str, Any]:
        """The state that was last saved, on the CPU."""
        try:
            if not self.checkpoint.is_file():  # to open a pipe would wait for ever
                raise ValueError("no file")
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            if state["format"] != 1:
                raise ValueError(f"format {state['format']}")
        except Exception:  # torch.load lets through whatever its readers raise
            raise DataError(
                f"{self.checkpoint} is no checkpoint of this trainer, or is damaged: copy it "
                "again, or remove it to start afresh"
            ) from None
        return state

    def publish(self, history: History, best: nn.Module | None, record: dict[str, Any]) -> None:
        """Write what people read: the history, the best weights if they are new, the record."""
        with self._clear_failure("history, weights or record"):
            history.write(self.path / "history.csv")
            if best is not None:
                self._write_weights(best, history)
            with written_whole(self.path / "run.json") as temporary:
                temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    def _write_weights(self, model: nn.Module, history: History) -> None:
        epoch = history.best_epoch()
        header = {"epoch": str(epoch), "valid_loss": repr(float(history["valid_loss"].min()))}
        if isinstance(model, PansharpeningNetwork) and model.name in NETWORKS:
            save_weights(model, self.weights, header)
        else:  # somebody's own network: its tensors alone
            state = {key: value.cpu().contiguous() for key, value in model.state_dict().items()}
            with written_whole(self.weights) as temporary:
                temporary.write_bytes(save(state, header))

    @contextlib.contextmanager
    def _clear_failure(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(
                error.errno,
                f"could not write {what} to {self.path} ({error.strerror or error}). What was "
                "written before is whole: make room and go on with resume=True",
            ) from error


def describe_data(data: Any) -> dict[str, Any]:
    """A data set for the record: number of patches and, where it is a file, which.

    A file is named by its last two parts and its SHA-256; beyond 1 GiB its size has to do.
    """
    about: dict[str, Any] = {"patches": len(data)}
    path = getattr(data, "path", None)
    if path is not None:
        path = Path(path)
        about["file"] = f"{path.resolve().parent.name}/{path.name}"
        about["bytes"] = path.stat().st_size
        if about["bytes"] <= 2**30:
            with path.open("rb") as file:
                about["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    return about


def versions() -> dict[str, str]:
    """Versions of what a run's numbers depend on."""
    found = {"python": platform.python_version()}
    for package in ("dcfnet", "torch", "accelerate", "numpy"):
        with contextlib.suppress(ModuleNotFoundError):  # PackageNotFoundError is one
            found[package] = version(package)
    return found


@dataclass(frozen=True)
class Run:
    """A finished or interrupted training run, as its folder tells it.

    Attributes:
        history: What was measured, epoch by epoch.
        record: ``run.json``: settings, data, device, versions, wall time.
        network: Name of the network that was trained.
        steps_per_epoch: Optimiser steps in an epoch.
        operations_per_epoch: Multiply-accumulates of an epoch's training, counted as three times
            those of the forward pass: the backward pass takes about two.
    """

    history: History
    record: dict[str, Any]

    @property
    def network(self) -> str:  # noqa: D102
        return self.record["settings"]["network"]

    @property
    def steps_per_epoch(self) -> int:  # noqa: D102
        settings = self.record["settings"]
        return settings["train"]["patches"] // settings["batch_size"]

    @cached_property
    def operations_per_epoch(self) -> float:  # noqa: D102
        settings = self.record["settings"]
        patches = self.steps_per_epoch * settings["batch_size"]
        return 3.0 * patches * _operations(self.network, json.dumps(settings["options"]))


@cache
def _operations(network: str, options: str) -> int:
    """Of one patch, forward; counted once for all runs of a network, which takes half a second."""
    return count_operations(build_network(network, **json.loads(options)), 64, 64)[""]


def read_run(name: str, directory: str | Path | None = None) -> Run:
    """A training run by the name of its folder in ``data/runs``, or in another directory.

    Raises:
        DataError: There is no such run, or its files are damaged.

    Example:
        >>> read_run("dcfnet").history.best_epoch()  # doctest: +SKIP
        305
    """
    folder = (Path(directory) if directory is not None else data_dir() / "runs") / name
    history = History.read(folder / "history.csv")
    try:
        if not (folder / "run.json").is_file():
            raise ValueError("there is no file")
        run = Run(history, json.loads((folder / "run.json").read_text(encoding="utf-8")))
        _ = run.network, run.steps_per_epoch  # says whether it is one
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
        raise DataError(
            f"{folder / 'run.json'} is no record of a training run ({error}): copy the folder "
            "again, or train the network anew"
        ) from error
    return run


def read_runs(names: Iterable[str], directory: str | Path | None = None) -> dict[str, Run]:
    """Those of the named runs that are there, by name."""
    runs = Path(directory) if directory is not None else data_dir() / "runs"
    return {n: read_run(n, runs) for n in names if is_file(runs / n / "history.csv")}
