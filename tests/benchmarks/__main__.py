"""Run every benchmark, one after the other: ``python -m tests.benchmarks [--json FILE]``."""

import argparse
import json
import pkgutil
import subprocess
import sys
import tempfile
from pathlib import Path

from dcfnet.files import written_whole

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--json", type=Path, help="write all results to this file, by benchmark")
arguments = parser.parse_args()

results, failed = {}, []
for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
    if not module.name.startswith("bench_"):
        continue
    print(f"\n== {module.name}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        command = [sys.executable, "-m", f"tests.benchmarks.{module.name}", "--json", str(path)]
        if subprocess.run(command).returncode:
            failed.append(module.name)
        else:
            results[module.name.removeprefix("bench_")] = json.loads(path.read_text())
if arguments.json:
    with written_whole(arguments.json) as temporary:
        temporary.write_text(json.dumps(results, indent=2) + "\n")
sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
