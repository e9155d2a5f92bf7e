"""The ground of the simulated scene: what lies where.

Lengths are in metres; x runs east, y runs south, angles turn from x towards y.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from dcfnet.imagery.regions import Window
from dcfnet.imagery.simulated.materials import VARIANTS, kind_of, spectrum

_ROOFS = ("grey shingle", "brown shingle", "red tile", "slate")
_CARS = ("white car", "silver car", "dark car", "red car", "blue car")

_Place = TypeVar("_Place", float, np.ndarray)


class Landscape:
    """What lies where, on a square grid of cells, of which a side and a cell have a length.

    Attributes:
        material: (n, n) uint8, index of the spectrum: ``VARIANTS`` for each of ``MATERIALS``.
        height: (n, n) float32, metres above the ground.
        wear: (n, n) float32, 0 where a surface is fresh, 1 where it is worn.
    """

    def __init__(self, n: int, cell: float, rng: np.random.Generator) -> None:
        self.side, self.cell, self.rng = n * cell, cell, rng
        self.material = np.full((n, n), spectrum("meadow"), np.uint8)
        self.height = np.zeros((n, n), np.float32)
        self.wear = np.full((n, n), 0.2, np.float32)

    def region(
        self, x0: float, x1: float, y0: float, y1: float
    ) -> tuple[Window, np.ndarray, np.ndarray]:
        """The cells between two x and two y, with their x (one row) and y (one column)."""
        edges = np.array([[y0, y1 + self.cell], [x0, x1 + self.cell]]) / self.cell
        (r0, r1), (c0, c1) = np.clip(edges, 0, len(self.material)).astype(int)
        x = (np.arange(c0, c1, dtype=np.float32) + 0.5) * self.cell
        y = (np.arange(r0, r1, dtype=np.float32) + 0.5) * self.cell
        return Window(slice(r0, r1), slice(c0, c1)), x[None], y[:, None]

    def around(
        self, x: float, y: float, reach: float, angle: float = 0.0
    ) -> tuple[Window, np.ndarray, np.ndarray]:
        """The cells within ``reach`` of a point, with coordinates turned by ``angle``."""
        window, xs, ys = self.region(x - reach, x + reach, y - reach, y + reach)
        cos, sin = float(np.cos(angle)), float(np.sin(angle))
        return window, (xs - x) * cos + (ys - y) * sin, (ys - y) * cos - (xs - x) * sin

    def paint(
        self,
        window: Window,
        inside: np.ndarray,
        name: str,
        height: float | np.ndarray | None = 0.0,
        wear: float | np.ndarray | None = None,
        which: int | None = None,
    ) -> None:
        """Put a material where ``inside`` holds in a window, which other arrays cover, too.

        Height None keeps what there is; wear and variant (``which``) None are drawn by chance.
        """
        which = int(self.rng.integers(VARIANTS)) if which is None else which
        wear = self.rng.uniform(0, 0.7) if wear is None else wear
        self.material[window][inside] = spectrum(name, which)
        self.wear[window][inside] = wear[inside] if isinstance(wear, np.ndarray) else wear
        if height is not None:
            tall = height[inside] if isinstance(height, np.ndarray) else height
            self.height[window][inside] = tall

    def box(
        self, x: float, y: float, length: float, width: float, angle: float, name: str, **how: Any
    ) -> None:
        """A rectangle, its length along ``angle``; ``how`` as in :meth:`paint`."""
        window, u, v = self.around(x, y, np.hypot(length, width) / 2, angle)
        self.paint(window, (np.abs(u) < length / 2) & (np.abs(v) < width / 2), name, **how)

    def line(self, xs: np.ndarray, ys: np.ndarray, width: float, name: str, wear: float) -> None:
        """A band of some width along a polyline."""
        for x0, y0, x1, y1 in zip(xs[:-1], ys[:-1], xs[1:], ys[1:], strict=True):
            length, angle = np.hypot(x1 - x0, y1 - y0), np.arctan2(y1 - y0, x1 - x0)
            reach = (length + width) / 2
            window, u, v = self.around((x0 + x1) / 2, (y0 + y1) / 2, reach, angle)
            past_end = np.maximum(np.abs(u) - length / 2, 0)
            inside = past_end**2 + v**2 < (width / 2) ** 2
            self.paint(window, inside, name, which=0, wear=wear)

    def is_free(
        self, x: float, y: float, length: float, width: float, angle: float, *names: str
    ) -> bool:
        """Whether a rectangle lies in the scene, all of it on the materials named."""
        window, u, v = self.around(x, y, np.hypot(length, width) / 2, angle)
        inside = (np.abs(u) < length / 2) & (np.abs(v) < width / 2)
        if inside.sum() * self.cell**2 < 0.9 * length * width:
            return False
        return bool(kind_of(self.material[window][inside], *names).all())

    def roof(
        self, x: float, y: float, length: float, width: float, angle: float, name: str,
        *, eaves: float, hip: bool, wear: float, which: int,
    ) -> None:  # fmt: skip
        """A gable or hip roof with its ridge along ``angle``, where it tops what is there."""
        window, u, v = self.around(x, y, np.hypot(length, width) / 2, angle)
        to_end = (length / 2 - np.abs(u)) * (1 if hip else 99)
        to_edge = np.minimum(width / 2 - np.abs(v), to_end)
        height = eaves + 0.55 * to_edge
        inside = (to_edge > 0) & (height > self.height[window])
        self.paint(window, inside, name, height=height, wear=wear, which=which)

    def tree(self, x: float, y: float, radius: float) -> None:
        """A dome with an uneven outline."""
        window, u, v = self.around(x, y, 1.3 * radius)
        angle, phase = np.arctan2(v, u), self.rng.uniform(0, 2 * np.pi, 2)
        lobes = 0.13 * np.sin(3 * angle + phase[0]) + 0.1 * np.sin(5 * angle + phase[1])
        inwards = 1 - (u**2 + v**2) / (radius * (1 + lobes)) ** 2
        height = radius * (1.0 + 0.6 * inwards)
        inside = (inwards > 0) & (height > self.height[window])
        wear = float(np.clip(self.rng.normal(0.3, 0.25), 0, 1))
        self.paint(window, inside, "tree", height=height, wear=wear)

    def car(self, x: float, y: float, angle: float) -> None:
        """A body, and on it a cabin whose roof has windows before and behind it."""
        rng = self.rng
        kind, which = rng.choice(_CARS, p=(0.27, 0.28, 0.25, 0.1, 0.1)), rng.integers(VARIANTS)
        self.box(x, y, 4.6, 1.9, angle, kind, height=0.9, wear=0.3, which=which)
        self.box(x, y, 2.9, 1.7, angle, "glass", height=1.2, wear=0.3)
        self.box(x, y, 1.7, 1.6, angle, kind, height=1.5, wear=0.3, which=which)


class Course:
    """A wavy line across the scene: ``course(x)`` is its y (or x of y, for a crossing road)."""

    def __init__(
        self, start: float, tilt: float, swing: float, wavelength: float, rng: np.random.Generator
    ) -> None:
        self.start, self.tilt, self.swing = start, tilt, swing
        self.frequency, self.phase = 2 * np.pi / wavelength, rng.uniform(0, 2 * np.pi)

    def __call__(self, at: _Place) -> _Place:
        """Where the line is."""
        wave = self.swing * np.sin(self.frequency * at + self.phase)
        return self.start + self.tilt * at + wave

    def angle(self, at: float) -> float:
        """Where it heads."""
        wave = self.swing * self.frequency * np.cos(self.frequency * at + self.phase)
        return float(np.arctan(self.tilt + wave))


def draw_landscape(n: int, cell: float, rng: np.random.Generator) -> Landscape:
    """From north to south a town, an avenue with shops, a river and fields.

    Each runs through the whole width, so that regions cut by columns, for training and for
    testing, show the same kinds of things. It has n cells a side, ``cell`` metres long.
    """
    land = Landscape(n, cell, rng)
    side = land.side
    avenue = Course(0.40 * side, 0.05, 4, 300, rng)
    river = Course(0.645 * side, 0.05, 13, 210, rng)
    track = Course(0.71 * side, 0.05, 5, 260, rng)
    lane = Course(0.85 * side, 0.03, 3, 310, rng)
    streets = [Course(y, 0.05, 7, 190, rng) for y in np.arange(12, 0.4 * side - 30, 52)]
    crossings = [Course(f * side, -0.1, 3, 180, rng) for f in (0.25, 0.56, 0.84)]
    _fields(land, [track, lane, Course(1.1 * side, 0, 0, 1, rng)])
    _river(land, river)
    _roads(land, avenue, [track, lane], streets, crossings)
    _shops(land, avenue)
    for street in streets:
        _houses(land, street)
    _trees(land, avenue, river, [track, lane])
    return land


def _fields(land: Landscape, borders: list[Course]) -> None:
    """Between each two borders, fields of crops, stubble and bare soil, sown in rows."""
    rng, lean = land.rng, 0.1
    for north, south in pairwise(borders):
        left = -rng.uniform(20, 60)
        while left < land.side:
            width = rng.uniform(38, 75)
            window, x, y = land.region(left - 5, left + width + 0.2 * land.side, 0, land.side)
            top = int(0.65 * len(land.material))  # no field lies north of this row
            window, y = Window(slice(top, None), window.cols), y[top:]
            across = x + lean * (y - land.side)
            inside = (y > north(x)) & (y < south(x)) & (across > left) & (across < left + width - 2)
            rows = across if rng.random() < 0.6 else y - lean * x
            kind = rng.choice(("crop", "stubble", "soil"), p=(0.6, 0.2, 0.2))
            stripes = rng.uniform(0.15, 0.3) * np.cos(rows * 2 * np.pi / rng.uniform(1.3, 3.2))
            tramlines = 0.4 * (np.cos(rows * 2 * np.pi / 18) > 0.985)
            wear = rng.uniform(0.1, 0.45) + stripes + tramlines
            land.paint(window, inside, kind, wear=wear)
            left += width


def _river(land: Landscape, river: Course) -> None:
    """Water that is shallow towards its sandy banks, and a footpath along it."""
    window, x, y = land.region(0, land.side, 0, land.side)
    half_width = 9 + 1.5 * np.sin(x / 17) + 0.8 * np.sin(x / 5.3)
    from_middle = np.abs(y - river(x))
    bank = half_width + 2 + np.sin(x / 9)
    land.paint(window, from_middle < bank, "sand", wear=0.5, which=0)
    shallow = (from_middle / half_width) ** 4
    land.paint(window, from_middle < half_width, "water", wear=shallow, which=0)
    along = np.arange(-10, land.side + 10, 5.0)
    land.line(along, river(along) - 18, 2.2, "concrete", wear=0.6)


def _roads(
    land: Landscape, avenue: Course, tracks: list[Course], streets: list[Course],
    crossings: list[Course],
) -> None:  # fmt: skip
    """Streets between pavements, dashes along the wider ones, and traffic on the avenue."""
    along = np.arange(-30, land.side + 30, 5.0)
    window, x, y = land.region(0, land.side, 0, land.side)
    land.paint(window, y < avenue(x), "lawn", wear=0.35, which=0)
    for track in tracks:
        land.line(along, track(along), 3.5, "sand", wear=0.6)
    for extra, name in ((3.5, "concrete"), (0, "asphalt")):
        for street in streets:
            land.line(along, street(along), 8 + extra, name, wear=0.45)
        for road in crossings:
            land.line(road(along), along, 9 + extra, name, wear=0.35)
        land.line(along, avenue(along), 13 + 2 * extra, name, wear=0.15)
    for at in np.arange(0, land.side, 9):
        land.box(at, avenue(at), 4, 0.3, avenue.angle(at), "paint", wear=0.2)
        for road in crossings:
            land.box(road(at), at, 0.3, 4, -road.angle(at), "paint", wear=0.2)
        for lane in (-3.2, 3.2):
            if land.rng.random() < 0.2:
                at_car = at + land.rng.uniform(0, 4)
                land.car(at_car, avenue(at_car) + lane, avenue.angle(at_car))


def _shops(land: Landscape, avenue: Course) -> None:
    """Flat roofs with machines on them, south of the avenue, each behind its car park."""
    rng, left, depth, deep = land.rng, 1.0, 60, 24
    while left < land.side:
        width, middle = rng.uniform(38, 64), 28 - deep / 2
        x, angle = left + width / 2, avenue.angle(left + width / 2)
        at = _frame(x, avenue(x) + 11.5 + depth / 2, angle)
        if not land.is_free(*at(0, 0), width, depth, angle, "meadow"):
            left += 3
            continue
        left += width + rng.uniform(3, 12)
        land.box(*at(0, 0), width, depth, angle, "concrete", wear=0.7)
        land.box(*at(0, 0), width - 2, depth - 2, angle, "asphalt")
        roof = {"name": rng.choice(("gravel roof", "slate", "blue metal"), p=(0.55, 0.3, 0.15)),
                "which": rng.integers(VARIANTS)}  # fmt: skip
        tall, long = rng.uniform(5, 8), width - 5
        land.box(*at(0, middle), long, deep, angle, height=tall + 0.6, wear=0.8, **roof)  # parapet
        land.box(*at(0, middle), long - 1, deep - 1, angle, height=tall, wear=0.2, **roof)
        for _ in range(rng.integers(5, 12)):
            u, v = rng.uniform(-0.4, 0.4, 2) * (long, deep)
            name = rng.choice(("concrete", "white metal"))
            along, across = rng.uniform(1.2, 3.5, 2)
            land.box(*at(u, v + middle), along, across, angle, name, height=tall + 1.4)
        for v in (-26, -15.5, -10.5, 0):
            for u in np.arange(4 - width / 2, width / 2 - 4, 2.7):
                land.box(*at(u - 1.35, v), 0.15, 5, angle, "paint", wear=0.3)
                if rng.random() < 0.5:
                    land.car(*at(u, v), angle + np.pi / 2)


def _houses(land: Landscape, street: Course) -> None:
    """Houses on both sides of a street: lot, drive, car, two roofs, some a pool or panels."""
    rng = land.rng
    for side in (-1, 1):  # north and south of the street
        x = rng.uniform(0, 8)
        while x < land.side:
            length, width = rng.uniform(11.5, 15.5), rng.uniform(8.5, 10.5)
            angle, away = street.angle(x) + rng.normal(0, 0.05), side * rng.uniform(14.5, 17)
            at = _frame(*_frame(x, street(x), angle)(0, away), angle)
            if not land.is_free(*at(0, 0), length + 1.5, width + 4, angle, "lawn"):
                x += 2
                continue
            window, u, v = land.around(*at(0, 0), 17, angle)
            lot = (np.abs(u) < length / 2 + 1.5) & (np.abs(v) < 13)
            land.paint(window, lot & kind_of(land.material[window], "lawn"), "lawn")
            roof = {"name": rng.choice(_ROOFS), "which": rng.integers(VARIANTS),
                    "eaves": rng.uniform(2.8, 5), "wear": rng.random(),
                    "hip": rng.random() < 0.4}  # fmt: skip
            u = rng.choice((-1, 1)) * (length / 2 - 3.3)  # of the wing with the garage
            land.box(*at(u, -5 * side), 5, 2 * abs(away) - 18, angle, "concrete")
            if rng.random() < 0.5:
                land.car(*at(u, -rng.uniform(8.3, 9) * side), angle + np.pi / 2)
            land.roof(*at(0, 0), length, width, angle, **roof)
            land.roof(*at(u, -2 * side), width + 1.5, 6.2, angle + np.pi / 2, **roof)
            if rng.random() < 0.2:  # on the side that faces south
                land.box(*at(0, width / 4), 4.5, 2.6, angle, "solar panel", height=None)
            garden = at(0, 10 * side)
            if rng.random() < 0.12 and land.is_free(*garden, 9, 5.5, angle, "lawn"):
                land.box(*garden, 9, 5.5, angle, "concrete")
                land.box(*garden, 7.5, 4, angle, "pool", wear=0.3)
            x += length + rng.uniform(2.5, 5)


def _trees(land: Landscape, avenue: Course, river: Course, tracks: list[Course]) -> None:
    """Trees in gardens, in groves by the river, along the avenue and as hedges."""
    rng, side = land.rng, land.side
    x, y = rng.uniform(0, side, (2, int(side * side / 30)))
    chance = np.where(y < avenue(x), 0.4, 0.02)
    by_river = np.abs(y - river(x)) < 30
    chance[by_river] = 0.3 + 0.5 * np.sin(x[by_river] / 15)
    planted = rng.random(len(x)) < chance
    for spot in zip(x[planted], y[planted], strict=True):
        if land.is_free(*spot, 2, 2, 0, "lawn", "meadow", "tree"):
            land.tree(*spot, rng.uniform(1.2, 3.8))
    rows = [(avenue, -11, 9.5), (avenue, 11, 9.5), *((track, 4, 4) for track in tracks)]
    for course, offset, gap in rows:
        for at in np.arange(3, side, gap):
            spot = at + rng.normal(0, 0.5), course(at) + offset
            if rng.random() < 0.75 and land.is_free(*spot, 1, 1, 0, "lawn", "meadow", "crop"):
                land.tree(*spot, rng.uniform(1.4, 2.5))


def _frame(x: float, y: float, angle: float) -> Callable[[float, float], tuple[float, float]]:
    """A place with its own axes: the function takes (u, v), u along ``angle``, to (x, y)."""
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    return lambda u, v: (x + u * cos - v * sin, y + u * sin + v * cos)
