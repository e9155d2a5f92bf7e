"""Which ground is for training, which for testing and which for validation, divided three ways.

One region for testing soon shapes what is tested there, so there are three *folds*: in each,
another third of the scene or so is the test region.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Literal, NamedTuple

from dcfnet.errors import DataError, unknown

Split = Literal["train", "test", "valid"]
SPLITS: tuple[Split, ...] = ("train", "test", "valid")

FOLDS: tuple[Mapping[Split, tuple[tuple[int, int], ...]], ...] = (
    {"train": ((0, 8),), "test": ((8, 11),), "valid": ((11, 13),)},
    {"train": ((5, 13),), "test": ((0, 3),), "valid": ((3, 5),)},
    {"train": ((0, 4), (9, 13)), "test": ((4, 7),), "valid": ((7, 9),)},
)
"""Where each split lies in each fold: pieces, from left to right, as thirteenths of the width."""


class Window(NamedTuple):
    """A rectangle of pixels: the rows and columns that it covers."""

    rows: slice
    cols: slice

    def times(self, factor: int) -> Window:
        """The same ground on a grid of so many times as many pixels."""
        return Window(*(slice(factor * side.start, factor * side.stop) for side in self))

    def moved(self, down: int, right: int) -> Window:
        """The window that lies so many pixels further on."""
        (y0, y1), (x0, x1) = ((side.start, side.stop) for side in self)
        return Window(slice(y0 + down, y1 + down), slice(x0 + right, x1 + right))

    def within(self, margin: int, shape: tuple[int, ...]) -> tuple[Window, Window]:
        """The window with a margin, as far as the image of that shape goes, and its place in it."""
        sides = zip(self, shape, strict=True)
        wide = [slice(max(0, s.start - margin), min(end, s.stop + margin)) for s, end in sides]
        return Window(*wide), self.moved(-wide[0].start, -wide[1].start)

    def squares(self, size: int, stride: int) -> list[Window]:
        """Squares a stride apart, row by row, that lie wholly within the window."""
        ys, xs = (range(side.start, side.stop - size + 1, stride) for side in self)
        return [Window(slice(y, y + size), slice(x, x + size)) for y in ys for x in xs]


def covering(shape: tuple[int, int], side: int) -> list[Window]:
    """Windows of so many pixels a side, or less at the end, that cover an image row by row."""
    rows, cols = ([slice(i, min(i + side, size)) for i in range(0, size, side)] for size in shape)
    return [Window(*place) for place in itertools.product(rows, cols)]


def regions(shape: tuple[int, int], split: Split, fold: int = 0) -> list[Window]:
    """The pieces of ground that belong to a split: all rows, some columns, from left to right.

    In fold 0 of the Longmont WorldView-3 sample: columns 0 to 511 train, 512 to 703 test, 704 to
    831 validation. Other widths are divided in the same proportion, at multiples of 16. The shape
    is that of the scene's ``gt``; folds are 0, 1 and 2.

    Raises:
        DataError: There is no such split or fold.
    """
    if split not in SPLITS:
        raise DataError(unknown("split", split, SPLITS))
    if fold not in range(len(FOLDS)):
        raise DataError(unknown("fold", fold, range(len(FOLDS))))
    height, width = shape

    def column(share: int) -> int:
        return width if share == 13 else round(width * share / 13 / 16) * 16

    pieces = FOLDS[fold][split]
    return [Window(slice(0, height), slice(column(a), column(b))) for a, b in pieces]
