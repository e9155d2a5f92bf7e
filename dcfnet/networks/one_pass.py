"""A network on a sample: digital numbers in, digital numbers out, in one pass."""

import numpy as np
import torch

from dcfnet.imagery.tensors import as_digital_numbers
from dcfnet.imagery.wald import Sample
from dcfnet.networks.base import PansharpeningNetwork, as_used


def fuse(model: PansharpeningNetwork, sample: Sample) -> np.ndarray:
    """The fused image of a sample, in one pass.

    Runs where the network is, in eval mode and without gradients; the network's own mode is
    restored. Memory grows with the image: `dcfnet.fuse_scene` takes any size.

    Returns:
        (C, H, W) float32 in digital numbers, neither rounded nor clipped.

    Raises:
        DataError: The network was built for another number of bands.
    """
    with as_used(model), torch.inference_mode():
        fused = model(*sample.inputs(next(model.parameters())))
    return as_digital_numbers(fused[0], sample.sensor)
