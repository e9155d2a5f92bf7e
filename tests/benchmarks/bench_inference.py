"""How much time each inference shortcut of DCFNet saves, as ratios measured in one run.

    python -m tests.benchmarks.bench_inference [--size 256] [--repeats 9] [--json FILE]

A ratio above 1 is that many times faster than plain.
"""

import torch

from dcfnet.networks import build_network, count_operations
from tests.benchmarks.report import by_turns, fastest, gains, medians, run

STEPS = ("fold_norms", "split_head", "channels_last", "in_place")
PLAIN = "plain, eager"
VARIANTS: dict[str, tuple[str, ...]] = {
    "BN folded": STEPS[:1],
    "+ head before upsampling": STEPS[:2],
    "+ channels-last": STEPS[:3],
    "+ in place = all": STEPS,
    "only head before upsampling": STEPS[1:2],
    "only channels-last": STEPS[2:3],
    "only in place": STEPS[3:],
}


def measure(size: int = 256, repeats: int = 9) -> dict:
    """Seconds, plain-to-variant time ratio and error of every variant."""
    torch.manual_seed(0)
    plain = build_network("dcfnet", inject_details=False).eval().requires_grad_(False)
    models = {PLAIN: plain} | {
        name: plain.fused_for_inference(**{step: step in steps for step in STEPS})
        for name, steps in VARIANTS.items()
    }
    inputs = [torch.rand(1, c, n, n) for c, n in ((1, size), (8, size // 4), (8, size))]
    with torch.inference_mode():
        expected = plain(*inputs)
        largest = expected.abs().max()
        off = {  # warms up as well
            name: float((model(*inputs) - expected).abs().max() / largest)
            for name, model in models.items()
        }
        ways = {name: lambda model=model: model(*inputs) for name, model in models.items()}
        seconds, _ = by_turns(ways, repeats)
    macs = {name: count_operations(model, size, size)[""] for name, model in models.items()}
    return {
        "network": "dcfnet",
        "size": size,
        "repeats": repeats,
        "threads": torch.get_num_threads(),
        "gmacs": {name: round(count / 1e9, 2) for name, count in macs.items()},
        "median_seconds": medians(seconds),
        "fastest_seconds": fastest(seconds),
        "ratio_of_medians": gains(medians(seconds), PLAIN),
        "ratio_of_fastest": gains(fastest(seconds), PLAIN),
        "largest_error_relative": off,
    }


if __name__ == "__main__":
    run(measure)
