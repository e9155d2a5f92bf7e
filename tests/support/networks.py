"""Networks as after training, and images for them."""

import torch
from torch import nn

from dcfnet.networks import build_network


def images(height=32, width=None, *, bands=8, batch=1, seed=0):
    """PAN, MS and its interpolation, of noise."""
    width = width or height
    chance = torch.Generator().manual_seed(seed)
    low = (-(-height // 4), -(-width // 4))
    shapes = (1, height, width), (bands, *low), (bands, height, width)
    return tuple(torch.rand(batch, *shape, generator=chance) for shape in shapes)


def as_released(model):
    """The weights of a network under the names of the released files."""
    state = model.state_dict()
    return {
        f"{theirs}.{leaf}": state[f"{ours}.{leaf}"].clone()
        for theirs, ours in model.released_layers.items()
        for leaf in ("weight", "bias")
    }


def build(name="dcfnet", width=0.25, anew=False):
    """A network whose batch normalisation has statistics and shifts as after training.

    With ``anew`` its convolutions are drawn again, in between.
    """
    torch.manual_seed(0)
    options = {"width": width, "inject_details": False} if name == "dcfnet" else {}
    model = build_network(name, **options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.3, 3)
            nn.init.uniform_(module.bias, -0.3, 0.3)
        if anew and isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return model.eval()
