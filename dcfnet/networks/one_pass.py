"""A network on a sample: digital numbers in, digital numbers out, in one pass."""

from __future__ import annotations

import numpy as np
import torch

from dcfnet.imagery.sensors import Sensor
from dcfnet.imagery.wald import Sample
from dcfnet.networks.base import PansharpeningNetwork

__all__ = ["fuse_sample"]


def fuse_sample(model: PansharpeningNetwork, sample: Sample, sensor: Sensor) -> np.ndarray:
    """The fused image of a sample, in one pass.

    Runs where the network is, in eval mode and without gradients; the network's own mode is
    restored. Memory grows with the image.

    Args:
        model: Any network of this package, with as many bands as the sample.
        sample: Its ``pan``, ``ms`` and ``lms`` are used.
        sensor: Its largest value scales digital numbers to [0, 1] and back.

    Returns:
        (C, H, W) float32 in digital numbers, neither rounded nor clipped.
    """
    where = next(model.parameters()).device
    scale = float(sensor.max_value)

    def tensor(image: np.ndarray) -> torch.Tensor:
        values = np.ascontiguousarray(image, dtype=np.float32) / np.float32(scale)
        return torch.from_numpy(values)[None].to(where)

    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            fused = model(tensor(sample.pan[None]), tensor(sample.ms), tensor(sample.lms))
    finally:
        model.train(training)
    return (fused[0].float() * scale).cpu().numpy()
