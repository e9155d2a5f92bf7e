"""How much time each inference shortcut of DCFNet saves, as ratios measured in one run.

    python -m tests.benchmarks.bench_inference [--size 256] [--repeats 9] [--json FILE]

Every repeat runs all variants one after the other, so that whatever slows the machine down slows
all of them. A ratio above 1 is that many times faster than plain; where other work disturbs the
machine the ratio of the fastest runs is the steadier one.
"""

import statistics
import time

import torch
from tqdm import tqdm

from dcfnet.networks import build_network, count_operations
from tests.benchmarks.report import parser, report

STEPS = ("fold_norms", "split_head", "channels_last", "in_place")
VARIANTS: dict[str, tuple[str, ...] | None] = {
    "plain, eager": None,
    "BN folded": STEPS[:1],
    "+ head before upsampling": STEPS[:2],
    "+ channels-last": STEPS[:3],
    "+ in place = all": STEPS,
    "only head before upsampling": STEPS[1:2],
    "only channels-last": STEPS[2:3],
    "only in place": STEPS[3:],
}


def measure(size: int = 256, repeats: int = 9) -> dict:
    """Median seconds, plain-to-variant time ratio and error of every variant."""
    torch.manual_seed(0)
    plain = build_network("dcfnet", inject_details=False).eval().requires_grad_(False)
    models = {
        name: plain
        if steps is None
        else plain.fused_for_inference(**{step: step in steps for step in STEPS})
        for name, steps in VARIANTS.items()
    }
    inputs = [torch.rand(1, c, n, n) for c, n in ((1, size), (8, size // 4), (8, size))]
    seconds: dict[str, list[float]] = {name: [] for name in models}
    errors = {}
    with torch.inference_mode():
        expected = plain(*inputs)
        for name, model in models.items():  # warms up as well
            error = (model(*inputs) - expected).abs().max() / expected.abs().max()
            errors[name] = float(error)
        for _ in tqdm(range(repeats), desc="repeats", leave=False):
            for name, model in models.items():
                start = time.perf_counter()
                model(*inputs)
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    fastest = {name: min(times) for name, times in seconds.items()}
    return {
        "network": "dcfnet",
        "size": size,
        "repeats": repeats,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "gmacs": {
            name: round(count_operations(model, size, size)[""] / 1e9, 2)
            for name, model in models.items()
        },
        "median_seconds": {name: round(value, 4) for name, value in medians.items()},
        "fastest_seconds": {name: round(value, 4) for name, value in fastest.items()},
        "ratio_of_medians": ratios(medians),
        "ratio_of_fastest": ratios(fastest),
        "largest_error_relative": errors,
    }


def ratios(seconds: dict[str, float]) -> dict[str, float]:
    """Time of the plain network divided by that of each variant."""
    return {name: round(seconds["plain, eager"] / value, 2) for name, value in seconds.items()}


def main() -> None:
    made = parser(__doc__, repeats=9)
    made.add_argument("--size", type=int, default=256, help="side of the PAN image in pixels")
    arguments = made.parse_args()
    result = measure(arguments.size, arguments.repeats)

    print(
        f"DCFNet, PAN {arguments.size} x {arguments.size}, {result['threads']} CPU threads, "
        f"torch {result['torch']}, {arguments.repeats} interleaved repeats\n"
    )
    print(f"{'':<28}{'GMAC':>7}{'seconds':>18}{'plain / variant':>20}{'relative':>10}")
    print(f"{'variant':<28}{'':>7}{'median':>9}{'fastest':>9}{'median':>11}{'fastest':>9}", end="")
    print(f"{'error':>10}")
    for name in VARIANTS:
        print(
            f"{name:<28}{result['gmacs'][name]:>7.1f}{result['median_seconds'][name]:>9.3f}"
            f"{result['fastest_seconds'][name]:>9.3f}{result['ratio_of_medians'][name]:>11.2f}"
            f"{result['ratio_of_fastest'][name]:>9.2f}"
            f"{result['largest_error_relative'][name]:>10.1e}"
        )
    report(result, arguments.json)


if __name__ == "__main__":
    main()
