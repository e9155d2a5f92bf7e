"""Reference values of the released networks, and the inputs and weights they were made with.

Produced once by running the released implementations: DCFNet in double precision, filled by a
rule that names no layer, the others in single precision with their released weights.
"""

import math

import torch
from torch import Tensor, nn


def inputs(height: int, width: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    """PAN, MS and lms, all waves."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    y, x = y.double(), x.double()
    c = torch.arange(8, dtype=torch.float64)[:, None, None]
    pan = 0.5 + 0.5 * torch.sin(0.11 * y + 0.07 * x)[None]
    lms = 0.5 + 0.4 * torch.sin(0.3 * c + 0.05 * y - 0.0375 * x)
    y, x = y[: height // 4, : width // 4], x[: height // 4, : width // 4]
    ms = 0.5 + 0.4 * torch.sin(0.3 * c + 0.2 * y - 0.15 * x)
    return tuple(image[None].to(dtype) for image in (pan, ms, lms))


@torch.no_grad()
def fill(model: nn.Module) -> None:
    """Weights by a rule: k counts a parameter's values in memory order, n is their number."""

    def k(parameter: Tensor) -> Tensor:
        return torch.arange(parameter.numel(), dtype=parameter.dtype)

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            w = module.weight
            wave = torch.sin(0.7 * k(w) + 0.13 * w.numel())
            w.copy_((math.sqrt(2 / w[0].numel()) * wave).reshape(w.shape))
            if module.bias is not None:
                module.bias.copy_(0.01 * torch.cos(0.3 * k(module.bias)))
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.copy_(1 + 0.1 * torch.cos(0.5 * k(module.weight)))
            module.bias.copy_(0.05 * torch.sin(0.4 * k(module.bias)))


def summary(image: Tensor) -> list[float]:
    """Mean, standard deviation, and the spectrum at row 10, column 20."""
    return [image.mean().item(), image.std().item(), *image[0, :, 10, 20].tolist()]


# A: all fusion weights 1. B: fusion matrices 1 + 0.1 i + 0.2 j, pairs (0.8, 1.2).
# C: as B, but entry (0, 1) of the matrices -0.5.
DCFNET = {
    "A_64": [5160.0385578073, 9780.6924048488, 1178.8715841966, 4333.7592298543, 7151.9733442968,
             9414.5775103476, 10945.7985621408, 11626.6817377491, 11404.3318235409,
             10296.022380952],
    "A_96x128": [6357.5031719665, 9391.7708639716, 4200.514380365, 7553.6078823952,
                 10319.8899474644, 12284.4585635724, 13294.6938233899, 13272.1143874993,
                 12218.4744011004, 10215.6272180904],
    "B": [5520.0582910121, 8942.8778421029, 12858.9988233444, 14282.4037026966, 14596.2623596069,
          13776.192313109, 11885.9017378751, 9072.2402141346, 5553.7905344624, 1603.8878276234],
    "C": [5814.5172395067, 9035.1619178952, 12623.8372411935, 14011.1609942219, 14310.0103484774,
          13497.1688391445, 11635.7830830884, 8870.4571540837, 5416.0188345328, 1540.8304519012],
}  # fmt: skip

# Inputs of 64 x 64, WorldView-3 weights.
RELEASED = {
    "pnn": [0.794176, 0.309799, 0.463836, 0.687358, 0.761451, 0.980924, 1.070193, 1.091368,
            1.034659, 1.062802],
    "pannet": [0.649098, 0.239126, 0.402684, 0.519259, 0.640061, 0.748226, 0.830112, 0.887616,
               0.914674, 0.891807],
    "dicnn": [0.496008, 0.28293, 0.363673, 0.43712, 0.548689, 0.662589, 0.718237, 0.770059,
              0.709313, 0.75561],
    "msdcnn": [0.485274, 0.245603, 0.329226, 0.543702, 0.594801, 0.706674, 0.749043, 0.802652,
               0.883329, 0.799689],
    "fusionnet": [0.63744, 0.261552, 0.376052, 0.466992, 0.573464, 0.666079, 0.765924, 0.795125,
                  0.842937, 0.771428],
}  # fmt: skip
