"""Which pixels of its inputs a fused image rests on: derivatives, added up along a path.

A derivative says what a small change of a pixel would do. *Integrated gradients* add derivatives
up along a path gamma of images, from a start gamma(0) to the inputs gamma(1). The i-th of all
their numbers is given

    a_i = integral over alpha from 0 to 1 of  dy / dgamma_i  dgamma_i / dalpha         (Eq. 1)

where y is a number that is read off the fused image. Together the a_i are y(gamma(1)) -
y(gamma(0)): nothing is left over and nothing counts twice, so that they can be added up by input,
by band, by place, and by the part of the network that they came through (`integrated_through`).

A *local attribution map* is Eq. 1 for a path on which the inputs become sharp, `sharpening`, and
for the amount of `structure` in a small window. Its `diffusion_index` says how widely it spreads.

Reference:
    M. Sundararajan, A. Taly and Q. Yan, "Axiomatic Attribution for Deep Networks", ICML 2017;
    J. Gu and C. Dong, "Interpreting Super-Resolution Networks with Local Attribution Maps", CVPR
    2021; K. Dhamdhere, M. Sundararajan and Q. Yan, "How Important Is a Neuron?", ICLR 2019; R. L.
    Draelos and L. Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of
    convolutional neural networks", arXiv:2011.08891, 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from dcfnet.imagery.wald import Sample
from dcfnet.inside.gradcam import GradCAM, Region
from dcfnet.inside.hooks import kept
from dcfnet.networks.base import RATIO, as_used


class Images(NamedTuple):
    """What a `PansharpeningNetwork` takes, or a number for each of its pixels."""

    pan: Tensor
    ms: Tensor
    lms: Tensor

    @classmethod
    def of(cls, samples: Iterable[Sample], like: torch.device | Tensor | str = "cpu") -> Images:
        """The inputs of samples of one size, one after the other."""
        each = [sample.inputs(like) for sample in samples]
        return cls(*(torch.cat(images) for images in zip(*each, strict=True)))

    def on_grid(self) -> np.ndarray:
        """Sum over inputs and bands at each PAN pixel, (B, H, W); an MS pixel covers 4 x 4."""
        spread = F.interpolate(self.ms, scale_factor=RATIO) / RATIO**2
        both = self.lms + spread[..., : self.lms.shape[-2], : self.lms.shape[-1]]
        return (self.pan + both.sum(1, keepdim=True))[:, 0].cpu().numpy()

    def totals(self) -> dict[str, Tensor]:
        """Sum over the pixels of each input, (B,) each."""
        return {name: image.sum(dim=(1, 2, 3)) for name, image in self._asdict().items()}


Path = Callable[[float], Images]
"""Images at alpha from 0, the start, to 1, the inputs."""

Target = Callable[[Tensor], Tensor]
"""The number y of each fused image: (B, C, H, W) to (B,)."""


# --- Paths --------------------------------------------------------------------------------------


def flat(images: Iterable[Tensor]) -> Images:
    """Each band of each input at its mean: as bright as before, and nothing to see."""
    return Images(*(i.mean(dim=(-2, -1), keepdim=True).expand_as(i) for i in images))


def straight(start: Iterable[Tensor], end: Iterable[Tensor]) -> Path:
    """The path on which every pixel changes evenly: start + alpha (end - start)."""
    pairs = list(zip(start, end, strict=True))
    return lambda alpha: Images(*(a + alpha * (b - a) for a, b in pairs))


def sharpening(images: Iterable[Tensor], sigma: float) -> Path:
    """The path on which images become sharp: Gaussian blur of sigma (1 - alpha) PAN pixels."""
    pan, ms, lms = images

    def blurred(image: Tensor, width: float) -> Tensor:
        axes = (0, 0, width, width)
        values = gaussian_filter(image.detach().cpu().numpy(), axes, mode="nearest")
        return torch.from_numpy(values).to(image)

    def path(alpha: float) -> Images:
        width = sigma * (1 - alpha)
        return Images(blurred(pan, width), blurred(ms, width / RATIO), blurred(lms, width))

    return path


# --- What is explained --------------------------------------------------------------------------


def band_mean(band: int, rows: slice = slice(None), cols: slice = slice(None)) -> Target:
    """The mean of a band over a window, y^c of `GradCAM`."""
    return lambda fused: fused[:, band, rows, cols].mean(dim=(-2, -1))


def structure(rows: slice, cols: slice) -> Target:
    """The local structure in a window: the size of the gradient, summed over pixels and bands.

    The gradient is taken from differences with the pixels below and to the right.
    """

    def target(fused: Tensor) -> Tensor:
        down = fused[..., 1:, :-1] - fused[..., :-1, :-1]
        right = fused[..., :-1, 1:] - fused[..., :-1, :-1]
        # The root's derivative is infinite at 0.
        size = (down.square() + right.square() + 1e-12).sqrt()
        return size[..., rows, cols].sum(dim=(1, 2, 3))

    return target


def detail(truth: Tensor, lms: Tensor) -> Tensor:
    """What of each band no gain and no offset of the same band of ``lms`` can give.

    Of images (B, C, H, W) it is truth - a - b lms, where a and b are those of least squares, for
    each band of each image.
    """
    plane = (-2, -1)
    truth = truth - truth.mean(plane, keepdim=True)
    lms = lms - lms.mean(plane, keepdim=True)
    gain = (truth * lms).sum(plane, keepdim=True) / lms.square().sum(plane, keepdim=True)
    return truth - gain.nan_to_num(0.0) * lms


def recovered(truth: Tensor, lms: Tensor, band: int | Sequence[int] | None = None) -> Target:
    """How much of the true detail d a fused image has: sum of d fused / sum of d squared.

    It is 0 for ``lms`` with any gain and offset, and 1 for the truth, both (B, C, H, W). Of which
    band, one for all images or one for each, can be said; else it is of all together.
    """
    wanted = detail(truth, lms)
    if band is not None:
        wanted = wanted * torch.eye(wanted.shape[1]).to(wanted)[band][..., None, None]
    size = wanted.square().sum(dim=(1, 2, 3))
    return lambda fused: (wanted * fused).sum(dim=(1, 2, 3)) / size


# --- Derivatives along a path -------------------------------------------------------------------


def integrated_gradients(model: nn.Module, path: Path, target: Target, steps: int = 16) -> Images:
    """Eq. 1 for every pixel of every input: what is due to it, shaped as the inputs.

    The integral is a sum over so many pieces of the path, with the derivatives at the middle of
    each, in eval mode. How far the result is from adding up says whether they are enough.

    Example:
        >>> path = straight(flat(images), images)
        >>> due = integrated_gradients(model, path, recovered(truth, images.lms))
        >>> due.pan.sum(), due.ms.sum(), due.lms.sum()                  # by input
    """

    def derivatives(images: Images) -> dict[str, Sequence[Tensor]]:
        y = target(model(*images)).sum()
        return {"": torch.autograd.grad(y, images, materialize_grads=True)}

    return _along(model, path, steps, derivatives)[""]


def integrated_through(
    model: nn.Module, parts: Iterable[str], path: Path, target: Target, steps: int = 16
) -> dict[str, Images]:
    """Eq. 1, with what came through each of some parts that stand beside one another.

    The derivatives of y with respect to what a part returns go on to the inputs, and nothing else
    does. Where no way from input to output misses the parts, and none passes two, the results of
    all parts add up to those of `integrated_gradients`.

    Returns:
        What is due to each pixel on its way through each part, by the part's dotted name.
    """
    parts = tuple(parts)

    def derivatives(images: Images) -> dict[str, Sequence[Tensor]]:
        with kept(model, parts) as seen:
            y = target(model(*images)).sum()
        outputs = [seen[part] for part in parts]
        slopes = torch.autograd.grad(y, outputs, retain_graph=True, materialize_grads=True)
        grad = partial(torch.autograd.grad, retain_graph=True, materialize_grads=True)
        each = zip(parts, outputs, slopes, strict=True)
        return {part: grad(output, images, slope) for part, output, slope in each}

    return _along(model, path, steps, derivatives)


def _along(
    model: nn.Module,
    path: Path,
    steps: int,
    derivatives: Callable[[Images], Mapping[str, Sequence[Tensor]]],
) -> dict[str, Images]:
    """The sum of derivatives times steps, by name."""
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    due: dict[str, list[Tensor]] = {}
    before = path(0.0)
    with as_used(model), torch.inference_mode(False), torch.enable_grad():
        for step in range(steps):
            after = path((step + 1) / steps)
            middle = path((step + 0.5) / steps)
            leaves = Images(*(image.detach().clone().requires_grad_() for image in middle))
            for name, slopes in derivatives(leaves).items():
                piece = [s * (b - a) for s, a, b in zip(slopes, before, after, strict=True)]
                so_far = due.setdefault(name, [torch.zeros_like(p) for p in piece])
                due[name] = [a + b for a, b in zip(so_far, piece, strict=True)]
            before = after
    return {name: Images(*parts) for name, parts in due.items()}


# --- How widely a map spreads -------------------------------------------------------------------


def gini(values: np.ndarray) -> float:
    """Gini's coefficient of sizes ``|v|`` of n values: 0 if all are equal, 1 - 1/n if one is.

    It is the mean of ``| |v_i| - |v_j| |`` over all i and j, divided by twice the mean of ``|v|``.
    """
    sizes = np.sort(np.abs(np.ravel(values)).astype(np.float64))
    if not sizes.any():
        raise ValueError("the values are 0 everywhere, so nothing is distributed")
    rank = np.arange(1, sizes.size + 1)
    return float(((2 * rank - sizes.size - 1) * sizes).sum() / (sizes.size * sizes.sum()))


def diffusion_index(values: np.ndarray) -> float:
    """100 (1 - Gini's coefficient) of a map (Gu and Dong, 2021): large where it spreads widely."""
    return 100 * (1 - gini(values))


def reach(values: np.ndarray, rows: slice, cols: slice, share: float = 0.9) -> float:
    """Within how many pixels of a window a share of a map's size lies, counted along the axes.

    What lies in the window is at distance 0; the map, (H, W), may be of either sign.
    """
    sizes = np.abs(np.asarray(values, np.float64))
    if not sizes.any():
        raise ValueError("the map is 0 everywhere: nothing of it lies anywhere")
    away = []
    for window, length in zip((rows, cols), sizes.shape, strict=True):
        first, end, _ = window.indices(length)
        place = np.arange(length)
        away.append(np.maximum(np.maximum(first - place, place - end + 1), 0))
    distance = np.maximum(away[0][:, None], away[1][None, :])
    held = np.bincount(distance.ravel(), sizes.ravel()).cumsum() / sizes.sum()
    held, nearest = np.unique(held, return_index=True)
    return float(np.interp(share, held, nearest))


# --- A layer ------------------------------------------------------------------------------------


def hires_cam(
    cam: GradCAM, band: int | Mapping[int, float], region: Region = None
) -> dict[str, Tensor]:
    """HiResCAM before the ReLU: sum over k of dy/dA^k times A^k, (B, h, w) by layer.

    Grad-CAM has the derivatives' means in place of the derivatives; y^c is one of `GradCAM.maps`.
    """
    slopes = cam.gradients(band, region)
    return {
        layer: (slopes[layer] * found.activations).sum(1)
        for layer, found in cam.maps(band, region).items()
    }
