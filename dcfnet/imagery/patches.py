"""Regions of a scene, and where the patches in them lie."""

from __future__ import annotations

from dataclasses import dataclass

from dcfnet.errors import DataError
from dcfnet.imagery.wald import Sample

__all__ = ["REGIONS", "Window", "patch_windows", "region"]

PATCH = 64
"""Side of a patch on the grid of ``gt``, in pixels."""

# Shares of the scene's columns, in thirteenths: 512, 192 and 128 of Longmont's 832.
REGIONS: dict[str, tuple[int, int]] = {"train": (0, 8), "test": (8, 11), "valid": (11, 13)}
"""Where each split lies, as thirteenths of the width of ``gt``, from left to right."""


@dataclass(frozen=True)
class Window:
    """A rectangle on the grid of ``gt``: rows and columns that it covers."""

    rows: slice
    cols: slice


def region(sample: Sample, split: str) -> Window:
    """The part of a sample that belongs to a split: all rows, some columns.

    For the Longmont WorldView-3 scene: columns 0 to 511 train, 512 to 703 test, 704 to 831
    validation. Other widths are divided in the same proportion, at multiples of 16.

    Raises:
        DataError: No split has that name.
    """
    if split not in REGIONS:
        raise DataError(f"unknown split {split!r}: expected one of {', '.join(REGIONS)}")
    height, width = sample.pan.shape
    first, last = (round(width * share / 13 / 16) * 16 for share in REGIONS[split])
    return Window(slice(0, height), slice(first, width if REGIONS[split][1] == 13 else last))


def patch_windows(
    sample: Sample, split: str, *, size: int = PATCH, stride: int | None = None
) -> list[Window]:
    """Where the patches of a split lie; those with pixels without data are left out.

    Args:
        sample: From :func:`dcfnet.imagery.wald.reduce_resolution`.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        size: Side of a patch on the grid of ``gt``, a multiple of 4.
        stride: Distance between patches there, a multiple of 4. By default training patches
            overlap by half (32), the others do not (64).

    Returns:
        Windows row by row, none crossing the border of its region.
    """
    stride = stride or (size // 2 if split == "train" else size)
    if size % 4 or stride % 4 or size <= 0 or stride <= 0:
        raise DataError(f"size {size} and stride {stride} must be multiples of 4")
    area = region(sample, split)
    windows = [
        Window(slice(y, y + size), slice(x, x + size))
        for y in range(area.rows.start, area.rows.stop - size + 1, stride)
        for x in range(area.cols.start, area.cols.stop - size + 1, stride)
    ]
    windows = [w for w in windows if sample.mask[w.rows, w.cols].all()]
    if not windows:
        height = area.rows.stop - area.rows.start
        width = area.cols.stop - area.cols.start
        raise DataError(
            f"no {size} x {size} patch with data fits into the {split} region of "
            f"{height} x {width} pixels; use a larger scene or a smaller size"
        )
    return windows
