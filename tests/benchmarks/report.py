"""What every benchmark does with its result."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import torch

from dcfnet.paths import written_whole
from dcfnet.training.machine import describe


def parser(doc: str, repeats: int | None = None) -> argparse.ArgumentParser:
    """The arguments that benchmarks share, described by the first line of ``doc``."""
    made = argparse.ArgumentParser(description=doc.split("\n")[0])
    if repeats is not None:
        made.add_argument("--repeats", type=int, default=repeats, help=f"(default: {repeats})")
    made.add_argument("--json", type=Path, help="write the result to this file as well")
    return made


def report(result: dict[str, Any], path: Path | None) -> None:
    """Print a result as JSON, with the machine and how busy it is, and write it if asked to."""
    machine = {
        "machine": describe(torch.device("cpu")),
        "torch": torch.__version__,
        "load_average": round(os.getloadavg()[1], 1),
    }
    result = result | machine
    text = json.dumps(result, indent=2)
    print(f"\n{text}")
    if path:
        with written_whole(path) as temporary:
            temporary.write_text(text + "\n")
