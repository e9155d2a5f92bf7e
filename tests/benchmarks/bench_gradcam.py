"""How much faster one pass is than a pass per layer and band, as ratios measured in one run.

    python -m tests.benchmarks.bench_gradcam [--size 64] [--repeats 3] [--json FILE]

The maps of Figure 2, every transfer and branch of the last fusion and the concatenation, for every
band: by `GradCAM`, by captum's LayerGradCam called once per layer and band, and by `GradCAM`'s
forward pass with the gradients of all bands batched into one backward pass (vmap). Every repeat
runs all of them one after the other, so that whatever slows the machine down slows all.
"""

import statistics
import time
from collections.abc import Callable

import torch
from captum.attr import LayerGradCam
from torch import Tensor
from tqdm import tqdm

from dcfnet.inside.gradcam import GradCAM
from dcfnet.networks import DCFNet, build_network
from tests.benchmarks.report import parser, report

Maps = dict[str, Tensor]


def figure2(model: DCFNet) -> list[str]:
    """The layers of Figure 2."""
    parts = model.parts().values()
    kinds = ("transfer", "fused")
    last = [part.name for part in parts if part.stage == 3 and part.kind in kinds]
    return [*last, "head.concat"]


def ours(model: DCFNet, layers: list[str], inputs: list[Tensor]) -> Maps:
    with GradCAM(model, layers) as cam:
        cam(*inputs)
        return {layer: maps.map()[:, 0] for layer, maps in cam.maps().items()}


def batched(model: DCFNet, layers: list[str], inputs: list[Tensor]) -> Maps:
    with GradCAM(model, layers) as cam:
        cam(*inputs)
        fused, activations = cam._fused, list(cam._activations.values())
        area = fused[0, 0].numel()
        slopes = torch.eye(fused.shape[1])[:, None, :, None, None].expand(-1, *fused.shape) / area
        gradients = torch.autograd.grad(fused, activations, slopes, is_grads_batched=True)
        return {
            layer: torch.einsum("tbk,bkhw->tbhw", g.mean(dim=(-2, -1)), a.detach()).relu()[:, 0]
            for layer, a, g in zip(layers, activations, gradients, strict=True)
        }


def captum(model: DCFNet, layers: list[str], inputs: list[Tensor]) -> Maps:
    found = {}
    for layer in layers:
        maps = []
        for band in range(model.bands):

            def score(*images: Tensor, band: int = band) -> Tensor:
                return model(*images)[:, band].mean(dim=(-2, -1))

            method = LayerGradCam(score, model.get_submodule(layer))
            maps.append(method.attribute(tuple(inputs), relu_attributions=True)[0, 0].detach())
        found[layer] = torch.stack(maps)
    return found


VARIANTS: dict[str, Callable[[DCFNet, list[str], list[Tensor]], Maps]] = {
    "GradCAM": ours,
    "captum per layer and band": captum,
    "all bands in one backward": batched,
}


def measure(size: int = 64, repeats: int = 3) -> dict:
    """Median seconds of every variant, its ratio to `GradCAM`, and how far its maps differ."""
    torch.manual_seed(0)
    model = build_network("dcfnet", inject_details=False).eval()
    layers = figure2(model)
    inputs = [torch.rand(1, c, n, n) for c, n in ((1, size), (8, size // 4), (8, size))]
    expected = ours(model, layers, inputs)  # warms up as well
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    differences = {}
    for _ in tqdm(range(repeats), desc="repeats", leave=False):
        for name, variant in VARIANTS.items():
            start = time.perf_counter()
            found = variant(model, layers, inputs)
            seconds[name].append(time.perf_counter() - start)
            differences[name] = max(
                float((found[layer] - expected[layer]).abs().max() / expected[layer].abs().max())
                for layer in layers
            )
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    fastest = {name: min(times) for name, times in seconds.items()}
    return {
        "network": "dcfnet",
        "size": size,
        "layers": len(layers),
        "bands": model.bands,
        "repeats": repeats,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "median_seconds": {name: round(value, 4) for name, value in medians.items()},
        "fastest_seconds": {name: round(value, 4) for name, value in fastest.items()},
        "ratio_of_medians": ratios(medians),
        "ratio_of_fastest": ratios(fastest),
        "largest_difference_relative": differences,
    }


def ratios(seconds: dict[str, float]) -> dict[str, float]:
    """Time of each variant divided by that of `GradCAM`."""
    return {name: round(value / seconds["GradCAM"], 2) for name, value in seconds.items()}


def main() -> None:
    made = parser(__doc__, repeats=3)
    made.add_argument("--size", type=int, default=64, help="side of the PAN image in pixels")
    arguments = made.parse_args()
    result = measure(arguments.size, arguments.repeats)

    print(
        f"DCFNet, PAN {arguments.size} x {arguments.size}, {result['layers']} layers x "
        f"{result['bands']} bands, {result['threads']} CPU threads, torch {result['torch']}, "
        f"{arguments.repeats} interleaved repeats\n"
    )
    print(f"{'':<28}{'seconds':>18}{'variant / GradCAM':>20}{'relative':>12}")
    print(f"{'variant':<28}{'median':>9}{'fastest':>9}{'median':>11}{'fastest':>9}", end="")
    print(f"{'difference':>12}")
    for name in VARIANTS:
        print(
            f"{name:<28}{result['median_seconds'][name]:>9.3f}{result['fastest_seconds'][name]:>9.3f}"
            f"{result['ratio_of_medians'][name]:>11.2f}{result['ratio_of_fastest'][name]:>9.2f}"
            f"{result['largest_difference_relative'][name]:>12.1e}"
        )
    report(result, arguments.json)


if __name__ == "__main__":
    main()
