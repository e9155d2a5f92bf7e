"""On a graphics card, in eight minutes: a training step, a whole scene, Grad-CAM, against eager.

    python -m tests.benchmarks.card [--minutes 8] [--small] [--json FILE]

Every way is measured by turns with plain eager float32 on the same device, for its share of the
time. TensorFloat-32 stays off in the plain way, as torch has it. ``--small`` takes a narrow network
and small images: that all of it runs can be seen without a card.
"""

import contextlib
import itertools
import time
from collections.abc import Callable
from functools import partial

import torch

from dcfnet.fusion.tiled import fuse_scene
from dcfnet.imagery.catalogue import load_scene
from dcfnet.networks import build_network
from dcfnet.training.machine import describe
from tests.benchmarks.bench_gradcam import captum, figure2, ours
from tests.benchmarks.bench_scene import plainly
from tests.benchmarks.bench_training import SHAPES, wait
from tests.benchmarks.report import by_turns, gains, medians, run

Ways = dict[str, Callable[[], object]]


class Capture:
    """A training step of fixed shapes: eager, compiled, or replayed as a CUDA graph."""

    def __init__(self, width: float, batch: int, device: torch.device, kind: str) -> None:
        torch.manual_seed(0)
        fast = kind != "plain"
        self.bf16 = "bf16" in kind
        layout = torch.channels_last if fast else torch.contiguous_format
        self.model = build_network("dcfnet", width=width).to(device, memory_format=layout)
        mode = "max-autotune-no-cudagraphs" if device.type == "cuda" else "default"
        self.run = torch.compile(self.model, mode=mode) if "compiled" in kind else self.model
        cuda = device.type == "cuda"
        options = {"fused": True, "capturable": "graph" in kind} if cuda and fast else {}
        self.adam = torch.optim.Adam(self.model.parameters(), 1e-3, **options)
        self.images = [
            torch.rand(batch, c, n, n, device=device).contiguous(memory_format=layout)
            for c, n in SHAPES.values()
        ]
        self.device = device
        self.graph = self._captured() if "graph" in kind else None

    def step(self) -> None:
        pan, ms, lms, gt = self.images
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


def training(width: float, batch: int, device: torch.device) -> Ways:
    kinds = ["plain", "fp32", "bf16"]
    if device.type == "cuda":  # on a processor compiling takes minutes
        kinds += ["bf16, compiled", "bf16, graph", "bf16, compiled, graph"]
    return {kind: Capture(width, batch, device, kind) for kind in kinds}


def scene(width: float, size: int, device: torch.device) -> Ways:
    scene = load_scene().crop(slice(0, size // 4), slice(0, size // 4))
    model = build_network("dcfnet", width=width).to(device).eval()

    def tiled(precision: str) -> Callable[[], object]:
        return lambda: fuse_scene(model, scene, device=str(device), precision=precision)

    plain = plainly(model, scene, device)
    return {"plain": plain, "fp32": tiled("fp32"), "bf16": tiled("bf16")}


def gradcam(width: float, device: torch.device) -> Ways:
    model = build_network("dcfnet", width=width).to(device).eval()
    layers = figure2(model)
    images = [torch.rand(1, c, n, n, device=device) for c, n in list(SHAPES.values())[:3]]
    ways = {"plain": captum, "GradCAM": ours}
    return {name: partial(way, model, layers, images) for name, way in ways.items()}


def compared(ways: Ways, seconds: float, device: torch.device) -> dict:
    """Medians of at least three turns, or of what the time allows."""
    end = time.monotonic() + seconds
    for name, way in [*ways.items()]:
        try:
            way()  # warms up, compiles
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {error}", flush=True)
            del ways[name]
    turns = itertools.takewhile(lambda turn: turn < 3 or time.monotonic() < end, range(100))
    times, _ = by_turns(ways, turns, lambda: wait(device))
    return {
        "turns": len(times["plain"]),
        "median_seconds": medians(times),
        "plain_to_this": gains(medians(times), "plain"),
    }


def measure(minutes: float = 8.0, small: bool = False) -> dict:
    """A training step, a scene, Grad-CAM."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    width, batch, size = (0.125, 2, 256) if small else (1.0, 32, 3328)
    turn = 60 * minutes / 3
    with contextlib.suppress(AttributeError):
        torch._dynamo.config.cache_size_limit = 32
    return {
        "device": describe(device),
        "small": small,
        "training step": compared(training(width, batch, device), turn, device),
        "scene": compared(scene(width, size, device), turn, device),
        "Grad-CAM": compared(gradcam(width, device), turn, device),
    }


if __name__ == "__main__":
    run(measure)
