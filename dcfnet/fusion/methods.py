"""Methods without learning over a scene of any size, with statistics of the whole scene."""

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from tqdm import tqdm

from dcfnet.fusion.tiled import Fused, read_window
from dcfnet.fusion.tiles import Tile
from dcfnet.imagery.classical import Method
from dcfnet.imagery.regions import Window, covering
from dcfnet.imagery.source import Source
from dcfnet.imagery.statistics import MARGIN
from dcfnet.imagery.statistics import Tile as Measured
from dcfnet.imagery.wald import Sample

SIDE = 256
"""Side of the tiles that a scene is measured by, in MS pixels."""


@dataclass
class MethodTiles:
    """A method that fuses tiles, once it has measured the scene, as `Workers` do with a network.

    The result is that of the scene in one piece, but that the scene is continued by its border
    pixels, where filters in one piece go round.
    """

    method: Method
    progress: bool = False
    kinds: tuple[str, ...] = ("cpu",)
    engine: str = "numpy"

    def fused(self, source: Source, rows: list[Tile], cols: list[Tile]) -> Fused:
        """The tiles, one after the other."""
        r = source.sensor.ratio
        margin = -(-self.method.reach // r)
        inner = slice(r * margin, -r * margin or None)
        fitted = self.method.fit(_Tiles(source, self.progress))
        for row, col in itertools.product(rows, cols):
            place = Window(
                slice(row.keep_start, row.keep_stop), slice(col.keep_start, col.keep_stop)
            )
            sample = _sample(source, place, margin)
            image = self.method.apply(sample, **fitted)
            yield row, col, image[:, inner, inner], sample.mask[inner, inner]


class _Tiles(Collection[Measured]):
    """The tiles of a scene with the ground around them, read whenever they are gone through."""

    def __init__(self, source: Source, progress: bool) -> None:
        self.source, self.progress = source, progress
        self.places = covering(source.shape, SIDE)

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, _: object) -> bool:
        return False  # they are made anew each time

    def __iter__(self) -> Iterator[Measured]:
        r = self.source.sensor.ratio
        margin = MARGIN // r
        bar = tqdm(self.places, "measuring the scene", unit="tile", disable=not self.progress)
        for place in bar:
            sides = (slice(MARGIN, MARGIN + r * (side.stop - side.start)) for side in place)
            yield _sample(self.source, place, margin), Window(*sides)


def _sample(source: Source, place: Window, margin: int) -> Sample:
    ms, lms, pan, mask = read_window(source, place, margin)
    return Sample(None, ms, lms, pan, mask, source.sensor)
