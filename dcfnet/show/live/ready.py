"""DCFNet made ready to be traced: without batch normalisation, of any size, with gates.

Two operators of our own stand in the traced graph where torch would leave the size of an image
behind. `resize` is bilinear interpolation as a product with two matrices, which come as inputs, and
`around_mean` is what a gate makes of a PCFT.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, library, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dcfnet.networks.bricks import ConvNorm, DynamicFusion
from dcfnet.networks.dcfnet import DCFNet


@library.custom_op("dcfnet::resize", mutates_args=())
def resize(x: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Interpolation along both axes: (B, K, h, w) to (B, K, H, W) by (H, h) and (W, w)."""
    return rows @ x @ cols.mT


@library.custom_op("dcfnet::around_mean", mutates_args=())
def around_mean(x: Tensor, gate: Tensor) -> Tensor:
    """What a gate lets through: all with 1, with 0 each channel's mean in every pixel.

    A branch that comes from a closed PCFT keeps its level and knows of no place, so that what
    follows still sees values of a usual size, as with `dcfnet.inside.switches.closed`.
    """
    mean = x.mean((-2, -1), keepdim=True)
    return mean + gate * (x - mean)


def _keep_all_but_the_first(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:])


def _backward_of_resize(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    rows, cols = ctx.saved_tensors
    return resize(gradient, rows.mT, cols.mT), None, None


def _backward_of_around_mean(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    return around_mean(gradient, *ctx.saved_tensors), None  # the operator is its own adjoint


resize.register_autograd(_backward_of_resize, setup_context=_keep_all_but_the_first)
around_mean.register_autograd(_backward_of_around_mean, setup_context=_keep_all_but_the_first)


def interpolation(inputs: int, outputs: int) -> Tensor:
    """The matrix (outputs, inputs) of bilinear interpolation along one axis, corners aligned."""
    impulses = torch.eye(inputs)[None]
    return nn.functional.interpolate(impulses, size=outputs, mode="linear", align_corners=True)[
        0
    ].T.contiguous()


class Resize(nn.Module):
    """`torch.nn.Upsample` by matrices."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.matrices: Mapping[tuple[int, ...], Tensor] = {}  # by (outputs, inputs), of both axes

    def forward(self, x: Tensor) -> Tensor:
        """(B, K, h, w) to ``factor`` times as many rows and columns."""
        rows, cols = (self.matrices[self.factor * size, size] for size in x.shape[-2:])
        return resize(x, rows, cols)


def ready(model: DCFNet) -> DCFNet:
    """A copy that gives the same image, with `Resize` instead of `torch.nn.Upsample`.

    Batch normalisation goes into the convolution before it, but for those convolutions that are
    parts of their own: what they give stays to be looked at.

    Raises:
        RuntimeError: The network is a copy for inference, whose parts hold other values.
    """
    parts = model.parts()
    net = copy.deepcopy(model).to("cpu", torch.float32).eval().requires_grad_(False)
    for name, module in list(net.named_modules()):
        if isinstance(module, ConvNorm):
            if f"{name}.conv" in parts:
                channels = module.norm.num_features
                plain = nn.Conv2d(channels, channels, 1, groups=channels, bias=False).eval()
                nn.init.ones_(plain.weight)
                module.add_module("norm", fuse_conv_bn_eval(plain, module.norm))
            else:
                module.conv = fuse_conv_bn_eval(module.conv, module.norm)
                del module.norm
        elif isinstance(module, nn.Upsample):
            assert isinstance(module.scale_factor, float)
            net.set_submodule(name, Resize(round(module.scale_factor)))
    return net.requires_grad_(False)


def gate_names(model: DCFNet) -> tuple[str, ...]:
    """The parts of a network that have a gate, by dotted name, in the order of use.

    A gate is a number: 1 is the network as it is. A transfer's multiplies its share a_ij, so that
    with 0 nothing arrives; a PCFT's is that of `around_mean`, so that with 0 its branch knows of no
    place. Between 0 and 1 a gate is half open, and what lies beyond is allowed.
    """
    transfers = [
        f"{name}.transfers.{pair}"
        for name, module in model.named_modules()
        if isinstance(module, DynamicFusion)
        for pair in module.transfers
    ]
    return ("pcft1", "pcft2", *transfers)
