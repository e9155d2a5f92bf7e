"""How long adapting takes, and what it brings on the WorldView-2 image of the book's town.

    python -m tests.benchmarks.bench_adapt [--networks dcfnet fusionnet] [--json FILE]

Each network, trained on WorldView-3, is adapted to the scene at its own scale; `tried` measures it
before and after, one scale down, on the ground held back, beside MTF-GLP-FS and EXP. Then a part of
the scene is fused by both, and measured at full resolution, where there is no truth. Processor time
over threads is the time on a machine with nothing else to do.
"""

import time

import torch

from dcfnet.fusion.adapt import STEPS, adapt
from dcfnet.fusion.below import below
from dcfnet.fusion.tiled import fuse_scene
from dcfnet.fusion.trial import tried
from dcfnet.imagery.catalogue import load_scene
from dcfnet.imagery.filters import degrade
from dcfnet.imagery.wald import full_resolution
from dcfnet.measure.metrics import evaluate
from dcfnet.networks import load_trained
from tests.benchmarks.report import parser, report

PART = slice(122, 378)
"""Rows and columns of MS that are fused."""


def measure(networks: list[str]) -> dict:
    """Seconds and errors of each network."""
    scene = load_scene("wv2-longmont")
    blocks, part = below(scene), scene.crop(PART, PART)
    sample = full_resolution(part)
    result: dict = {"scene": scene.name, "steps": STEPS}
    result["networks"] = {}
    for name in networks:
        model = load_trained(name)
        wall, processor = time.perf_counter(), time.process_time()
        found = adapt(model, blocks)
        seconds = time.perf_counter() - wall
        processor_seconds = (time.process_time() - processor) / torch.get_num_threads()
        models = {f"{model.title} as it was": model, f"{model.title} adapted": found.model}
        table = tried(models, blocks)
        at_full = {}
        for title, network in models.items():
            image = fuse_scene(network, part)
            off = (degrade(image, scene.sensor) - part.ms)[:, 8:-8, 8:-8]
            at_full[title] = {"consistency": float((off**2).mean() ** 0.5)}
            at_full[title] |= evaluate(sample, image)
        result["networks"][name] = {
            "threads": torch.get_num_threads(),
            "seconds": round(seconds, 1),
            "processor_seconds": round(processor_seconds, 1),
            "patches": found.patches,
            "one scale down": table.round(4).to_dict("index"),
            "full resolution": {k: _rounded(v) for k, v in at_full.items()},
        }
        print(f"{model.title}: {seconds:.1f} s\n{table.round(3)}", flush=True)
    return result


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def main() -> None:
    made = parser(__doc__)
    names = ["fusionnet", "dcfnet"]
    made.add_argument("--networks", nargs="+", default=names, help=f"(default: {' '.join(names)})")
    arguments = made.parse_args()
    report(measure(arguments.networks), arguments.json)


if __name__ == "__main__":
    main()
