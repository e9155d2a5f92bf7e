"""The rest of a DCFNet, from some of its features to the fused image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dcfnet.inside.claims.trained import CHUNK, Trained


@torch.no_grad()
def in_chunks(function: Callable[..., Tensor], *images: Tensor) -> Tensor:
    """What a function makes of a batch, a few images at a time, so that a cache has room."""
    starts = range(0, len(images[0]), CHUNK)
    return torch.cat([function(*(x[s : s + CHUNK] for x in images)) for s in starts])


def head_of(each: Trained, fused: Sequence[Tensor]) -> Tensor:
    """From the fused branches of stage 3 to the fused images, (B, C, H, W)."""
    return _with_lms(each, in_chunks(each.fast.head, *fused))


def after_branches(each: Trained, branches: Sequence[Tensor]) -> Tensor:
    """From stage 3's branches, before their fusion, to the fused images."""
    fast = each.fast
    return _with_lms(each, in_chunks(lambda *xs: fast.head(*fast.stage3.fusion(*xs)), *branches))


def after_stage2(each: Trained, branches: Sequence[Tensor], made: Tensor) -> Tensor:
    """From stage 2's branches, before their fusion, and the new branch to the fused images."""
    fast = each.fast

    def rest(x0: Tensor, x1: Tensor, x2: Tensor) -> Tensor:
        x0, x1 = fast.stage2.fusion(x0, x1)
        return fast.head(*fast.stage3.fusion(*fast.stage3.branches(x0, x1, x2)))

    return _with_lms(each, in_chunks(rest, *branches, made))


def _with_lms(each: Trained, made: Tensor) -> Tensor:
    return made + each.patches.lms if each.model.config.inject_details else made
