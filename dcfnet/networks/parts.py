"""The parts of a DCFNet: a name, a label and a shape for everything that one may want to look at.

A part is a module with a dotted name, under which a forward hook finds it. `DCFNet.parts` lists
those of a network.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal


def transfer_name(stage: int, source: int, target: int) -> str:
    """The dotted name of the transfer from one branch to another, in stage 2 or 3."""
    return f"stage{stage}.fusion.transfers.{source}_to_{target}"


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


def list_parts(
    bands: int, stem: int, trunk: int, k: tuple[int, int, int], without: Collection[str]
) -> dict[str, Part]:
    """All parts of a DCFNet by dotted name, in order of use.

    It is told by its bands, the channels of stem, stage 1 (``trunk``) and the three branches
    (``k``), and what it was built without.
    """
    found = [
        Part("stem", "stem", "trunk", stem),
        Part("stage1", "stage 1", "trunk", trunk),
        Part("to_branch0", "entry to branch 0", "entry", k[0], stage=2, target=0),
        *_first_pcft(bands, k, without),
        *_branches(2, k),
        *_second_pcft(k, without),
        *_fusion(2, k, without),
        *_branches(3, k),
        *_fusion(3, k, without),
        *(
            Part(f"head.up.{i}", f"head, branch {i} at full size", "head", channels, target=i)
            for i, channels in enumerate(k)
        ),
        Part("head.concat", "head, concatenation of all branches", "head", sum(k)),
        Part("head.mix", "head, first 1x1 convolution, BN and ReLU", "head", sum(k)),
        Part("head.out", "head, second 1x1 convolution", "head", bands),
    ]
    return {part.name: part for part in found}


def _first_pcft(bands: int, k: tuple[int, int, int], without: Collection[str]) -> Iterator[Part]:
    crossing = "pcft1.crossing" not in without
    steps = [("down", "stage 1 at half size", k[1])]
    if "pcft1" not in without:
        if crossing:
            steps.append(("ms_up", "MS at half size", bands))
        steps.append(("channel_fusion", "channel fusion" if crossing else "basic block", k[1]))
    for step, what, channels in steps:
        yield Part(f"pcft1.{step}", f"first PCFT, {what}", "pcft step", channels, 2, 2, 1)
    yield Part("pcft1", "first PCFT: makes branch 1", "pcft", k[1], 2, 2, 1)


def _second_pcft(k: tuple[int, int, int], without: Collection[str]) -> Iterator[Part]:
    crossing = "pcft2.crossing" not in without
    steps = [("down1", "v: branch 1 at half size", k[2], 4)]
    if "pcft2" not in without:
        if crossing:
            steps.append(("down0", "branch 0 at half size", k[1], 2))
            steps.append(("cross", "s: branches 0 and 1 together", k[1], 2))
        steps.append(("down_cross", "s at half size", k[2], 4))
        what = "u: channel fusion" if crossing else "u: basic block"
        steps.append(("channel_fusion", what, k[2], 4))
    for step, what, channels, scale in steps:
        yield Part(f"pcft2.{step}", f"second PCFT, {what}", "pcft step", channels, scale, 3, 2)
    yield Part("pcft2", "second PCFT: makes branch 2", "pcft", k[2], 4, 3, 2)


def _branches(stage: int, k: tuple[int, int, int]) -> Iterator[Part]:
    for i in range(stage):
        label = f"stage {stage}, branch {i}"
        yield Part(f"stage{stage}.branches.{i}", label, "branch", k[i], 2**i, stage, i)


def _fusion(stage: int, k: tuple[int, int, int], without: Collection[str]) -> Iterator[Part]:
    for i in range(stage):
        for j in range(stage):
            name = transfer_name(stage, j, i)
            if name in without:
                continue
            label = f"stage {stage}, T{i}{j}: branch {j}"
            if i == j:
                label += " itself"
            else:
                label += f" to branch {i}"
                last, what = f"{name}.last.conv", f"{label}, last convolution"
                scale = 2 ** max(i, j)  # an interpolation is still to come
                yield Part(last, what, "last convolution", k[i], scale, stage, i, j)
                label += ", as it arrives"
            yield Part(name, label, "transfer", k[i], 2**i, stage, i, j)
        name, label = f"stage{stage}.fusion.fused.{i}", f"stage {stage}, fused branch {i}"
        yield Part(name, label, "fused", k[i], 2**i, stage, i)
