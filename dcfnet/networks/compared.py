"""The five networks that DCFNet is compared with: five ideas, each in a few lines.

Every convolution has a bias and keeps the size of its input, unless its line says otherwise.
``released_layers`` maps the names of the layers in the checkpoints of the DLPan-Toolbox (Deng et
al., 2022) to the names here.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dcfnet.networks.base import (
    PansharpeningNetwork,
    check_inputs,
    high_pass,
    initialise,
    pad_inputs,
)


def conv(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    """A convolution that keeps the size."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)


class ResidualBlock(nn.Module):
    """x + conv(ReLU(conv(x))), no ReLU after."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, 3)
        self.relu = nn.ReLU()
        self.conv2 = conv(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, K, H, W) to (B, K, H, W)."""
        return x + self.conv2(self.relu(self.conv1(x)))


# The released files hold each residual block twice: by its name, and in a list of all.
_RELEASED_BLOCKS = {
    f"{block}.conv2{j}": f"blocks.{i}.conv{j + 1}"
    for i in range(4)
    for j in range(2)
    for block in (f"res{i + 1}", f"backbone.{i}")
}


class PNN(PansharpeningNetwork):
    """Super-resolution: three convolutions from PAN and ``lms`` to the fused image.

    The images are padded by repeating their border, so that no convolution has to.

    Reference:
        G. Masi, D. Cozzolino, L. Verdoliva and G. Scarpa, "Pansharpening by Convolutional Neural
        Networks", Remote Sensing 8(7), 594, 2016.
    """

    name: ClassVar[str] = "pnn"
    title: ClassVar[str] = "PNN"
    released_layers: ClassVar[dict[str, str]] = {k: k for k in ("conv1", "conv2", "conv3")}

    def __init__(self, bands: int = 8) -> None:
        super().__init__(bands)
        self.pad = nn.ReplicationPad2d(8)
        self.conv1 = nn.Conv2d(bands + 1, 64, 9)
        self.conv2 = nn.Conv2d(64, 32, 5)
        self.conv3 = nn.Conv2d(32, bands, 5)
        self.relu = nn.ReLU()
        initialise(self)

    def forward(self, pan: Tensor, ms: Tensor, lms: Tensor) -> Tensor:
        """Fuses PAN and MS; shapes as in `PansharpeningNetwork`."""
        check_inputs(pan, ms, lms, self.bands)
        x = self.pad(torch.cat((lms, pan), dim=1))
        x = self.relu(self.conv1(x))
        x = self.relu(self.conv2(x))
        return self.conv3(x)


class PanNet(PansharpeningNetwork):
    """High-pass: the network sees only edges and texture, and adds what it makes to ``lms``.

    Args:
        bands: C, the number of MS bands.
        high_pass: Whether the inputs are high-passed, as in the paper; else it sees them as they
            are.

    Reference:
        J. Yang, X. Fu, Y. Hu, Y. Huang, X. Ding and J. Paisley, "PanNet: A Deep Network
        Architecture for Pan-Sharpening", ICCV 2017, pp. 1753-1761.
    """

    name: ClassVar[str] = "pannet"
    title: ClassVar[str] = "PanNet"
    released_layers: ClassVar[dict[str, str]] = {
        "deconv": "deconv",
        "conv1": "first",
        **_RELEASED_BLOCKS,
        "conv3": "last",
    }

    def __init__(self, bands: int = 8, high_pass: bool = True) -> None:
        super().__init__(bands)
        self.high_pass = high_pass
        self.deconv = nn.ConvTranspose2d(bands, bands, 8, stride=4, padding=2)
        self.first = conv(bands + 1, 32, 3)
        self.relu = nn.ReLU()
        self.blocks = nn.Sequential(*(ResidualBlock(32) for _ in range(4)))
        self.last = conv(32, bands, 3)
        initialise(self)

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments, beside ``bands``, that build this network again."""
        return {"high_pass": self.high_pass}

    def forward(self, pan: Tensor, ms: Tensor, lms: Tensor) -> Tensor:
        """Fuses PAN and MS; shapes as in `PansharpeningNetwork`."""
        height, width = pan.shape[-2:]
        pan, ms, lms = pad_inputs(pan, ms, lms, self.bands)
        if self.high_pass:
            pan, ms = high_pass(pan), high_pass(ms)
        x = torch.cat((self.deconv(ms), pan), dim=1)
        x = self.blocks(self.relu(self.first(x)))
        return (lms + self.last(x))[..., :height, :width]


class DiCNN(PansharpeningNetwork):
    """Detail injection: three convolutions make only the details that ``lms`` lacks.

    This is DiCNN1, the variant that sees PAN and ``lms``.

    Reference:
        L. He, Y. Rao, J. Li, J. Chanussot, A. Plaza, J. Zhu and B. Li, "Pansharpening via Detail
        Injection Based Convolutional Neural Networks", IEEE J-STARS 12(4), 2019.
    """

    name: ClassVar[str] = "dicnn"
    title: ClassVar[str] = "DiCNN"
    released_layers: ClassVar[dict[str, str]] = {k: k for k in ("conv1", "conv2", "conv3")}

    def __init__(self, bands: int = 8) -> None:
        super().__init__(bands)
        self.conv1 = conv(bands + 1, 64, 3)
        self.conv2 = conv(64, 64, 3)
        self.conv3 = conv(64, bands, 3)
        self.relu = nn.ReLU()
        initialise(self)

    def forward(self, pan: Tensor, ms: Tensor, lms: Tensor) -> Tensor:
        """Fuses PAN and MS; shapes as in `PansharpeningNetwork`."""
        check_inputs(pan, ms, lms, self.bands)
        x = torch.cat((lms, pan), dim=1)
        x = self.relu(self.conv1(x))
        x = self.relu(self.conv2(x))
        return lms + self.conv3(x)


class MultiScaleBlock(nn.Module):
    """ReLU(x + the outputs of a 3x3, a 5x5 and a 7x7 convolution, one after the other)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv3 = conv(channels, channels // 3, 3)
        self.conv5 = conv(channels, channels // 3, 5)
        self.conv7 = conv(channels, channels // 3, 7)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, K, H, W) to (B, K, H, W)."""
        return self.relu(x + torch.cat((self.conv3(x), self.conv5(x), self.conv7(x)), dim=1))


class MSDCNN(PansharpeningNetwork):
    """Multi-scale: kernels of several sizes side by side, and a shallow path beside a deep one.

    Reference:
        Q. Yuan, Y. Wei, X. Meng, H. Shen and L. Zhang, "A Multiscale and Multidepth Convolutional
        Neural Network for Remote Sensing Imagery Pan-Sharpening", IEEE J-STARS 11(3), 2018.
    """

    name: ClassVar[str] = "msdcnn"
    title: ClassVar[str] = "MSDCNN"
    released_layers: ClassVar[dict[str, str]] = {
        "conv1": "deep.0",
        **{f"conv2_{i + 1}": f"deep.2.conv{k}" for i, k in enumerate((3, 5, 7))},
        "conv3": "deep.3",
        **{f"conv4_{i + 1}": f"deep.5.conv{k}" for i, k in enumerate((3, 5, 7))},
        "conv5": "deep.6",
        "shallow1": "shallow.0",
        "shallow2": "shallow.2",
        "shallow3": "shallow.4",
    }

    def __init__(self, bands: int = 8) -> None:
        super().__init__(bands)
        self.deep = nn.Sequential(
            conv(bands + 1, 60, 7), nn.ReLU(), MultiScaleBlock(60),
            conv(60, 30, 3), nn.ReLU(), MultiScaleBlock(30),
            conv(30, bands, 5),
        )  # fmt: skip
        self.shallow = nn.Sequential(
            conv(bands + 1, 64, 9), nn.ReLU(),
            conv(64, 32, 1), nn.ReLU(),
            conv(32, bands, 5),
        )  # fmt: skip
        self.relu = nn.ReLU()
        initialise(self)

    def forward(self, pan: Tensor, ms: Tensor, lms: Tensor) -> Tensor:
        """Fuses PAN and MS; shapes as in `PansharpeningNetwork`."""
        check_inputs(pan, ms, lms, self.bands)
        x = torch.cat((lms, pan), dim=1)
        return self.relu(self.deep(x) + self.shallow(x))


class FusionNet(PansharpeningNetwork):
    """Residual: from the difference between PAN and each band of ``lms`` to the missing details.

    Args:
        bands: C, the number of MS bands.
        high_pass: Whether that difference is high-passed, as PanNet's inputs are; not in the
            paper.

    Reference:
        L.-J. Deng, G. Vivone, C. Jin and J. Chanussot, "Detail Injection-Based Deep Convolutional
        Neural Networks for Pansharpening", IEEE TGRS 59(8), 2021.
    """

    name: ClassVar[str] = "fusionnet"
    title: ClassVar[str] = "FusionNet"
    released_layers: ClassVar[dict[str, str]] = {
        "conv1": "first",
        **_RELEASED_BLOCKS,
        "conv3": "last",
    }

    def __init__(self, bands: int = 8, high_pass: bool = False) -> None:
        super().__init__(bands)
        self.high_pass = high_pass
        self.first = conv(bands, 32, 3)
        self.relu = nn.ReLU()
        self.blocks = nn.Sequential(*(ResidualBlock(32) for _ in range(4)))
        self.last = conv(32, bands, 3)
        initialise(self)

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments, beside ``bands``, that build this network again."""
        return {"high_pass": self.high_pass}

    def forward(self, pan: Tensor, ms: Tensor, lms: Tensor) -> Tensor:
        """Fuses PAN and MS; shapes as in `PansharpeningNetwork`."""
        check_inputs(pan, ms, lms, self.bands)
        x = pan - lms  # PAN once for every band
        if self.high_pass:
            x = high_pass(x)
        x = self.blocks(self.relu(self.first(x)))
        return lms + self.last(x)
