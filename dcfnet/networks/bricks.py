"""What DCFNet is built of: residual blocks, then the paper's own parts, then the head.

The paper's own are channel fusion, the pyramid cross feature transfers (PCFT) that make a new
branch, and dynamic fusion, in which every branch goes to every branch by a transfer. Nothing works
in place, so a hook sees a value that stays. `dcfnet.networks.dcfnet` puts them together.
"""

import functools
import itertools
from collections import OrderedDict
from collections.abc import Collection

import torch
from torch import Tensor, nn

# --- Blocks of layers -------------------------------------------------------------------------


class ConvNorm(nn.Sequential):
    """Convolution, batch normalisation (BN) and, unless told otherwise, ReLU.

    ``kernel`` 3 pads by 1; ``stride`` 2 halves an even size. BN stands in for a bias.
    """

    conv: nn.Conv2d
    norm: nn.BatchNorm2d

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        relu: bool = True,
        bias: bool = False,
    ) -> None:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=bias)
        norm = nn.BatchNorm2d(outputs, eps=1e-5, momentum=0.01)
        parts: list[tuple[str, nn.Module]] = [("conv", conv), ("norm", norm)]
        super().__init__(OrderedDict([*parts, ("relu", nn.ReLU())] if relu else parts))


class Add(nn.Module):
    """The sum of two tensors, a module so that it can be looked at.

    With ``inplace`` it is written over the second one, unless gradients are recorded: whatever
    made that one may need it again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.inplace = False

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Two tensors of one shape to their sum."""
        return y.add_(x) if self.inplace and not torch.is_grad_enabled() else x + y


class BasicBlock(nn.Module):
    """ReLU(x + BN conv ReLU BN conv x), all at one number of channels (He et al., 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(channels, channels)
        self.conv2 = ConvNorm(channels, channels, relu=False)
        self.add = Add()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, K, H, W) to (B, K, H, W)."""
        return self.relu(self.add(x, self.conv2(self.conv1(x))))


class Bottleneck(nn.Module):
    """A residual block whose 3x3 convolution works on fewer channels (He et al., 2016)."""

    def __init__(self, inputs: int, inner: int, outputs: int, project: bool) -> None:
        super().__init__()
        self.reduce = ConvNorm(inputs, inner, kernel=1)
        self.conv = ConvNorm(inner, inner)
        self.expand = ConvNorm(inner, outputs, kernel=1, relu=False)
        self.shortcut = (
            ConvNorm(inputs, outputs, kernel=1, relu=False) if project else nn.Identity()
        )
        self.add = Add()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W)."""
        return self.relu(self.add(self.shortcut(x), self.expand(self.conv(self.reduce(x)))))


class Keep(nn.Module):
    """The identity, as a step of its own in the graph of derivatives.

    `torch.nn.Identity` hands on the same tensor, so a derivative with respect to its output
    would gather every path that leaves the input. A view has only the paths through this module.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, unchanged."""
        return x.view_as(x)


class Concatenate(nn.Module):
    """Channels of several tensors one after the other, a module so that it can be looked at."""

    def forward(self, *xs: Tensor) -> Tensor:
        """(B, K1, H, W), (B, K2, H, W), ... to (B, K1 + K2 + ..., H, W)."""
        return torch.cat(xs, dim=1)


def up(factor: int) -> nn.Module:
    """Bilinear interpolation to ``factor`` times the size, corners aligned."""
    if factor == 1:
        return Keep()
    return nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=True)


def normalise(weight: Tensor) -> Tensor:
    """ReLU, then each column (a vector is one column) divided by its sum + 1e-4.

    The learned weights of a fusion thereby become shares: at least 0, and almost 1 together.
    """
    positive = weight.relu()
    return positive / (positive.sum(dim=0) + 1e-4)


# --- The paper's parts ------------------------------------------------------------------------


class ChannelFusion(nn.Module):
    """Channel fusion F(x, y): mixes the MS image y into the features x of the same size.

    z = ReLU(a x + b conv(y)), with the normalised pair (a, b); then one basic block. Built for 0
    bands it is the basic block alone.
    """

    def __init__(self, channels: int, bands: int) -> None:
        super().__init__()
        if bands:
            self.pair = nn.Parameter(torch.ones(2))
            self.conv = nn.Conv2d(bands, channels, 3, padding=1, bias=False)
            self.relu = nn.ReLU()
        self.block = BasicBlock(channels)

    def forward(self, x: Tensor, ms: Tensor | None) -> Tensor:
        """``x`` (B, K, h, w) and ``ms`` (B, C, h, w), or None, to (B, K, h, w)."""
        if ms is not None:
            a, b = normalise(self.pair)
            x = self.relu(a * x + b * self.conv(ms))
        return self.block(x)


class PCFT(nn.Module):
    """A pyramid cross feature transfer, which makes a new branch of half the resolution.

    Attributes:
        crossing: Whether the MS image and, in the second PCFT, branch 0 take part. Without them
            the new branch is made from the next finer branch alone, by as many convolutions.
        plain: Whether all that is left is one strided convolution of the next finer branch.
    """

    def __init__(self, crossing: bool, plain: bool) -> None:
        super().__init__()
        self.plain = plain
        self.crossing = crossing and not plain


class FirstPCFT(PCFT):
    """The first pyramid cross feature transfer: makes branch 1 from stage 1 and the MS image."""

    def __init__(self, inputs: int, outputs: int, bands: int, crossing: bool, plain: bool) -> None:
        super().__init__(crossing, plain)
        self.down = ConvNorm(inputs, outputs, stride=2)
        if self.crossing:
            self.ms_up = up(2)
        if not plain:
            self.channel_fusion = ChannelFusion(outputs, bands if self.crossing else 0)

    def forward(self, x: Tensor, ms: Tensor) -> Tensor:
        """``x`` (B, inputs, H, W) and ``ms`` (B, C, H/4, W/4) to (B, outputs, H/2, W/2)."""
        if self.plain:
            return self.down(x)
        return self.channel_fusion(self.down(x), self.ms_up(ms) if self.crossing else None)


class SecondPCFT(PCFT):
    """The second pyramid cross feature transfer: makes branch 2 from branches 0 and 1.

    s = x1 + down(x0), u = F(down(s), ms), v = down'(x1), and branch 2 is a v + b u with the
    normalised pair (a, b), no activation after. Without crossing s is x1, and F a basic block.
    """

    def __init__(
        self, channels: tuple[int, int, int], bands: int, crossing: bool, plain: bool
    ) -> None:
        super().__init__(crossing, plain)
        self.down1 = ConvNorm(channels[1], channels[2], stride=2)
        if self.crossing:
            self.down0 = ConvNorm(channels[0], channels[1], stride=2)
            self.cross = Add()
        if not plain:
            self.down_cross = ConvNorm(channels[1], channels[2], stride=2)
            self.channel_fusion = ChannelFusion(channels[2], bands if self.crossing else 0)
            self.pair = nn.Parameter(torch.ones(2))

    def forward(self, x0: Tensor, x1: Tensor, ms: Tensor) -> Tensor:
        """Branches (B, K0, H, W), (B, K1, H/2, W/2) and ``ms`` to branch 2, (B, K2, H/4, W/4)."""
        v = self.down1(x1)
        if self.plain:
            return v
        s = self.cross(x1, self.down0(x0)) if self.crossing else x1
        u = self.channel_fusion(self.down_cross(s), ms if self.crossing else None)
        a, b = normalise(self.pair)
        return a * v + b * u


class Transfer(nn.Module):
    """T_ij, which brings branch j (the source) to the size and channels of branch i (the target).

    From low resolution to high (j > i) it is a 1x1 convolution, BN and interpolation; from high
    to low (j < i) it is i - j strided 3x3 convolutions with BN, and a ReLU between them. Its last
    convolution is ``last.conv``; its own output is what arrives at the target.
    """

    def __init__(self, source: int, target: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        inputs, outputs = channels[source], channels[target]
        steps = [ConvNorm(inputs, inputs, stride=2) for _ in range(target - source - 1)]
        self.steps = nn.Sequential(*steps)
        kernel, stride = (1, 1) if source > target else (3, 2)
        self.last = ConvNorm(inputs, outputs, kernel, stride, relu=False)
        self.up = up(2 ** max(source - target, 0))

    def forward(self, x: Tensor) -> Tensor:
        """(B, Kj, H/2^j, W/2^j) to (B, Ki, H/2^i, W/2^i)."""
        return self.up(self.last(self.steps(x)))


class DynamicFusion(nn.Module):
    """Dynamic fusion of n branches: new branch i = ReLU(sum over j of a_ij T_ij(x_j)).

    The shares a_ij are the learned (n + 1) x (n + 1) matrix ``weight``, initially 1, after
    `normalise`. Its spare row takes part only in the sums; its spare column does nothing.
    """

    present: Tensor

    def __init__(self, channels: tuple[int, ...], without: Collection[str]) -> None:
        super().__init__()
        n = len(channels)
        self.weight = nn.Parameter(torch.ones(n + 1, n + 1))
        self.transfers = nn.ModuleDict()
        present = torch.ones(n + 1, n + 1)
        for target, source in itertools.product(range(n), repeat=2):
            name = f"{source}_to_{target}"
            if name in without:
                present[target, source] = 0
            elif source == target:
                self.transfers[name] = Keep()
            else:
                self.transfers[name] = Transfer(source, target, channels)
        self.register_buffer("present", present, persistent=False)
        self.fused = nn.ModuleList(nn.ReLU() for _ in range(n))

    def shares(self) -> Tensor:
        """The (n + 1) x (n + 1) matrix of a_ij, row i the target, column j the source."""
        return normalise(self.weight * self.present)

    def forward(self, *xs: Tensor) -> list[Tensor]:
        """Branches 0 to n - 1 to the fused branches, each of its own shape."""
        a = self.shares()
        fused = []
        for i, relu in enumerate(self.fused):
            arrived = [
                a[i, j] * self.transfers[f"{j}_to_{i}"](x)
                for j, x in enumerate(xs)
                if f"{j}_to_{i}" in self.transfers
            ]
            fused.append(relu(sum(arrived[1:], arrived[0])))
        return fused


class Branches(nn.ModuleList):
    """Parallel branches, three basic blocks each."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__(nn.Sequential(*(BasicBlock(k) for _ in range(3))) for k in channels)

    def forward(self, *xs: Tensor) -> list[Tensor]:
        """One tensor per branch to one tensor per branch, each of its own shape."""
        return [branch(x) for branch, x in zip(self, xs, strict=True)]


class Stage(nn.Module):
    """Parallel branches, and the dynamic fusion that follows them."""

    def __init__(self, channels: tuple[int, ...], without: Collection[str]) -> None:
        super().__init__()
        self.branches = Branches(channels)
        self.fusion = DynamicFusion(channels, without)


class Head(nn.Module):
    """All branches at branch 0's size, concatenated; two 1x1 convolutions give the bands."""

    def __init__(self, channels: tuple[int, ...], bands: int) -> None:
        super().__init__()
        total = sum(channels)
        self.up = nn.ModuleList(up(2**i) for i in range(len(channels)))
        self.concat = Concatenate()
        self.mix = ConvNorm(total, total, kernel=1, bias=True)
        self.out = nn.Conv2d(total, bands, 1)

    def forward(self, *xs: Tensor) -> Tensor:
        """Branches (B, Ki, H/2^i, W/2^i) to (B, C, H, W)."""
        return self.out(self.mix(self.concat(*(up(x) for up, x in zip(self.up, xs, strict=True)))))


class SplitHead(nn.Module):
    """The head with its first convolution applied before the interpolation.

    A 1x1 convolution mixes the channels of one pixel, interpolation mixes the pixels of one
    channel: in either order the result is the same. The cost is not: 2/7 of the convolution's
    work moves to a quarter of the pixels and 4/7 to a sixteenth, so that a quarter remains.
    """

    def __init__(self, head: Head, channels: tuple[int, ...]) -> None:
        super().__init__()
        whole, after = head.mix.conv, list(head.mix)[1:]
        self.mix = nn.ModuleList()
        for i, weight in enumerate(torch.split(whole.weight, list(channels), dim=1)):
            part = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=i == 0)
            part.weight = nn.Parameter(weight.clone())
            if i == 0:
                part.bias = whole.bias
            self.mix.append(part)
        self.resize = head.up
        self.add = Add()
        self.after = nn.Sequential(*after)
        self.out = head.out

    def forward(self, *xs: Tensor) -> Tensor:
        """Branches (B, Ki, H/2^i, W/2^i) to (B, C, H, W)."""
        mixed = (up(mix(x)) for up, mix, x in zip(self.resize, self.mix, xs, strict=True))
        return self.out(self.after(functools.reduce(self.add, mixed)))
