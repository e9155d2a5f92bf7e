"""A trained network without some of its parts, for as long as a ``with`` block lasts.

What a network makes without a part says whether it *uses* the part. Whether a network *needs* it,
only one that was trained without can say.
"""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from dcfnet.errors import unknown
from dcfnet.inside.hooks import replaced
from dcfnet.networks.bricks import PCFT
from dcfnet.networks.dcfnet import REMOVABLE, DCFNet


@contextlib.contextmanager
def closed(model: nn.Module, part: str | None) -> Iterator[None]:
    """Inside the block, a part of a network hands on nothing but its means; with None none does.

    In every channel all pixels get the channel's mean over the map, so that what follows still
    sees values of a usual size.

    Example:
        >>> with closed(model, "pcft2"):
        ...     fused = fuse(model, patch)
    """

    def means(output: Tensor) -> Tensor:
        # Of its own memory: a ReLU of a network made for inference may overwrite it.
        return output.mean(dim=(-2, -1), keepdim=True).repeat(1, 1, *output.shape[-2:])

    with replaced(model, {part: means} if part is not None else {}):
        yield


@contextlib.contextmanager
def switched_off(model: DCFNet, names: str | Sequence[str]) -> Iterator[DCFNet]:
    """The trained network itself without some of `REMOVABLE`, for the time of a ``with`` block.

    A PCFT gives way to the strided convolution of the next finer branch that it has inside, or
    does without its crossing, as in a network built so. A transfer adds nothing to its target.
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    if wrong := [name for name in names if name not in REMOVABLE]:
        raise ValueError(unknown("removable part of DCFNet", wrong[0], REMOVABLE))
    with contextlib.ExitStack() as stack:
        for name in names:
            pcft = name.startswith("pcft")
            off = _pcft_off(model, name) if pcft else replaced(model, {name: torch.zeros_like})
            stack.enter_context(off)
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
