"""DCFNet, the dynamic cross feature fusion network for pansharpening (Wu et al., ICCV 2021).

Three branches work side by side: branch 0 at PAN's resolution, branch 1 at half of it, branch 2
at a quarter, the resolution of the MS image. `DCFNet.forward` is the paper's overview figure in
words; what it is made of stands in `dcfnet.networks.bricks`, the names of its parts in
`dcfnet.networks.parts`.

Reference:
    X. Wu, T.-Z. Huang, L.-J. Deng and T.-J. Zhang, "Dynamic Cross Feature Fusion for Remote
    Sensing Pansharpening", ICCV 2021.
"""

import copy
import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dcfnet.errors import unknown
from dcfnet.networks.base import PansharpeningNetwork, high_pass, initialise, pad_inputs
from dcfnet.networks.bricks import (
    Add,
    Bottleneck,
    ConvNorm,
    FirstPCFT,
    Head,
    SecondPCFT,
    SplitHead,
    Stage,
)
from dcfnet.networks.parts import Part, list_parts, transfer_name

REMOVABLE: tuple[str, ...] = (
    "pcft1",
    "pcft2",
    "pcft1.crossing",
    "pcft2.crossing",
    *(
        transfer_name(stage, source, target)
        for stage in (2, 3)
        for target in range(stage)
        for source in range(stage)
        if source != target
    ),
)
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
            convolution of the next finer branch. A PCFT without its *crossing* keeps its
            convolutions but gets that branch alone, neither the MS image nor, in the second,
            branch 0: beside a network without PCFTs, which is also less deep, it is the control
            that is as deep. All other parts keep their names and shapes.
        learn_shares: Whether the fusions' shares are learned. Otherwise they stay as they start,
            equal: what the paper calls dynamic is then a plain mean.
        high_pass: Whether it sees PAN, ``ms`` and ``lms`` high-passed, as PanNet sees its inputs;
            not in the paper.

    Raises:
        ValueError: A value is out of its range, or a name in ``without`` is unknown.
    """

    bands: int = 8
    inject_details: bool = True
    width: float = 1.0
    without: tuple[str, ...] = ()
    learn_shares: bool = True
    high_pass: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.width < math.inf:
            raise ValueError(f"width must be above 0 (1 is the paper's network), got {self.width}")
        given = cast(str | tuple[str, ...], self.without)
        names = (given,) if isinstance(given, str) else tuple(given)
        for name in names:
            if name not in REMOVABLE:
                raise ValueError(unknown("removable part of DCFNet", name, REMOVABLE))
        # One spelling for one network, whatever order or container the names came in.
        implied = {f"{name}.crossing" for name in names}
        kept = tuple(name for name in REMOVABLE if name in names and name not in implied)
        object.__setattr__(self, "without", kept)

    def channels(self, paper: int) -> int:
        """The number of channels where the paper's network has ``paper``."""
        return max(1, round(paper * self.width))


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
        self.pcft1 = FirstPCFT(trunk, self.channels[1], bands, *_of_pcft("pcft1", without))
        self.stage2 = Stage(self.channels[:2], _transfers_of("stage2", without))
        self.pcft2 = SecondPCFT(self.channels, bands, *_of_pcft("pcft2", without))
        self.stage3 = Stage(self.channels, _transfers_of("stage3", without))
        self.head: Head | SplitHead = Head(self.channels, bands)
        initialise(self)
        if config.inject_details:
            nn.init.zeros_(self.head.out.weight)
        for stage in (self.stage2, self.stage3):
            stage.fusion.weight.requires_grad_(config.learn_shares)

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments, beside ``bands``, that build this network again."""
        return {name: value for name, value in asdict(self.config).items() if name != "bands"}

    def forward(self, pan: Tensor, ms: Tensor, lms: Tensor) -> Tensor:
        """Fuses PAN and MS; shapes as in `PansharpeningNetwork`.

        Where H or W is not a multiple of 4 the inputs are padded by repeating their border, and
        the result is cropped.
        """
        height, width = pan.shape[-2:]
        pan, ms, lms = pad_inputs(pan, ms, lms, self.bands)

        x = torch.cat((pan, lms), dim=1)
        if self.config.high_pass:
            x, ms = high_pass(x), high_pass(ms)
        x = self.stem(x)
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
        k, config = self.channels, self.config
        return list_parts(self.bands, config.channels(64), config.channels(256), k, config.without)

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
        if split_head and isinstance(fast.head, Head):
            fast.head = SplitHead(fast.head, self.channels)
        if in_place:
            for module in fast.modules():
                if isinstance(module, (nn.ReLU, Add)):
                    module.inplace = True
        fast.requires_grad_(False)
        if channels_last:
            fast.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return fast


def _of_pcft(name: str, without: tuple[str, ...]) -> tuple[bool, bool]:
    """Whether it has its crossing, and whether it is plain."""
    return f"{name}.crossing" not in without, name in without


def _transfers_of(stage: str, names: tuple[str, ...]) -> set[str]:
    prefix = f"{stage}.fusion.transfers."
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
