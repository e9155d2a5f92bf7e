"""DCFNet, the dynamic cross feature fusion network for pansharpening (Wu et al., ICCV 2021).

Three branches work side by side: branch 0 at PAN's resolution, branch 1 at half of it, branch 2
at a quarter, the resolution of the MS image. Read this file from the top: first the bricks, then
what is the paper's own (channel fusion, dynamic fusion, pyramid cross feature transfer), then the
network, whose `forward` is the paper's overview figure in words.

Everything that one may want to look at is a module with a dotted name: `DCFNet.parts` lists them.
Nothing works in place, so a hook sees a value that stays (a copy for inference is another
matter, see `DCFNet.fused_for_inference`).

Reference:
    X. Wu, T.-Z. Huang, L.-J. Deng and T.-J. Zhang, "Dynamic Cross Feature Fusion for Remote
    Sensing Pansharpening", ICCV 2021.
"""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dcfnet.errors import unknown
from dcfnet.networks.base import PansharpeningNetwork, initialise, pad_inputs

__all__ = ["REMOVABLE", "DCFNet", "DCFNetConfig", "Part"]


def _transfer_names(stage: int, branches: int) -> Iterator[str]:
    for target in range(branches):
        for source in range(branches):
            if source != target:
                yield f"stage{stage}.fusion.transfers.{source}_to_{target}"


REMOVABLE: tuple[str, ...] = ("pcft1", "pcft2", *_transfer_names(2, 2), *_transfer_names(3, 3))
"""The names that `DCFNetConfig.without` takes."""


@dataclass(frozen=True)
class DCFNetConfig:
    """What can be chosen about a DCFNet.

    Attributes:
        bands: C, the number of MS bands.
        inject_details: Whether ``lms`` is added to the head's output, so that the network learns
            only the details that ``lms`` lacks. The head's last convolution then starts at zero:
            an untrained network returns ``lms``.
        width: Scales every number of channels; 1 is the paper's network. With 0.25 the network
            has about 1/16 of its weights, for training on a small machine.
        without: Names, out of `REMOVABLE`, of parts to leave out. A removed transfer adds nothing
            to its target, has no weights, and its entry of the fusion matrix takes no part in
            the sums of the normalisation: the other entries of that column share its weight. In
            place of a removed PCFT stands what a new branch gets without one: a single strided
            convolution of the next finer branch. All other parts keep their names and shapes.

    Raises:
        ValueError: A value is out of its range, or a name in ``without`` is unknown.
    """

    bands: int = 8
    inject_details: bool = True
    width: float = 1.0
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.width > 0:
            raise ValueError(f"width must be above 0 (1 is the paper's network), got {self.width}")
        names = (self.without,) if isinstance(self.without, str) else tuple(self.without)
        for name in names:
            if name not in REMOVABLE:
                raise ValueError(unknown("removable part of DCFNet", name, REMOVABLE))
        # One spelling for one network, whatever order or container the names came in.
        object.__setattr__(self, "without", tuple(name for name in REMOVABLE if name in names))

    def channels(self, paper: int) -> int:
        """The number of channels where the paper's network has ``paper``."""
        return max(1, round(paper * self.width))


# --- Bricks -----------------------------------------------------------------------------------


class ConvNorm(nn.Sequential):
    """Convolution, batch normalisation (BN) and, unless told otherwise, ReLU.

    ``kernel`` 3 pads by 1; ``stride`` 2 halves an even size. BN stands in for a bias.
    """

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

    z = ReLU(a x + b conv(y)), with the normalised pair (a, b); then one basic block.
    """

    def __init__(self, channels: int, bands: int) -> None:
        super().__init__()
        self.pair = nn.Parameter(torch.ones(2))
        self.conv = nn.Conv2d(bands, channels, 3, padding=1, bias=False)
        self.relu = nn.ReLU()
        self.block = BasicBlock(channels)

    def forward(self, x: Tensor, ms: Tensor) -> Tensor:
        """``x`` (B, K, h, w) and ``ms`` (B, C, h, w) to (B, K, h, w)."""
        a, b = normalise(self.pair)
        return self.block(self.relu(a * x + b * self.conv(ms)))


class FirstPCFT(nn.Module):
    """The first pyramid cross feature transfer: makes branch 1 from stage 1 and the MS image."""

    def __init__(self, inputs: int, outputs: int, bands: int, plain: bool) -> None:
        super().__init__()
        self.plain = plain
        self.down = ConvNorm(inputs, outputs, stride=2)
        if not plain:
            self.ms_up = up(2)
            self.channel_fusion = ChannelFusion(outputs, bands)

    def forward(self, x: Tensor, ms: Tensor) -> Tensor:
        """``x`` (B, inputs, H, W) and ``ms`` (B, C, H/4, W/4) to (B, outputs, H/2, W/2)."""
        if self.plain:
            return self.down(x)
        return self.channel_fusion(self.down(x), self.ms_up(ms))


class SecondPCFT(nn.Module):
    """The second pyramid cross feature transfer: makes branch 2 from branches 0 and 1.

    s = x1 + down(x0), u = F(down(s), ms), v = down'(x1), and branch 2 is a v + b u with the
    normalised pair (a, b), no activation after.
    """

    def __init__(self, channels: tuple[int, int, int], bands: int, plain: bool) -> None:
        super().__init__()
        self.plain = plain
        self.down1 = ConvNorm(channels[1], channels[2], stride=2)
        if not plain:
            self.down0 = ConvNorm(channels[0], channels[1], stride=2)
            self.cross = Add()
            self.down_cross = ConvNorm(channels[1], channels[2], stride=2)
            self.channel_fusion = ChannelFusion(channels[2], bands)
            self.pair = nn.Parameter(torch.ones(2))

    def forward(self, x0: Tensor, x1: Tensor, ms: Tensor) -> Tensor:
        """Branches (B, K0, H, W), (B, K1, H/2, W/2) and ``ms`` to branch 2, (B, K2, H/4, W/4)."""
        v = self.down1(x1)
        if self.plain:
            return v
        s = self.cross(x1, self.down0(x0))
        u = self.channel_fusion(self.down_cross(s), ms)
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

    def __init__(self, channels: tuple[int, ...], without: Collection[str]) -> None:
        super().__init__()
        n = len(channels)
        self.weight = nn.Parameter(torch.ones(n + 1, n + 1))
        self.transfers = nn.ModuleDict()
        present = torch.ones(n + 1, n + 1)
        for target in range(n):
            for source in range(n):
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
        whole, *after = head.mix
        self.mix = nn.ModuleList()
        for i, weight in enumerate(whole.weight.split(channels, dim=1)):
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


# --- The network ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """A part of the network that a forward hook can address.

    Attributes:
        name: Its dotted name: ``model.get_submodule(name)`` is the module.
        label: What it is, in words.
        kind: What sort of part it is.
        channels: Number of channels of its output.
        scale: H and W divided by the height and width of its output: 1, 2 or 4.
        stage: 2 or 3 where it belongs to a stage, else None.
        target: Index of the branch that it belongs to or, of a transfer, arrives at.
        source: Index of the branch that a transfer comes from, else None.
    """

    name: str
    label: str
    kind: Literal[
        "trunk", "entry", "pcft", "pcft step", "branch", "transfer", "last convolution", "fused",
        "head",
    ]  # fmt: skip
    channels: int
    scale: int = 1
    stage: int | None = None
    target: int | None = None
    source: int | None = None

    def shape(self, height: int, width: int) -> tuple[int, int, int]:
        """(channels, rows, columns) of its output for a PAN image of that size."""
        padded = (-(-height // 4) * 4, -(-width // 4) * 4)
        return (self.channels, padded[0] // self.scale, padded[1] // self.scale)


class DCFNet(PansharpeningNetwork):
    """Dynamic cross feature fusion network (Wu et al., ICCV 2021).

    Convolutions start as `dcfnet.networks.base.initialise` says, the head's last one as
    ``inject_details`` says; all learned weights of fusions start at 1.

    Args:
        config: What to build; the paper's network for 8 bands unless given.

    Example:
        >>> model = DCFNet(DCFNetConfig(bands=4, width=0.25))
        >>> pan, ms, lms = (torch.rand(1, c, n, n) for c, n in ((1, 64), (4, 16), (4, 64)))
        >>> model(pan, ms, lms).shape
        torch.Size([1, 4, 64, 64])
    """

    name: ClassVar[str] = "dcfnet"
    title: ClassVar[str] = "DCFNet"
    pan_first: ClassVar[bool] = True

    def __init__(self, config: DCFNetConfig | None = None) -> None:
        config = config or DCFNetConfig()
        super().__init__(config.bands)
        self.config = config
        self.for_inference = False
        k, bands, without = config.channels, config.bands, config.without
        trunk = k(256)
        self.channels = (k(32), k(64), k(128))

        self.stem = nn.Sequential(ConvNorm(bands + 1, k(64)), ConvNorm(k(64), k(64)))
        self.stage1 = nn.Sequential(
            Bottleneck(k(64), k(64), trunk, project=True),
            *(Bottleneck(trunk, k(64), trunk, project=False) for _ in range(3)),
        )
        self.to_branch0 = ConvNorm(trunk, self.channels[0])
        self.pcft1 = FirstPCFT(trunk, self.channels[1], bands, plain="pcft1" in without)
        self.stage2 = Stage(self.channels[:2], _transfers_of("stage2", without))
        self.pcft2 = SecondPCFT(self.channels, bands, plain="pcft2" in without)
        self.stage3 = Stage(self.channels, _transfers_of("stage3", without))
        self.head = Head(self.channels, bands)
        initialise(self)
        if config.inject_details:
            nn.init.zeros_(self.head.out.weight)

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments, beside ``bands``, that build this network again."""
        return {name: value for name, value in asdict(self.config).items() if name != "bands"}

    def forward(self, pan: Tensor, ms: Tensor, lms: Tensor) -> Tensor:
        """Fuses PAN and MS.

        Args:
            pan: (B, 1, H, W), digital numbers divided by the sensor's maximum, as all three.
            ms: (B, C, ceil(H/4), ceil(W/4)).
            lms: (B, C, H, W), ``ms`` interpolated to PAN's grid.

        Returns:
            The fused image, (B, C, H, W). Where H or W is not a multiple of 4 the inputs are
            padded by repeating their border, and the result is cropped.

        Raises:
            DataError: The shapes do not belong together.
        """
        height, width = pan.shape[-2:]
        pan, ms, lms = pad_inputs(pan, ms, lms, self.bands)

        x = self.stem(torch.cat((pan, lms), dim=1))
        x = self.stage1(x)

        x0, x1 = self.to_branch0(x), self.pcft1(x, ms)
        del x  # the widest tensor of all: nothing needs it any more
        x0, x1 = self.stage2.branches(x0, x1)
        x2 = self.pcft2(x0, x1, ms)
        x0, x1 = self.stage2.fusion(x0, x1)

        x0, x1, x2 = self.stage3.branches(x0, x1, x2)
        x0, x1, x2 = self.stage3.fusion(x0, x1, x2)

        fused = self.head(x0, x1, x2)
        if self.config.inject_details:
            fused = fused + lms
        return fused[..., :height, :width]

    def parts(self) -> dict[str, Part]:
        """All parts that a figure or a map may want to show, by dotted name, in order of use.

        Example:
            >>> model.parts()["stage3.fusion.transfers.2_to_0"].label
            'stage 3, T02: branch 2 to branch 0, as it arrives'

        Raises:
            RuntimeError: This is a copy for inference, whose parts hold other values.
        """
        if self.for_inference:
            raise RuntimeError(
                "this copy was made by fused_for_inference(), where a convolution has taken in "
                "what followed it: look at the parts of the network that it was made from"
            )
        return {part.name: part for part in self._parts()}

    def _parts(self) -> Iterator[Part]:
        k, bands, trunk = self.channels, self.bands, self.config.channels(256)
        yield Part("stem", "stem", "trunk", self.config.channels(64))
        yield Part("stage1", "stage 1", "trunk", trunk)

        yield Part("to_branch0", "entry to branch 0", "entry", k[0], stage=2, target=0)
        name, label = "pcft1", "first PCFT"
        yield Part(f"{name}.down", f"{label}, stage 1 at half size", "pcft step", k[1], 2, 2, 1)
        if not self.pcft1.plain:
            yield Part(f"{name}.ms_up", f"{label}, MS at half size", "pcft step", bands, 2, 2, 1)
            yield Part(
                f"{name}.channel_fusion", f"{label}, channel fusion", "pcft step", k[1], 2, 2, 1
            )
        yield Part(name, f"{label}: makes branch 1", "pcft", k[1], 2, 2, 1)

        yield from self._branch_parts(2, self.stage2)
        name, label = "pcft2", "second PCFT"
        yield Part(
            f"{name}.down1", f"{label}, v: branch 1 at half size", "pcft step", k[2], 4, 3, 2
        )
        if not self.pcft2.plain:
            steps = (
                ("down0", "branch 0 at half size", k[1], 2),
                ("cross", "s: branches 0 and 1 together", k[1], 2),
                ("down_cross", "s at half size", k[2], 4),
                ("channel_fusion", "u: channel fusion", k[2], 4),
            )
            for step, what, channels, scale in steps:
                yield Part(f"{name}.{step}", f"{label}, {what}", "pcft step", channels, scale, 3, 2)
        yield Part(name, f"{label}: makes branch 2", "pcft", k[2], 4, 3, 2)
        yield from self._fusion_parts(2, self.stage2)

        yield from self._branch_parts(3, self.stage3)
        yield from self._fusion_parts(3, self.stage3)

        for i, channels in enumerate(k):
            label = f"head, branch {i} at full size"
            yield Part(f"head.up.{i}", label, "head", channels, target=i)
        yield Part("head.concat", "head, concatenation of all branches", "head", sum(k))
        yield Part("head.mix", "head, first 1x1 convolution, BN and ReLU", "head", sum(k))
        yield Part("head.out", "head, second 1x1 convolution", "head", bands)

    def _branch_parts(self, number: int, stage: Stage) -> Iterator[Part]:
        for i in range(len(stage.branches)):
            name, label = f"stage{number}.branches.{i}", f"stage {number}, branch {i}"
            yield Part(name, label, "branch", self.channels[i], 2**i, number, i)

    def _fusion_parts(self, number: int, stage: Stage) -> Iterator[Part]:
        k = self.channels
        n = len(stage.branches)
        for i in range(n):
            for j in range(n):
                if f"{j}_to_{i}" not in stage.fusion.transfers:
                    continue
                name = f"stage{number}.fusion.transfers.{j}_to_{i}"
                label = f"stage {number}, T{i}{j}: branch {j}"
                if i == j:
                    label += " itself"
                else:
                    label += f" to branch {i}"
                    yield Part(
                        name=f"{name}.last.conv",
                        label=f"{label}, last convolution",
                        kind="last convolution",
                        channels=k[i],
                        scale=2 ** max(i, j),  # an interpolation is still to come
                        stage=number,
                        target=i,
                        source=j,
                    )
                    label += ", as it arrives"
                yield Part(name, label, "transfer", k[i], 2**i, number, i, j)
            name, label = f"stage{number}.fusion.fused.{i}", f"stage {number}, fused branch {i}"
            yield Part(name, label, "fused", k[i], 2**i, number, i)

    def fused_for_inference(
        self,
        fold_norms: bool = True,
        split_head: bool = True,
        channels_last: bool = True,
        in_place: bool = True,
    ) -> Self:
        """A copy in eval mode, without gradients, that costs less for the same answer.

        The answer is that of this network in eval mode up to rounding. The copy can be neither
        trained nor saved, and its parts no longer hold what `parts` says.

        Args:
            fold_norms: Every BN, in eval mode an affine map of each channel, becomes part of the
                convolution before it.
            split_head: The head's first convolution comes before the interpolation (`SplitHead`).
            channels_last: Weights, and with them all tensors between, are stored channels-last.
            in_place: A ReLU or a sum overwrites its input, which saves memory and its traffic.
        """
        fast = copy.deepcopy(self).eval().requires_grad_(False)
        fast.for_inference = True
        if fold_norms:
            for module in fast.modules():
                if isinstance(module, ConvNorm):
                    module.conv = fuse_conv_bn_eval(module.conv, module.norm)
                    del module.norm
        if split_head:
            fast.head = SplitHead(fast.head, self.channels)
        if in_place:
            for module in fast.modules():
                if isinstance(module, (nn.ReLU, Add)):
                    module.inplace = True
        fast.requires_grad_(False)
        return fast.to(memory_format=torch.channels_last) if channels_last else fast


def _transfers_of(stage: str, names: tuple[str, ...]) -> set[str]:
    prefix = f"{stage}.fusion.transfers."
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
