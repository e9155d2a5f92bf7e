"""One training step of DCFNet through `fit` against the plain way, as ratios measured in one run.

    python -m tests.benchmarks.bench_training [--batch 32] [--repeats 5] [--compile] [--json FILE]

Plain is what a first script would do: float32, eager, channels first, Adam as it comes. Every
repeat runs all variants one after the other, so that whatever slows the machine down slows all of
them. The share is the rate of the fastest step, counting operations of convolutions, forward
and backward, divided by that of the fastest large matrix product in the same precision and run.
"""

import contextlib
import statistics
import time

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from dcfnet.networks import build_network
from dcfnet.training.batches import BatchOrder, batch_loader
from dcfnet.training.checkpoint import State
from dcfnet.training.loop import Loss, learn
from dcfnet.training.machine import accelerator_for, describe, gains_from_bf16, kept_memory
from dcfnet.training.plan import Plan
from tests.benchmarks.report import run

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SHAPES = {"pan": (1, 64), "ms": (8, 16), "lms": (8, 64), "gt": (8, 64)}


def operations() -> float:
    """Floating-point operations of a training step, per patch."""
    with torch.device("meta"):
        model = build_network("dcfnet")
        pan, ms, lms, _ = (torch.empty(1, c, n, n) for c, n in SHAPES.values())
    with FlopCounterMode(display=False) as counter:
        model(pan, ms, lms).sum().backward()
    return counter.get_total_flops()


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of the fastest of some matrix products."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(6):
        wait(device)
        start = time.perf_counter()
        a @ b
        wait(device)
        times.append(time.perf_counter() - start)
    return 2 * n**3 / min(times)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def plain_step(batch: int, device: torch.device):
    torch.manual_seed(0)
    model = build_network("dcfnet").to(device)
    adam = torch.optim.Adam(model.parameters(), 1e-3)
    patches = {k: torch.rand(batch, c, n, n) for k, (c, n) in SHAPES.items()}

    def step():
        pan, ms, lms, gt = (image.to(device) for image in patches.values())
        loss = torch.nn.functional.mse_loss(model(pan, ms, lms), gt)
        adam.zero_grad()
        loss.backward()
        adam.step()
        return loss

    return step


def fit_step(batch: int, precision: str, compile: bool = False, network: str = "dcfnet", **options):
    """The step of `fit` itself, with its defaults."""
    torch.manual_seed(0)
    data = [{k: torch.rand(c, n, n) for k, (c, n) in SHAPES.items()} for _ in range(batch)]
    plan = Plan(batch_size=batch, precision=precision)
    accelerator = accelerator_for("auto", plan.precision, plan.accumulate)
    model = build_network(network, **options)
    model.to(accelerator.device, memory_format=torch.channels_last)
    trained = torch.compile(model) if compile else model
    loss, adam = accelerator.prepare(Loss(trained), State(model, plan).adam)
    patches = next(iter(batch_loader(data, BatchOrder(batch, plan))))
    model.train()
    return lambda: learn(patches, loss, adam, accelerator, torch.channels_last)


def measure(batch: int = 32, repeats: int = 5, compile: bool = False) -> dict:
    """Seconds of every variant, gain over the plain one, share of a matrix product's rate."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precisions = ["fp32", "bf16"] if gains_from_bf16(device) else ["fp32"]
    rates = dict.fromkeys(precisions, 0.0)
    variants = {"plain": (plain_step(batch, device), "fp32")}
    for precision in precisions:
        variants[f"fit, {precision}"] = (fit_step(batch, precision), precision)
    if compile:
        precision = precisions[-1]
        variants[f"fit, {precision}, compiled"] = (fit_step(batch, precision, True), precision)

    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for repeat in tqdm(range(repeats + 1), desc="repeats", leave=False):
        for precision in precisions:
            rates[precision] = max(rates[precision], matrix_rate(device, DTYPES[precision]))
        for name, (step, _) in variants.items():
            on_cpu_in_fit = name != "plain" and device.type == "cpu"
            with kept_memory() if on_cpu_in_fit else contextlib.nullcontext():
                # What fit keeps over a run it would have to take anew here: once for nothing.
                if repeat == 0 or on_cpu_in_fit:
                    step()
                wait(device)
                start = time.perf_counter()
                step()
                wait(device)
            if repeat:  # the first one warms up
                seconds[name].append(time.perf_counter() - start)
    flops = operations()
    table = {}
    for name, (_, precision) in variants.items():
        median, fastest = statistics.median(seconds[name]), min(seconds[name])
        table[name] = {
            "median_seconds": round(median, 4),
            "fastest_seconds": round(fastest, 4),
            "patches_per_second": round(batch / median, 1),
            "share_of_matrix_rate": round(flops * batch / fastest / rates[precision], 3),
            "plain_to_this": round(statistics.median(seconds["plain"]) / median, 2),
            "plain_to_this_fastest": round(min(seconds["plain"]) / fastest, 2),
        }
    print(pd.DataFrame(table).T.to_string())
    return {
        "network": "dcfnet",
        "batch": batch,
        "repeats": repeats,
        "device": describe(device),
        "gflop_per_patch": round(flops / 1e9, 1),
        "matrix_rate_tflops": {p: round(rate / 1e12, 3) for p, rate in rates.items()},
        "steps": table,
    }


if __name__ == "__main__":
    run(measure)
