"""How far the parts of a network see: their effective receptive fields."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dcfnet.inside.hooks import kept
from dcfnet.networks import PansharpeningNetwork

__all__ = ["effective_fields", "field_radius"]


def effective_fields(
    model: PansharpeningNetwork,
    names: Iterable[str],
    pan: Tensor,
    ms: Tensor,
    lms: Tensor,
    *,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """How much each input pixel counts for the centre pixel of a part: its effective field.

    The measure is the squared derivative of the centre pixel's channels with respect to an input
    pixel's, summed over both (Luo et al., "Understanding the Effective Receptive Field in Deep
    Convolutional Neural Networks", 2016). One backward pass per part estimates the sum over the
    part's channels: with random signs s, the expectation of (sum_k s_k dA_k)^2 is
    sum_k (dA_k)^2. So average over a few patches or networks.

    The centre of a map of n rows is row n // 2, which strided convolutions take from row H // 2.

    Args:
        model: Any network of this package; in eval mode, else the patches of a batch are not
            independent of one another.
        names: Dotted names of modules that return (B, K, h, w).
        pan: (B, 1, H, W), as for the network. The patch should be larger than the field.
        ms: (B, C, H/4, W/4). What enters here is spread evenly over its 4 x 4 PAN pixels.
        lms: (B, C, H, W).
        seed: Of the random signs.

    Returns:
        By name, (B, H, W): the sum over the channels of all three inputs.

    Raises:
        ValueError: The network has no part of that name.
    """
    names = list(names)
    inputs = [image.detach().clone().requires_grad_() for image in (pan, ms, lms)]
    with kept(model, names) as seen:
        model(*inputs)
    generator = torch.Generator().manual_seed(seed)
    fields = {}
    for name in names:
        maps = seen[name]
        signs = torch.randint(0, 2, maps.shape[:2], generator=generator).to(maps) * 2 - 1
        probe = torch.zeros_like(maps)
        probe[:, :, maps.shape[2] // 2, maps.shape[3] // 2] = signs
        gradients = torch.autograd.grad(
            maps, inputs, probe, retain_graph=True, materialize_grads=True
        )
        of_pan, of_ms, of_lms = (gradient.square().sum(1, keepdim=True) for gradient in gradients)
        size = of_pan.shape[2:]
        # Each PAN pixel has the value of its MS pixel and a sixteenth of its weight.
        spread = F.interpolate(of_ms, scale_factor=4)[..., : size[0], : size[1]] / 16
        fields[name] = (of_pan + of_lms + spread)[:, 0].detach().cpu().numpy()
    return fields


def field_radius(field: np.ndarray, share: float = 0.5) -> float:
    """Radius of the disc that holds a share of an effective field, in pixels.

    Args:
        field: (H, W), at least 0, from `effective_fields`; the disc is about its centre of mass.
        share: Between 0 and 1.

    Raises:
        ValueError: The field is 0 everywhere, as where the part does not depend on the inputs.
    """
    field = np.asarray(field, np.float64)
    total = field.sum()
    if not total > 0:
        raise ValueError("the field is 0 everywhere: the part does not depend on the inputs")
    y, x = np.indices(field.shape)
    radius = np.hypot(y - (y * field).sum() / total, x - (x * field).sum() / total).ravel()
    order = radius.argsort()
    held = field.ravel()[order].cumsum() / total
    return float(np.interp(share, held, radius[order]))
