"""Tiles: one axis of a scene in overlapping pieces, of which each keeps a part."""

import itertools
from dataclasses import dataclass

TILE = 256
"""Side of a tile in PAN pixels, unless another is asked for."""

OVERLAP = 16
"""PAN pixels that are discarded along each side of a tile that has a neighbour there.

With 8 and more DCFNet's error at seams is within a percent of what it is there in one pass;
with 0 it is up to a tenth larger (``tests/benchmarks/bench_tiles.py``). 16 is that with a margin.
"""


@dataclass(frozen=True)
class Tile:
    """Along one axis: what the network sees, and the part of it that is kept. MS pixels."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int

    @property
    def kept(self) -> slice:
        """What is kept, counted from the tile's start."""
        return slice(self.keep_start - self.start, self.keep_stop - self.start)


def tiles_along(size: int, tile: int, overlap: int) -> list[Tile]:
    """Cut one axis into tiles of one size, whose kept parts cover it without gap.

    The last tile is moved back so that it ends with the scene: all tiles have the same size, and
    none sees invented ground. A scene smaller than a tile is one tile. At least the overlap is
    discarded at each end of a tile that has a neighbour there.

    Raises:
        ValueError: Nothing of a tile would be kept, or a number is negative.
    """
    if size < 1 or tile < 1 or overlap < 0 or 2 * overlap >= tile:
        raise ValueError(
            f"a tile of {tile} with {overlap} discarded at both ends keeps nothing of an axis of "
            f"{size}: the overlap must be at least 0 and less than half of the tile"
        )
    if size <= tile:
        return [Tile(0, size, 0, size)]
    starts = [*range(0, size - tile, tile - 2 * overlap), size - tile]
    # Between neighbours the border lies in the middle of what both see.
    borders = [(a + tile + b) // 2 for a, b in itertools.pairwise(starts)]
    return [
        Tile(start, start + tile, low, high)
        for start, low, high in zip(starts, [0, *borders], [*borders, size], strict=True)
    ]
