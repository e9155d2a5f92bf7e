"""What every benchmark shares: its flags, ways measured by turns, what is done with a result."""

import argparse
import inspect
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Number
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from dcfnet.paths import written_whole
from dcfnet.training.machine import describe

Times = dict[str, list[float]]
"""Seconds of each turn, by the way that took them."""


def run(measure: Callable[..., dict[str, Any] | Iterator[dict[str, Any]]]) -> None:
    """Carry out a benchmark from the command line: its arguments are flags, beside ``--json FILE``.

    Args:
        measure: Returns the result, or yields it as it grows.
    """
    doc = inspect.getdoc(inspect.getmodule(measure)) or ""
    flags = argparse.ArgumentParser(description=doc.split("\n")[0])
    flags.add_argument("--json", type=Path, help="write the result to this file as well")
    wanted = inspect.signature(measure).parameters
    for name, each in wanted.items():
        if name == "json":
            continue
        kind: dict[str, Any] = {"type": type(each.default)}
        if isinstance(each.default, bool):
            kind = {"action": "store_true"}
        elif isinstance(each.default, tuple):
            kind = {"nargs": "+", "type": type(each.default[0])}
        flags.add_argument(f"--{name}", default=each.default, help=f"({each.default})", **kind)
    given = vars(flags.parse_args())
    found = measure(**{name: given[name] for name in wanted})
    for result in [found] if isinstance(found, dict) else found:
        report(result, given["json"])


def report(result: dict[str, Any], path: Path | None) -> None:
    """Print a result as JSON, with the machine and how busy it is, and write it if asked to."""
    table = {k: v for k, v in result.items() if isinstance(v, dict)}
    table = {k: v for k, v in table.items() if all(isinstance(e, Number) for e in v.values())}
    if len(table) > 1:
        print(pd.DataFrame(table).to_string())
    machine = {
        "machine": describe(torch.device("cpu")),
        "torch": torch.__version__,
        "load_average": round(os.getloadavg()[1], 1),
    }
    text = json.dumps(result | machine, indent=2)
    print(f"\n{text}", flush=True)
    if path:
        with written_whole(path) as temporary:
            temporary.write_text(text + "\n")


def by_turns(
    ways: Mapping[str, Callable[[], object]],
    turns: int | Iterable[object],
    ready: Callable[[], object] = lambda: None,
) -> tuple[Times, Times]:
    """Seconds of wall and of processor time: all ways in every turn, so that all are slowed alike.

    Args:
        ways: What is measured, by name.
        turns: How many, or something that ends with the last one.
        ready: Called before and after each, to wait for a device.
    """
    wall: Times = {name: [] for name in ways}
    processor: Times = {name: [] for name in ways}
    for _ in tqdm(range(turns) if isinstance(turns, int) else turns, desc="turns", leave=False):
        for name, way in ways.items():
            ready()
            start, began = time.perf_counter(), time.process_time()
            way()
            ready()
            wall[name].append(time.perf_counter() - start)
            processor[name].append(time.process_time() - began)
    return wall, processor


def medians(times: Times) -> dict[str, float]:
    """The median seconds of each way."""
    return {name: round(statistics.median(each), 4) for name, each in times.items()}


def fastest(times: Times) -> dict[str, float]:
    """The least seconds of each way: where other work disturbs the machine, the steadier number."""
    return {name: round(min(each), 4) for name, each in times.items()}


def gains(seconds: Mapping[str, float], plain: str) -> dict[str, float]:
    """How many times as fast as the plain way each is."""
    return {name: round(seconds[plain] / value, 2) for name, value in seconds.items()}


def peak() -> float:
    """The most memory that this process has held so far, in GiB."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 2**30 if sys.platform == "darwin" else size / 2**20
