"""Run every benchmark, one after the other: ``python -m tests.benchmarks [--folder FOLDER]``.

``card``, for a graphics card, ``large``, ``adapt_folds`` and ``adapt_statistics``, of an hour each,
and ``exposure`` are run by name alone.
"""

import argparse
import pkgutil
import subprocess
import sys
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--folder", type=Path, help="write each result to a JSON file in this folder")
arguments = parser.parse_args()

failed = []
for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
    if not module.name.startswith("bench_"):
        continue
    print(f"\n== {module.name}", flush=True)
    command = [sys.executable, "-m", f"tests.benchmarks.{module.name}"]
    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        name = module.name.removeprefix("bench_")
        command += ["--json", str(arguments.folder / f"{name}.json")]
    if subprocess.run(command).returncode:
        failed.append(module.name)
sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
