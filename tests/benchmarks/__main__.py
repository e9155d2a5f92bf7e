"""Run every benchmark, one after the other: ``python -m tests.benchmarks``."""

import pkgutil
import subprocess
import sys
from pathlib import Path

failed = []
for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
    if module.name.startswith("bench_"):
        print(f"\n== {module.name}", flush=True)
        command = [sys.executable, "-m", f"tests.benchmarks.{module.name}"]
        if subprocess.run(command).returncode:
            failed.append(module.name)
sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
