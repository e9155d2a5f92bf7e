"""Batch normalisation that fits a scene: its statistics are taken from the scene as it is.

Batch normalisation subtracts a mean and divides by a deviation that were found in training. They
belong to a sensor, a season, a scale, and even to a size of patch, since the zeros around a patch
count as well. On another scene they are wrong, layer after layer. To find the right ones takes no
truth, only a pass over windows of the scene (AdaBN, Li et al., 2018).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcfnet.imagery.wald import Sample
from dcfnet.networks import PansharpeningNetwork
from dcfnet.training.evaluate import recompute_norms

__all__ = ["with_fixed_norms", "with_norms_of"]

_Norm = nn.modules.batchnorm._BatchNorm

BATCH = 4
"""Windows in one pass."""


def with_norms_of(model: PansharpeningNetwork, windows: Sequence[Sample]) -> PansharpeningNetwork:
    """A copy whose batch normalisation has the statistics of windows, in eval mode.

    Args:
        model: Any network; one without batch normalisation is copied as it is.
        windows: All of one size, at the scale that is to be fused, about 128 pixels wide or wider:
            the zeros around narrower ones distort the statistics. None leave them as they are.

    Example:
        >>> better = with_norms_of(model, below(scene).windows)  # doctest: +SKIP
    """
    found = copy.deepcopy(model).eval()
    inputs = [dict(zip(("pan", "ms", "lms"), window.inputs(), strict=True)) for window in windows]
    parts = (inputs[i : i + BATCH] for i in range(0, len(inputs), BATCH))
    batches = ({key: torch.cat([one[key] for one in part]) for key in part[0]} for part in parts)
    if windows:
        recompute_norms(found, batches)
    return found.eval()


class _FixedNorm(nn.Module):
    """What batch normalisation is in eval mode, under the same names, in training as well."""

    def __init__(self, norm: _Norm) -> None:
        super().__init__()
        self.eps, self.weight, self.bias = norm.eps, norm.weight, norm.bias
        for name, value in norm.named_buffers():
            self.register_buffer(name, value.clone())

    def forward(self, images: Tensor) -> Tensor:
        mean, variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
        return F.batch_norm(images, mean, variance, self.weight, self.bias, eps=self.eps)


def with_fixed_norms(model: PansharpeningNetwork) -> PansharpeningNetwork:
    """A copy that is trained with the statistics that it has; its state fits the network itself."""
    fixed = copy.deepcopy(model)
    for parent in list(fixed.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _Norm):
                setattr(parent, name, _FixedNorm(child))
    return fixed
