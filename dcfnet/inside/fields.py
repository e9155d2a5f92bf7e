"""How far the parts of a network see: their effective receptive fields."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from dcfnet.inside.attribution import Images
from dcfnet.inside.hooks import kept
from dcfnet.networks import PansharpeningNetwork


def effective_fields(
    model: PansharpeningNetwork,
    names: Iterable[str],
    pan: Tensor,
    ms: Tensor,
    lms: Tensor,
    *,
    draws: int | None = 16,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """How much each input pixel counts for the centre pixel of a part: its effective field.

    The measure is the squared derivative of the centre pixel's channels with respect to an input
    pixel's, summed over both (Luo et al., "Understanding the Effective Receptive Field in Deep
    Convolutional Neural Networks", 2016). It is exact with one backward pass for each channel. A
    pass for a mixture of the channels estimates it: with random signs s, the expectation of
    (sum_k s_k dA_k)^2 is sum_k (dA_k)^2. One such draw is noise: average over many, of signs or of
    patches, and compare networks by the same draws, that is with one seed.

    The centre of a map of n rows is row n // 2, which strided convolutions take from row H // 2.
    The network is in eval mode, else the patches of a batch are not independent of one another;
    they should be larger than the field. Each has signs of its own, which depend on the seed and
    the number of patches and channels alone; with None draws all channels count one by one.

    Returns:
        By name of a module, (B, H, W): the sum over the channels of all three inputs. What enters
        at ``ms`` is spread evenly over its 4 x 4 PAN pixels.
    """
    inputs = [image.detach().clone().requires_grad_() for image in (pan, ms, lms)]
    names = list(names)
    with kept(model, names) as seen:
        model(*inputs)
    fields = {}
    for name in names:
        maps, total = seen[name], np.zeros(lms[:, 0].shape, np.float32)
        for weights in _mixtures(maps.shape[:2], draws, seed):
            probe = torch.zeros_like(maps)
            probe[:, :, maps.shape[2] // 2, maps.shape[3] // 2] = weights.to(maps)
            gradients = torch.autograd.grad(
                maps, inputs, probe, retain_graph=True, materialize_grads=True
            )
            total += Images(*(gradient.square() for gradient in gradients)).on_grid()
        fields[name] = total / (draws or 1)
    return fields


def _mixtures(shape: torch.Size, draws: int | None, seed: int) -> Iterator[Tensor]:
    """Weights of the channels, (B, K) each: each channel by itself, or random signs."""
    batch, channels = shape
    if draws is None:
        yield from torch.eye(channels)[:, None].expand(-1, batch, -1)
        return
    generator = torch.Generator().manual_seed(seed)
    for _ in range(draws):
        yield torch.randint(0, 2, (batch, channels), generator=generator) * 2 - 1


def mean_field(fields: np.ndarray) -> np.ndarray:
    """The mean of a part's fields, (B, H, W), over patches that count alike: (H, W), its sum 1.

    Raises:
        ValueError: A field is 0 everywhere, as where the part does not depend on the inputs.
    """
    fields = np.asarray(fields, np.float64)
    totals = fields.sum(axis=(1, 2), keepdims=True)
    if not (totals > 0).all():
        raise ValueError("a field is 0 everywhere: the part does not depend on the inputs")
    return (fields / totals).mean(axis=0)


def field_radius(field: np.ndarray, share: float = 0.5) -> float:
    """Radius of the disc that holds a share of an effective field (H, W), in pixels.

    The disc is about the field's centre of mass.

    Raises:
        ValueError: The field is 0 everywhere, as where the part does not depend on the inputs.
    """
    field = mean_field(np.asarray(field)[None])
    y, x = np.indices(field.shape)
    radius = np.hypot(y - (y * field).sum(), x - (x * field).sum()).ravel()
    order = radius.argsort()
    return float(np.interp(share, field.ravel()[order].cumsum(), radius[order]))
