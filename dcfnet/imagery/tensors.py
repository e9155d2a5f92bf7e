"""Digital numbers become tensors in [0, 1], and tensors digital numbers again: here alone."""

import numpy as np
import torch
from torch import Tensor

from dcfnet.imagery.sensors import Sensor


def as_tensor(
    image: np.ndarray, sensor: Sensor, like: torch.device | torch.dtype | Tensor | str = "cpu"
) -> Tensor:
    """Digital numbers divided by the sensor's largest value, float32, or as `torch.Tensor.to`."""
    values = np.array(image, np.float32, order="C")
    values /= np.float32(sensor.max_value)
    return torch.from_numpy(values).to(like)


def as_digital_numbers(values: Tensor, sensor: Sensor) -> np.ndarray:
    """Values in [0, 1] times the sensor's largest value, float32, neither rounded nor clipped."""
    return (values.detach().float() * float(sensor.max_value)).cpu().numpy()
