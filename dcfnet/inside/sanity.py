"""Sanity checks of class activation maps: do they depend on the weights, do they say what matters?

Reference:
    J. Adebayo, J. Gilmer, M. Muelly, I. Goodfellow, M. Hardt and B. Kim, "Sanity Checks for
    Saliency Maps", NeurIPS 2018 (layers randomised one after another); V. Petsiuk, A. Das and
    K. Saenko, "RISE", BMVC 2018 (deletion and insertion).
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from dcfnet.inside.gradcam import GradCAM


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of two maps of one shape; equal values share their mean rank.

    Returns:
        From -1 to 1; NaN where one of the maps is constant, which puts no pixel before another.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise ValueError(f"maps must have one shape, got {a.shape} and {b.shape}")
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a.ravel(), b.ravel()).statistic)


@torch.no_grad()
def shuffle_weights(module: nn.Module, generator: torch.Generator) -> None:
    """Puts the values of each weight and bias of a module in a random order, in place.

    What training has found is lost; the sizes of the weights, on which the sizes of activations
    depend, stay. The running statistics of batch normalisation stay too.
    """
    for parameter in module.parameters():
        values = parameter.reshape(-1)
        order = torch.randperm(values.numel(), generator=generator).to(values.device)
        parameter.copy_(values[order].reshape(parameter.shape))


def randomised(
    model: nn.Module, layers: Iterable[str], *, seed: int = 0
) -> Iterator[tuple[str, nn.Module]]:
    """A copy of a network whose layers lose their training one after another, in this order.

    Yields:
        The layer whose turn it was, and the network with this and all layers before it shuffled.
        It is the same object every time: use it before going on.
    """
    copied = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    for layer in layers:
        shuffle_weights(copied.get_submodule(layer), generator)
        yield layer, copied


def cascade(
    model: nn.Module,
    order: Sequence[str],
    parts: Sequence[str],
    inputs: Sequence[Tensor],
    *,
    seeds: Iterable[int] = (0, 1),
) -> dict[str, np.ndarray]:
    """How alike a network's maps are to those of the same network with shuffled weights.

    Layers are shuffled in this order, see `randomised`, once for each seed. Maps of the parts are
    compared before the ReLU, so that no two are alike by being 0.

    Returns:
        By part, rank correlations (seeds, layers, B, C): all images, all bands.
    """

    def signed(network: nn.Module) -> dict[str, np.ndarray]:
        with GradCAM(network, parts) as cam:
            cam(*inputs)
            return {part: maps.signed.cpu().numpy() for part, maps in cam.maps().items()}

    def alike(one: np.ndarray, other: np.ndarray) -> list[list[float]]:
        """From (C, B, h, w) of either to (B, C)."""
        images = zip(one.swapaxes(0, 1), other.swapaxes(0, 1), strict=True)
        return [[rank_correlation(a, b) for a, b in zip(*pair, strict=True)] for pair in images]

    true = signed(model)
    found: dict[str, list[list[list[list[float]]]]] = {part: [] for part in parts}
    for seed in seeds:
        steps = [signed(network) for _, network in randomised(model, order, seed=seed)]
        for part in parts:
            found[part].append([alike(true[part], step[part]) for step in steps])
    return {part: np.array(values) for part, values in found.items()}


def evenness(
    model: nn.Module, layers: Iterable[str], inputs: Iterable[Tensor], band: int
) -> dict[str, float]:
    """How far a layer's derivatives are the same at every pixel, as Eq. 1 pretends by averaging.

    They are those of a band's mean; layers and inputs are as for `GradCAM`.

    Returns:
        By layer, the share of the derivatives' sum of squares that their means over pixels hold:
        hw sum_k alpha_k^2 / sum_kij (dy/dA_kij)^2. 1: position plays no role. 0: all that there
        is cancels in the mean.
    """
    with GradCAM(model, layers) as cam:
        cam(*inputs)
        shares = {}
        for layer, gradient in cam.gradients(band).items():
            whole = gradient.double().square().sum()
            mean = gradient.double().mean(dim=(-2, -1)).square().sum()
            shares[layer] = float(mean * gradient.shape[-2] * gradient.shape[-1] / whole)
        return shares


@torch.no_grad()
def deletion(
    tail: Callable[[Tensor], Tensor], activations: Tensor, order: np.ndarray, *, steps: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """What a network makes when a layer's pixels are taken away, the most important ones first.

    A pixel is taken away by giving it, in every channel, the channel's mean over the layer. With
    the order reversed, and read backwards, this is an insertion curve.

    Args:
        tail: The rest of the network: activations (B, K, h, w) to an image (B, C, H, W).
        activations: (1, K, h, w).
        order: (h, w): pixels with the highest values go first.
        steps: From nothing taken to everything.

    Returns:
        Shares of pixels taken away, (steps + 1,), and images (steps + 1, C, H, W).
    """
    if order.shape != tuple(activations.shape[-2:]):
        raise ValueError(f"order must be {tuple(activations.shape[-2:])}, got {order.shape}")
    place = torch.from_numpy(np.argsort(-order, axis=None, kind="stable"))
    shares = np.linspace(0, 1, steps + 1)
    gone = activations.mean(dim=(-2, -1))[0, :, None]
    images = []
    for share in shares:
        flat = activations[0].flatten(1).clone()
        flat[:, place[: round(share * place.numel())]] = gone
        images.append(tail(flat.reshape(activations.shape))[0].float().cpu().numpy())
    return shares, np.stack(images)
