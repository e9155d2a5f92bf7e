"""How long adapting takes, and what it brings on the WorldView-2 image of the book's town.

    python -m tests.benchmarks.bench_adapt [--networks fusionnet pannet dcfnet] [--json FILE]

Each network, trained on WorldView-3, is measured as it was, with batch normalisation that takes
its statistics from the scene, and adapted: one scale down, on the ground held back, beside
MTF-GLP-FS and EXP (`tried`); and on the whole scene as it is, where there is no truth. Processor
time over threads is the time on a machine with nothing else to do.
"""

import copy
import time

import torch

from dcfnet.fusion.adapt import STEPS, adapt
from dcfnet.fusion.below import below
from dcfnet.fusion.tiled import fuse_scene
from dcfnet.fusion.trial import tried
from dcfnet.imagery.catalogue import load_scene
from dcfnet.imagery.classical import mtf_glp_fs
from dcfnet.imagery.filters import degrade
from dcfnet.imagery.wald import full_resolution
from dcfnet.measure.metrics import evaluate
from dcfnet.networks import load_trained
from dcfnet.training.evaluate import recompute_norms
from dcfnet.training.machine import gains_from_bf16
from tests.benchmarks.report import run


def measure(networks: tuple[str, ...] = ("fusionnet", "pannet", "dcfnet")) -> dict:
    """Seconds and errors of each network."""
    scene = load_scene("wv2-longmont")
    blocks, sample = below(scene), full_resolution(scene)
    learned_nothing = {"EXP": sample.lms, "MTF-GLP-FS": mtf_glp_fs(sample)}
    result: dict = {
        "scene": scene.name,
        "steps": STEPS,
        "without learning": {k: judged(v, scene, sample) for k, v in learned_nothing.items()},
        "networks": {},
    }
    for name in networks:
        model, threads = load_trained(name), torch.get_num_threads()
        wall, processor = time.perf_counter(), time.process_time()
        found = adapt(model, blocks)
        seconds = time.perf_counter() - wall
        processor_seconds = (time.process_time() - processor) / threads
        models = {f"{model.title} as it was": model}
        if any(isinstance(layer, torch.nn.BatchNorm2d) for layer in model.modules()):
            models[f"{model.title}, other statistics"] = with_norms_of(model, sample)
        models[f"{model.title} adapted"] = found.model
        table = tried(models, blocks)
        result["networks"][name] = {
            "threads": threads,
            "seconds": round(seconds, 1),
            "processor_seconds": round(processor_seconds, 1),
            "patches": found.patches,
            "one scale down": table.round(4).to_dict("index"),
            "full resolution": {k: at_full(m, scene, sample) for k, m in models.items()},
        }
        print(f"{model.title}: {seconds:.1f} s\n{table.round(3)}", flush=True)
    return result


def with_norms_of(model, sample):
    """A copy whose batch normalisation has the statistics of 16 windows all over a sample."""
    height, width = sample.shape
    windows = [
        sample.crop(slice(y, y + 128), slice(x, x + 128)).inputs()
        for y in range(0, height - 127, (height - 128) // 12 * 4)
        for x in range(0, width - 127, (width - 128) // 12 * 4)
    ]
    batches = (map(torch.cat, zip(*windows[i : i + 4], strict=True)) for i in range(0, 16, 4))
    found = copy.deepcopy(model)
    recompute_norms(found, (dict(zip(("pan", "ms", "lms"), b, strict=True)) for b in batches))
    return found


def at_full(model, scene, sample) -> dict[str, float]:
    """A network's image of the whole scene, `judged`."""
    fast = gains_from_bf16(torch.device("cpu"))
    return judged(fuse_scene(model, scene, precision="bf16" if fast else "fp32"), scene, sample)


def judged(image, scene, sample) -> dict[str, float]:
    """Consistency with MS (rms, digital numbers, off the border), D_lambda, D_s, HQNR."""
    off = (degrade(image, scene.sensor) - scene.ms)[:, 8:-8, 8:-8]
    found = {"consistency": float((off**2).mean() ** 0.5), **evaluate(sample, image)}
    return {name: round(value, 4) for name, value in found.items()}


if __name__ == "__main__":
    run(measure)
