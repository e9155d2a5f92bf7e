"""What all networks share: one signature, a check of their inputs, a copy for inference."""

import contextlib
import copy
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcfnet.errors import DataError
from dcfnet.imagery.sensors import Sensor

RATIO = 4
"""PAN pixels per MS pixel along each axis, in every network here."""


class PansharpeningNetwork(nn.Module):
    """A network that is called as ``fused = model(pan, ms, lms)``.

    Shapes: ``pan`` (B, 1, H, W), ``ms`` (B, C, ceil(H/4), ceil(W/4)), ``lms`` (B, C, H, W),
    ``fused`` (B, C, H, W); floats, digital numbers divided by the sensor's maximum.

    Attributes:
        name: What `dcfnet.build_network` calls it, for example ``"pnn"``.
        title: What tables and figures call it, for example ``"PNN"``.
        bands: C, the number of MS bands.
        pan_first: Whether its first layer has PAN before the bands, not after them.
        released_layers: Layers by their names in the released checkpoints, where there are any.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    pan_first: ClassVar[bool] = False
    released_layers: ClassVar[dict[str, str]] = {}

    def __init__(self, bands: int = 8) -> None:
        super().__init__()
        if not isinstance(bands, int) or bands < 1:
            raise ValueError(f"bands must be a whole number of at least 1, got {bands!r}")
        self.bands = bands

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments, beside ``bands``, that build this network again."""
        return {}

    def fused_for_inference(self) -> Self:
        """A copy in eval mode, without gradients, that costs less for the same answer.

        Here it is only stored channels-last, the layout in which a CPU convolves fastest. A
        network with batch normalisation does more, see `dcfnet.networks.dcfnet.DCFNet`.
        """
        fast = copy.deepcopy(self).eval().requires_grad_(False)
        return fast.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@contextlib.contextmanager
def as_used(model: nn.Module) -> Iterator[None]:
    """Eval mode, and parameters that record no derivatives; afterwards all as it was."""
    training = {module: module.training for module in model.modules()}
    learned = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        model.eval().requires_grad_(False)
        yield
    finally:
        for module, mode in training.items():
            module.training = mode
        for parameter, mode in learned.items():
            parameter.requires_grad_(mode)


def require_bands(model: PansharpeningNetwork, sensor: Sensor, instead: str = "") -> None:
    """Requires a network for a sensor's number of bands; a `DataError` says what to pass."""
    if model.bands != sensor.n_bands:
        raise DataError(
            f"the network is for {model.bands} bands, {sensor.title} has {sensor.n_bands}: pass "
            + (instead or "one for as many bands, or dcfnet.networks.rebanded(model, ...)")
        )


def check_inputs(pan: Tensor, ms: Tensor, lms: Tensor, bands: int) -> None:
    """Checks that the three images have the shapes that `PansharpeningNetwork` asks for."""
    if pan.ndim != 4 or pan.shape[1] != 1:
        raise DataError(f"pan must have shape (B, 1, H, W), got {tuple(pan.shape)}")
    batch, _, height, width = pan.shape
    expected = {
        "lms": (batch, bands, height, width),
        "ms": (batch, bands, -(-height // RATIO), -(-width // RATIO)),
    }
    for name, image in (("lms", lms), ("ms", ms)):
        if tuple(image.shape) != expected[name]:
            raise DataError(
                f"{name} must have shape {expected[name]} (batch, bands, rows, columns) for a "
                f"network of {bands} bands and a pan of shape {tuple(pan.shape)}, got "
                f"{tuple(image.shape)}: pass images of one scene, the MS image {RATIO} times "
                "smaller than PAN, to a network built for their number of bands"
            )


def pad_inputs(pan: Tensor, ms: Tensor, lms: Tensor, bands: int) -> tuple[Tensor, Tensor, Tensor]:
    """The checked inputs, ``pan`` and ``lms`` padded to 4 times the size of ``ms``.

    Where H or W is not a multiple of 4 the last MS row or column covers less than 4 PAN pixels;
    the missing ones, at the bottom and right, repeat the border. The caller crops the result.
    """
    check_inputs(pan, ms, lms, bands)
    bottom = RATIO * ms.shape[-2] - pan.shape[-2]
    right = RATIO * ms.shape[-1] - pan.shape[-1]
    if bottom or right:
        pan = F.pad(pan, (0, right, 0, bottom), mode="replicate")
        lms = F.pad(lms, (0, right, 0, bottom), mode="replicate")
    return pan, ms, lms


def high_pass(image: Tensor) -> Tensor:
    """An image (B, K, H, W) minus its mean over 5 x 5 pixels, its border mirrored."""
    if min(image.shape[-2:]) < 3:
        raise DataError(
            "the high-pass filter needs an image of at least 3 x 3 pixels, got "
            f"{image.shape[-2]} x {image.shape[-1]}: pass a larger one"
        )
    return image - F.avg_pool2d(F.pad(image, (2, 2, 2, 2), mode="reflect"), 5, stride=1)


def initialise(network: nn.Module) -> None:
    """Starts every convolution from He's normal distribution, with biases at zero.

    Their variance 2 / fan_in keeps the scale of the values through layers of convolution and
    ReLU (He et al., 2015); the released code of DCFNet brings the same initialiser. All networks
    start alike, so that none has an advantage in a comparison of convergence.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            if module.weight.is_meta:
                continue  # it has no values, and PyTorch would import its compiler to set them
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
