"""On a graphics card, in minutes: a training step, a whole scene, Grad-CAM, against plain eager.

    python -m tests.benchmarks.card [--minutes 3] [--small] [--json FILE]

Every way is measured by turns with the plain one on the same device: eager, channels first, what
torch does by itself, which on a card is convolutions in TensorFloat-32. "strict" is plain in true
float32. What is compiled comes last, as that takes its own minutes. ``--small`` takes a narrow
network and small images: that all of it runs can be seen without a card.
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from dcfnet.fusion.tiled import fuse_scene
from dcfnet.imagery.catalogue import load_scene
from dcfnet.networks import build_network, load_trained
from dcfnet.training.machine import describe
from tests.benchmarks.bench_gradcam import captum, figure2, ours
from tests.benchmarks.bench_scene import plainly
from tests.benchmarks.bench_training import SHAPES, wait
from tests.benchmarks.report import by_turns, gains, medians, run

TRAINED = "narrow-whole-0"
"""Whose errors are measured: an untrained network adds nothing that could be wrong."""

Ways = dict[str, Callable[[], object]]


def strictly() -> contextlib.AbstractContextManager[None]:
    """Convolutions in true float32, also on a card."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


class Capture:
    """A training step of fixed shapes: eager, compiled, or replayed as a CUDA graph."""

    def __init__(self, width: float, batch: int, device: torch.device, kind: str) -> None:
        torch.manual_seed(0)
        fast = kind not in ("plain", "strict")
        self.bf16 = "bf16" in kind
        layout = torch.channels_last if fast else torch.contiguous_format
        self.model = build_network("dcfnet", width=width).to(device, memory_format=layout)
        self.run = torch.compile(self.model) if "compiled" in kind else self.model
        cuda = device.type == "cuda"
        options = {"fused": True, "capturable": "graph" in kind} if cuda and fast else {}
        self.adam = torch.optim.Adam(self.model.parameters(), 1e-3, **options)
        self.images = [
            torch.rand(batch, c, n, n, device=device).contiguous(memory_format=layout)
            for c, n in SHAPES.values()
        ]
        self.around = strictly if "strict" in kind else contextlib.nullcontext
        self.device = device
        self.graph = self._captured() if "graph" in kind else None

    def step(self) -> None:
        pan, ms, lms, gt = self.images
        with self.around():
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                loss = torch.nn.functional.mse_loss(self.run(pan, ms, lms).float(), gt)
            self.adam.zero_grad(set_to_none=True)
            loss.backward()
            self.adam.step()

    def _captured(self) -> torch.cuda.CUDAGraph:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        return graph

    def __call__(self) -> None:
        self.graph.replay() if self.graph else self.step()


def training(width: float, batch: int, device: torch.device, *kinds: str) -> Ways:
    """Steps by their kind, those aside that the device cannot do."""
    ways: Ways = {}
    for kind in kinds:
        if "graph" in kind and device.type != "cuda":
            continue
        try:
            ways[kind] = Capture(width, batch, device, kind)
        except Exception as error:  # a kind that fails shall not take the others with it
            print(f"{kind}: {type(error).__name__}: {error}", flush=True)
    return ways


def scene(width: float, size: int, device: torch.device) -> tuple[Ways, dict[str, dict]]:
    """Ways to fuse a scene, and how far a trained network's digital numbers are from float32's."""
    scene = load_scene().crop(slice(0, size // 4), slice(0, size // 4))
    trained = partial(fuse_scene, load_trained(TRAINED), scene, device=str(device))
    with strictly():
        expected = np.asarray(trained(precision="fp32"), float)
    errors = {}
    for precision in ("fp32", "bf16"):
        difference = np.asarray(trained(precision=precision), float) - expected
        errors[precision] = {
            "rms": round(float(np.sqrt(np.mean(difference**2))), 3),
            "largest": float(np.abs(difference).max()),
        }
    model = build_network("dcfnet", width=width).to(device).eval()
    fuse = partial(fuse_scene, model, scene, device=str(device))
    plain = plainly(model, scene, device)

    def strict() -> None:
        with strictly():
            plain()

    ways = {"plain": plain, "strict": strict}
    ways |= {precision: partial(fuse, precision=precision) for precision in ("fp32", "bf16")}
    return ways, errors


def gradcam(width: float, device: torch.device) -> Ways:
    model = build_network("dcfnet", width=width).to(device).eval()
    layers = figure2(model)
    images = [torch.rand(1, c, n, n, device=device) for c, n in list(SHAPES.values())[:3]]
    ways = {"plain": captum, "GradCAM": ours}
    return {name: partial(way, model, layers, images) for name, way in ways.items()}


def compared(ways: Ways, seconds: float, device: torch.device) -> dict:
    """Medians of at least three turns, or of what the time allows."""
    for name, way in [*ways.items()]:
        try:
            way()  # warms up, compiles
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {error}", flush=True)
            del ways[name]
    end = time.monotonic() + seconds
    turns = itertools.takewhile(lambda turn: turn < 3 or time.monotonic() < end, range(100))
    times, _ = by_turns(ways, turns, lambda: wait(device))
    return {
        "turns": len(times["plain"]),
        "median_seconds": medians(times),
        "plain_to_this": gains(medians(times), "plain"),
    }


def measure(minutes: float = 3.0, small: bool = False) -> Iterator[dict]:
    """A training step, a scene, Grad-CAM."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    width, batch, size = (0.125, 2, 256) if small else (1.0, 32, 3328)
    turn = 60 * minutes / 6
    result = {"device": describe(device), "small": small}
    steps = ("plain", "strict", "fp32", "bf16", "fp32, graph", "bf16, graph")
    result["training step"] = compared(training(width, batch, device, *steps), turn, device)
    yield result
    narrow = training(width / 4, batch, device, *steps)
    result["training step, quarter width"] = compared(narrow, turn, device)
    yield result
    ways, errors = scene(width, size, device)
    result["scene"] = compared(ways, turn, device) | {"digital_numbers_from_strict": errors}
    yield result
    result["Grad-CAM"] = compared(gradcam(width, device), turn, device)
    yield result
    steps = ("plain", "bf16, compiled", "bf16, compiled, graph")
    compiled = training(width, batch, device, *steps)
    result["training step, compiled"] = compared(compiled, turn, device)
    yield result


if __name__ == "__main__":
    run(measure)
