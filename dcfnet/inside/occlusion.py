"""What a fused image loses with an input, with some ground, or with all that lies further off.

An attribution argues from derivatives. Here nothing is argued: the network is run again without
the thing in question, and what changes is measured.

Reference:
    M. D. Zeiler and R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.
"""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from dcfnet.errors import unknown
from dcfnet.imagery.filters import mtf_filter
from dcfnet.imagery.wald import Sample
from dcfnet.inside.attribution import Images, Target
from dcfnet.inside.hooks import replaced, resumed
from dcfnet.networks.base import as_used

How = Literal["mean", "blurred", "elsewhere"]
HOW: tuple[How, ...] = ("mean", "blurred", "elsewhere")


def without(sample: Sample, name: Literal["pan", "ms", "lms"], how: How) -> Sample:
    """A sample that has lost one of the three images that a network takes.

    In its place stands its ``"mean"``, band by band; or it itself, ``"blurred"``, with the detail
    that a four times coarser sensor would keep (the MTF of the bands' average); or it itself from
    ``"elsewhere"``, half its height and width further on and round its borders: as bright and as
    sharp, and of other ground.
    """
    if name not in Images._fields:
        raise ValueError(unknown("input", name, Images._fields))
    image: np.ndarray = getattr(sample, name)
    bands = image.astype(np.float32).reshape(-1, *image.shape[-2:])
    if how == "mean":
        put = np.broadcast_to(bands.mean(axis=(-2, -1), keepdims=True), bands.shape)
    elif how == "blurred":
        gains = sample.sensor.mtf_gains
        put = mtf_filter(bands, [float(np.mean(gains))] * len(bands))
    elif how == "elsewhere":
        put = np.roll(bands, [size // 2 for size in bands.shape[-2:]], axis=(-2, -1))
    else:
        raise ValueError(unknown("stand-in", how, HOW))
    changed: dict[str, Any] = {name: put.reshape(image.shape).astype(np.float32)}
    return replace(sample, **changed)


@torch.no_grad()
def occlusion(
    model: nn.Module,
    images: Iterable[Tensor],
    target: Target,
    *,
    part: str | None = None,
    cells: int = 8,
    fill: Literal["mean", "zero"] = "mean",
) -> np.ndarray:
    """By how much a number falls when one cell of a grid of cells after the other is covered.

    Args:
        model: Any network of this package; looked at in eval mode.
        images: ``pan, ms, lms``, B of them.
        target: The number, see `dcfnet.inside.attribution`.
        part: The module in whose output cells are covered; all three inputs at once, unless given.
        cells: Along each axis; a number that divides the rows and columns of what is covered.
        fill: What covers it: the mean of each channel, or 0.

    Returns:
        target of the whole minus target with the cell covered, (B, cells, cells).
    """
    images = Images(*images)
    fills: dict[str, Callable[[Tensor], Tensor]] = {
        "mean": lambda image: image.mean(dim=(-2, -1), keepdim=True),
        "zero": lambda image: image.new_zeros(()),
    }
    if fill not in fills:
        raise ValueError(unknown("fill", fill, fills))

    def covered(image: Tensor, row: int, col: int) -> Tensor:
        height, width = image.shape[-2:]
        if height % cells or width % cells:
            raise ValueError(
                f"an image of {height} x {width} pixels cannot be divided into {cells} x {cells} "
                "cells: pass a number that divides both"
            )
        h, w = height // cells, width // cells
        changed = image.clone()
        cell = changed[..., row * h : (row + 1) * h, col * w : (col + 1) * w]
        cell.copy_(fills[fill](image).expand_as(cell))
        return changed

    def run(row: int, col: int) -> Tensor:
        if part is None:
            return target(model(*(covered(image, row, col) for image in images)))
        with replaced(model, {part: lambda output: covered(output, row, col)}):
            return target(model(*images))

    with as_used(model), resumed(model, part, *images) if part else nullcontext():
        whole = target(model(*images))
        falls = [[whole - run(row, col) for col in range(cells)] for row in range(cells)]
    return torch.stack([torch.stack(row, -1) for row in falls], -2).cpu().numpy()


@torch.no_grad()
def keyhole(
    model: nn.Module,
    images: Iterable[Tensor],
    fill: Iterable[Tensor],
    rows: slice,
    cols: slice,
    margin: int,
) -> Tensor:
    """A window of the fused image, (B, C, h, w), where all that lies further away is ``fill``.

    That has the shapes of the images, ``pan, ms, lms``, and may be another patch. PAN pixels within
    the margin around the window stay as they are; its size and the window's borders are multiples
    of 4. The network is looked at in eval mode.
    """
    edges = (rows.start, rows.stop, cols.start, cols.stop, margin)
    if any(edge % 4 for edge in edges):
        raise ValueError(f"window and margin must be multiples of 4 pixels, got {edges}")
    seen = []
    for image, other, scale in zip(images, fill, (1, 4, 1), strict=True):
        top, bottom, left, right, around = (edge // scale for edge in edges)
        y = slice(max(top - around, 0), bottom + around)
        x = slice(max(left - around, 0), right + around)
        put = other.clone()
        put[..., y, x] = image[..., y, x]
        seen.append(put)
    with as_used(model):
        return model(*seen)[..., rows, cols]
