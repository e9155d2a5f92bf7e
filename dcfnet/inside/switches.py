"""A trained network without some of its parts, for as long as a ``with`` block lasts.

What a network makes without a part says whether it *uses* the part. Whether a network *needs* it,
only one that was trained without can say.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from dcfnet.errors import unknown
from dcfnet.inside.hooks import replaced
from dcfnet.networks.bricks import PCFT, DynamicFusion
from dcfnet.networks.dcfnet import REMOVABLE, DCFNet


@contextlib.contextmanager
def closed(model: nn.Module, part: str | None) -> Iterator[None]:
    """Inside the block, a part of a network hands on nothing but its means.

    In every channel all pixels get the channel's mean over the map, so that what follows still
    sees values of a usual size.

    Args:
        model: The network; afterwards it is as it was.
        part: Name of a module that returns (B, K, h, w); with None all stays open.

    Example:
        >>> with closed(model, "pcft2"):
        ...     fused = fuse(model, patch)
    """

    def means(output: Tensor) -> Tensor:
        return output.mean(dim=(-2, -1), keepdim=True).expand_as(output)

    with replaced(model, {part: means} if part is not None else {}):
        yield


@contextlib.contextmanager
def switched_off(
    model: DCFNet, names: str | Sequence[str], renormalise: bool = False
) -> Iterator[DCFNet]:
    """The trained network without some of its parts, for the time of a ``with`` block.

    A PCFT gives way to the strided convolution of the next finer branch that it has inside, or
    does without its crossing, as in a network built so. A transfer adds nothing to its target.

    Args:
        model: Changed in place, and restored at the end, also after an error.
        names: Out of `dcfnet.networks.dcfnet.REMOVABLE`.
        renormalise: Whether the other transfers of the same source share the weight of the one
            that is switched off, as in a network built without it.

    Raises:
        ValueError: There is no removable part of that name.
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    if wrong := [name for name in names if name not in REMOVABLE]:
        raise ValueError(unknown("removable part of DCFNet", wrong[0], REMOVABLE))
    with contextlib.ExitStack() as stack:
        for name in names:
            if name.startswith("pcft"):
                stack.enter_context(_pcft_off(model, name))
                continue
            stack.enter_context(replaced(model, {name: torch.zeros_like}))
            if renormalise:
                stack.enter_context(_share_off(model, name))
        yield model


@contextlib.contextmanager
def _pcft_off(model: DCFNet, name: str) -> Iterator[None]:
    name, _, crossing = name.partition(".")
    pcft = model.get_submodule(name)
    assert isinstance(pcft, PCFT)
    before = pcft.plain, pcft.crossing
    try:
        pcft.plain, pcft.crossing = pcft.plain or not crossing, False
        yield
    finally:
        pcft.plain, pcft.crossing = before


@contextlib.contextmanager
def _share_off(model: DCFNet, name: str) -> Iterator[None]:
    fusion = model.get_submodule(name.split(".transfers.")[0])
    assert isinstance(fusion, DynamicFusion)
    source, target = (int(i) for i in name.rsplit(".", 1)[1].split("_to_"))
    entry = fusion.present[target, source]
    before = entry.clone()
    try:
        entry.zero_()
        yield
    finally:
        entry.copy_(before)
