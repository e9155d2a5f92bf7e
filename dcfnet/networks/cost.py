"""What a network costs: its parameters and its operations."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dcfnet.networks.base import RATIO, PansharpeningNetwork


def count_parameters(module: nn.Module) -> int:
    """Number of trainable parameters of a network or of any part of it."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def count_operations(
    model: PansharpeningNetwork, height: int = 64, width: int = 64
) -> dict[str, int]:
    """Multiply-accumulate operations (MACs) of the convolutions, for one PAN image of that size.

    Convolutions are counted, as torch counts them; normalisation, activations and interpolation
    are not. One MAC is two floating-point operations.

    Returns:
        MACs of every module that computes some, by dotted name; ``""`` is the whole network.

    Example:
        >>> macs = count_operations(build_network("dcfnet"))
        >>> macs[""], macs["stage1"]
    """
    # On the device "meta" shapes are worked out and nothing is computed.
    model = copy.deepcopy(model).to("meta").eval()
    low = (-(-height // RATIO), -(-width // RATIO))
    pan = torch.empty(1, 1, height, width, device="meta")
    ms = torch.empty(1, model.bands, *low, device="meta")
    lms = torch.empty(1, model.bands, height, width, device="meta")
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(pan, ms, lms)
    top = type(model).__name__
    return {
        name.removeprefix(top).removeprefix("."): sum(flops.values()) // 2
        for name, flops in counter.get_flop_counts().items()
        if name.split(".")[0] == top
    }
