"""How much faster one pass is than a pass per layer and band, as ratios measured in one run.

    python -m tests.benchmarks.bench_gradcam [--size 64] [--repeats 3] [--json FILE]

The maps of Figure 2, every transfer and branch of the last fusion and the concatenation, for every
band: by `GradCAM`, by captum's LayerGradCam called once per layer and band, and by `GradCAM`'s
forward pass with the gradients of all bands batched into one backward pass (vmap).
"""

from collections.abc import Callable
from functools import partial

import torch
from captum.attr import LayerGradCam
from torch import Tensor

from dcfnet.inside.gradcam import GradCAM
from dcfnet.networks import DCFNet, build_network
from tests.benchmarks.report import by_turns, fastest, medians, run

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
    """Seconds of every variant, their ratio to `GradCAM`, and how far its maps differ."""
    torch.manual_seed(0)
    model = build_network("dcfnet", inject_details=False).eval()
    layers = figure2(model)
    inputs = [torch.rand(1, c, n, n) for c, n in ((1, size), (8, size // 4), (8, size))]
    expected = ours(model, layers, inputs)
    differences = {}
    for name, variant in VARIANTS.items():  # warms up as well
        found = variant(model, layers, inputs)
        differences[name] = max(
            float((found[layer] - expected[layer]).abs().max() / expected[layer].abs().max())
            for layer in layers
        )
    ways = {name: partial(way, model, layers, inputs) for name, way in VARIANTS.items()}
    seconds, _ = by_turns(ways, repeats)
    return {
        "network": "dcfnet",
        "size": size,
        "layers": len(layers),
        "bands": model.bands,
        "repeats": repeats,
        "threads": torch.get_num_threads(),
        "median_seconds": medians(seconds),
        "fastest_seconds": fastest(seconds),
        **{
            f"ratio_of_{kind}": {
                name: round(value / times["GradCAM"], 2) for name, value in times.items()
            }
            for kind, times in (("medians", medians(seconds)), ("fastest", fastest(seconds)))
        },
        "largest_difference_relative": differences,
    }


if __name__ == "__main__":
    run(measure)
