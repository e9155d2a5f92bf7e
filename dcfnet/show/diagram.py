"""The architecture of a DCFNet as a drawing, made from the parts that the network names."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from dcfnet.networks.bricks import PCFT
from dcfnet.networks.dcfnet import DCFNet
from dcfnet.networks.parts import Part

COLOURS = ("#3f78c9", "#12939a", "#c47f0a")
"""One colour per resolution: full, half, a quarter. They differ in brightness as well."""

WIDTH = 400
COLUMN = 120
GAP = 12
LEFT = tuple(i * (COLUMN + GAP) for i in range(3))
MIDDLE = tuple(x + COLUMN / 2 for x in LEFT)
RAIL = 394  # where MS runs down, right of the columns


@dataclass(frozen=True)
class Diagram:
    """A drawing in SVG; in a notebook, a cell's result.

    Every part of the network that it shows is a group with the attribute ``data-part``, the
    part's dotted name, so that a style sheet can pick one out.
    """

    svg: str  # its lines and letters take the colours of the page around it
    alt: str  # what it shows, in words

    def _repr_html_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<Diagram: {self.alt}>"


def architecture(model: DCFNet, height: int = 64, width: int = 64) -> Diagram:
    """Draws a DCFNet from top to bottom, a column for each resolution.

    Everything in `DCFNet.parts` is drawn, and nothing that the network was built without.

    Args:
        model: The network.
        height: Rows of the PAN image whose shapes are written into the boxes.
        width: Its columns.

    Example:
        >>> Path("dcfnet.svg").write_text(architecture(build_network("dcfnet")).svg)
    """
    return _Architecture(model, height, width).diagram()


class _Architecture:
    """Draws a network while going down the page, lines below boxes."""

    def __init__(self, model: DCFNet, height: int, width: int) -> None:
        self.model = model
        self.size = (height, width)
        self.parts: dict[str, Part] = model.parts()
        self.below: list[str] = []
        self.above: list[str] = []

    # --- Pieces ---

    def text(self, x: float, y: float, words: str, kind: str = "") -> str:
        return f'<text class="{kind}" x="{x:g}" y="{y:g}">{html.escape(words)}</text>'

    def rect(
        self, x: float, y: float, w: float, h: float, kind: str, colour: str = "", round_: float = 6
    ) -> str:
        paint = f' fill="{colour}" stroke="{colour}"' if colour else ""
        return (
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}"'
            f' rx="{round_:g}"{paint}/>'
        )

    def arrow(self, *points: tuple[float, float], head: bool = True) -> None:
        """A line through points, in right angles where they ask for it, with a head at its end."""
        path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        self.below.append(f'<path class="flow" d="{path}"/>')
        if head:
            (x0, y0), (x, y) = points[-2:]
            dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)
            across, along = (-dy * 3.5, dx * 3.5), (dx * 7, dy * 7)
            corners = (
                f"{x:g} {y:g} L{x - along[0] + across[0]:g} {y - along[1] + across[1]:g} "
                f"L{x - along[0] - across[0]:g} {y - along[1] - across[1]:g}"
            )
            self.below.append(f'<path class="head" d="M{corners} Z"/>')

    def group(self, name: str, content: str, kind: str = "") -> str:
        """Elements that stand for a part; a pointer that rests on them reads what it is."""
        part = self.parts[name]
        title = html.escape(f"{part.label}: {self.shape(name)}")
        return (
            f'<g class="pick {kind}" data-part="{html.escape(name)}"><title>{title}</title>'
            f"{content}</g>"
        )

    def shape(self, name: str) -> str:
        return " × ".join(map(str, self.parts[name].shape(*self.size)))

    def colour(self, name: str) -> str:
        return COLOURS[self.parts[name].scale.bit_length() - 1]

    def box(
        self, name: str, x: float, y: float, words: str, w: float = COLUMN, h: float = 38
    ) -> None:
        """A part with its name and its shape."""
        content = self.rect(x, y, w, h, "shape", self.colour(name))
        content += self.label(x + w / 2, y + h / 2, words, self.shape(name))
        self.above.append(self.group(name, content))

    def label(self, x: float, y: float, words: str, shape: str) -> str:
        """A name over a shape, about a point."""
        return self.text(x, y - 3, words) + self.text(x, y + 12, shape, "small")

    def step(self, name: str, x: float, y: float, w: float, words: str) -> None:
        """A small part within a larger one."""
        content = self.rect(x, y, w, 24, "shape", self.colour(name), 4)
        content += self.text(x + w / 2, y + 16.5, words)
        self.above.append(self.group(name, content, "step"))

    def frame(self, name: str, x: float, y: float, h: float, words: str) -> None:
        """A part that has parts of its own."""
        content = self.rect(x, y, COLUMN, h, "shape", self.colour(name))
        content += self.text(x + COLUMN / 2, y + 16, words)
        content += self.text(x + COLUMN / 2, y + h - 6, self.shape(name), "small")
        self.above.append(self.group(name, content, "group"))

    def image(self, x: float, y: float, words: str, shape: Sequence[int]) -> None:
        """An image that goes in or comes out."""
        label = self.label(x + COLUMN / 2, y + 19, words, " × ".join(map(str, shape)))
        self.above.append(self.rect(x, y, COLUMN, 38, "image", round_=19) + label)

    def band(self, y: float, h: float, words: str, w: float) -> None:
        """A pale ground behind what belongs together."""
        self.below.append(self.rect(-4, y, w + 8, h, "band", round_=4))
        self.below.append(self.text(2, y + 12, words, "caption"))

    def down(self, branch: int, start: float, end: float, head: bool = True) -> None:
        """A branch on its way down its column."""
        self.arrow((MIDDLE[branch], start), (MIDDLE[branch], end), head=head)

    # --- The network, from top to bottom ---

    def diagram(self) -> Diagram:
        ends = self.second(self.trunk())
        ends = self.branches(3, max(ends) + 12, ends)
        bottom = self.head(self.fusion(3, ends[0] + 22, ends))
        alt = self.alt()
        style = files(__package__).joinpath("diagram.css").read_text("utf-8")
        svg = (
            f'<svg class="dcf-diagram" xmlns="http://www.w3.org/2000/svg" role="img"'
            f' aria-label="{html.escape(alt)}" viewBox="-6 0 {WIDTH + 12} {bottom + 2:g}"'
            f' width="{WIDTH + 12}" height="{bottom + 2:g}" style="height: auto">'
            f"<style>{style}</style>{''.join(self.below)}{''.join(self.above)}</svg>"
        )
        return Diagram(svg, alt)

    def trunk(self) -> list[float]:
        """Inputs, stem, stage 1, and what makes branches 0 and 1; returns where those end."""
        height, width = self.size
        bands = self.model.bands
        for x, words in zip(MIDDLE, ("full resolution", "half", "a quarter"), strict=True):
            self.below.append(self.text(x, 12, words, "small"))
        self.image(LEFT[0], 22, "PAN and lms", (bands + 1, height, width))
        if self.model.pcft1.crossing or self.model.pcft2.crossing:
            self.image(LEFT[2], 22, "MS", (bands, -(-height // 4), -(-width // 4)))
        self.down(0, 60, 78)
        self.box("stem", LEFT[0], 78, "stem")
        self.down(0, 116, 134)
        self.box("stage1", LEFT[0], 134, "stage 1")

        plain = self.model.pcft1.plain
        top, tall = 198, 68 if plain else 96
        entry = top + (tall - 38) / 2
        self.down(0, 172, entry)
        self.box("to_branch0", LEFT[0], entry, "3 × 3, BN, ReLU")
        self.frame("pcft1", LEFT[1], top, tall, _title(self.model.pcft1, "first PCFT"))
        x, y, gap = LEFT[1] + 6, top + 22, LEFT[1] - GAP / 2
        self.arrow((MIDDLE[0], 185), (gap, 185), (gap, y + 12), (x, y + 12))
        if plain:
            self.step("pcft1.down", x, y, 108, "↓x")
        elif not self.model.pcft1.crossing:
            self.step("pcft1.down", x, y, 108, "↓x")
            self.step("pcft1.channel_fusion", x, y + 32, 108, "basic block")
            self.arrow((x + 54, y + 24), (x + 54, y + 32))
        else:
            self.step("pcft1.down", x, y, 51, "↓x")
            self.step("pcft1.ms_up", x + 57, y, 51, "↑MS")
            self.step("pcft1.channel_fusion", x, y + 32, 108, "F(↓x, ↑MS)")
            for at in (x + 25.5, x + 82.5):
                self.arrow((at, y + 24), (at, y + 32))
            self.arrow((MIDDLE[2], 60), (MIDDLE[2], y + 12), (x + 108, y + 12))
        return [entry + 38, top + tall]

    def second(self, ends: list[float]) -> list[float]:
        """Stage 2, the second PCFT, and the fusion of branches 0 and 1."""
        y = max(ends) + 12
        ends = self.branches(2, y, ends)
        plain = self.model.pcft2.plain
        taps, gap = (ends[0] + 7, ends[0] + 17), LEFT[2] - GAP / 2
        top, tall = y + 36, 68 if plain else 184
        self.frame("pcft2", LEFT[2], top, tall, _title(self.model.pcft2, "second PCFT"))
        x, steps = LEFT[2] + 6, top + 22
        if plain:
            self.step("pcft2.down1", x, steps, 108, "↓x₁")
            self.arrow((MIDDLE[1], taps[1]), (gap, taps[1]), (gap, steps + 12), (x, steps + 12))
        else:
            self.second_pcft(x, steps, taps, gap)
        return [*self.fusion(2, ends[0] + 26, ends), top + tall]

    def second_pcft(self, x: float, y: float, taps: tuple[float, float], gap: float) -> None:
        left, middle, right = x + 25.5, x + 54, x + 82.5
        crossing = self.model.pcft2.crossing
        if crossing:
            self.step("pcft2.down0", x, y, 108, "↓x₀")
            self.step("pcft2.cross", x, y + 32, 108, "s = x₁ + ↓x₀")
            self.arrow((middle, y + 24), (middle, y + 32))
        self.step("pcft2.down1", x, y + 64, 51, "v = ↓x₁")
        self.step("pcft2.down_cross", x + 57, y + 64, 51, "↓s" if crossing else "↓x₁")
        self.step("pcft2.channel_fusion", x + 57, y + 96, 51, "u = F" if crossing else "u")
        self.arrow((right, y + 56), (right, y + 64))
        self.arrow((right, y + 88), (right, y + 96))
        for at, start, words in ((left, 88, "a v"), (middle, 0, "+"), (right, 120, "b u")):
            if start:
                self.arrow((at, y + start), (at, y + 126))
            self.above.append(self.text(at, y + 137, words, "formula"))
        inner = gap - 5
        if not crossing:
            self.arrow((MIDDLE[1], taps[1]), (gap, taps[1]), (gap, y + 76), (x, y + 76))
            self.arrow((gap, y + 50), (right, y + 50), (right, y + 64))
            return
        self.arrow((MIDDLE[0], taps[0]), (inner, taps[0]), (inner, y + 12), (x, y + 12))
        self.arrow((MIDDLE[1], taps[1]), (gap, taps[1]), (gap, y + 44), (x, y + 44))
        self.arrow((gap, y + 44), (gap, y + 76), (x, y + 76))
        self.arrow((MIDDLE[2], 70), (RAIL, 70), (RAIL, y + 108), (x + 108, y + 108))

    def branches(self, stage: int, y: float, ends: list[float]) -> list[float]:
        """The blocks of every branch, which come from where `ends` says."""
        self.band(y, 64, f"stage {stage}", LEFT[stage - 1] + COLUMN)
        for i in range(stage):
            self.down(i, ends[i], y + 20)
            self.box(f"stage{stage}.branches.{i}", LEFT[i], y + 20, "3 basic blocks")
        return [y + 58] * stage

    def fusion(self, stage: int, y: float, ends: list[float]) -> list[float]:
        """Every branch on its way to every branch, and what they make."""
        self.band(y, 142, "fusion", LEFT[stage - 1] + COLUMN)
        top, bottom = y + 18, y + 98
        for j in range(stage):
            self.down(j, ends[j], top, head=False)
            for i in range(stage):
                name = f"stage{stage}.fusion.transfers.{j}_to_{i}"
                if name in self.parts:
                    self.transfer(name, (MIDDLE[j], top), (MIDDLE[i], bottom), COLOURS[j])
        for i in range(stage):
            self.box(f"stage{stage}.fusion.fused.{i}", LEFT[i], bottom, f"fused branch {i}")
        return [bottom + 38] * stage

    def transfer(
        self, name: str, start: tuple[float, float], end: tuple[float, float], colour: str
    ) -> None:
        """A line from branch to branch, and a square on it for its last convolution."""
        (x0, y0), (x1, y1) = start, end
        line = f"M{x0:g} {y0:g} L{x1:g} {y1:g}"
        link = f'<path class="link" stroke="{colour}" d="{line}"/>'
        self.above.append(self.group(name, f'{link}<path class="touch" d="{line}"/>'))
        if f"{name}.last.conv" in self.parts:
            # Near its branch, yet far enough that no two of them touch.
            x, y = x0 + 0.22 * (x1 - x0), y0 + 0.22 * (y1 - y0)
            dot = self.rect(x - 4, y - 4, 8, 8, "dot", colour, 1)
            self.above.append(self.group(f"{name}.last.conv", dot))

    def head(self, ends: list[float]) -> float:
        """All branches at full size, two convolutions, the fused image."""
        height, width = self.size
        y = ends[0] + 16
        self.band(y, 152, "head", LEFT[2] + COLUMN)
        for i, words in enumerate(("as it is", "↑ 2", "↑ 4")):
            self.down(i, ends[i], y + 20)
            self.step(f"head.up.{i}", LEFT[i] + 12, y + 20, 96, words)
            self.down(i, y + 44, y + 56)
        self.box("head.concat", LEFT[0], y + 56, "concatenation", w=LEFT[2] + COLUMN)
        self.down(0, y + 94, y + 108)
        self.box("head.mix", LEFT[0], y + 108, "1 × 1, BN, ReLU")
        self.box("head.out", LEFT[1], y + 108, "1 × 1")
        inject = self.model.config.inject_details
        self.image(
            LEFT[2], y + 108, "+ lms = fused" if inject else "fused",
            (self.model.bands, height, width),
        )  # fmt: skip
        for i in (0, 1):
            self.arrow((LEFT[i] + COLUMN, y + 127), (LEFT[i + 1], y + 127))
        return y + 152

    def alt(self) -> str:
        pcfts = [
            f"the {word} pyramid cross feature transfer makes branch {branch}"
            for word, branch, pcft in
            (("first", 1, self.model.pcft1), ("second", 2, self.model.pcft2))
            if pcft.crossing
        ]  # fmt: skip
        return (
            "DCFNet from top to bottom, with full resolution on the left, half in the middle and "
            "a quarter on the right. PAN and interpolated MS pass the stem and stage 1; "
            + "".join(f"{clause}; " for clause in pcfts)
            + "stage 2 with two branches and stage 3 with three each end in a dynamic fusion, in "
            "which every branch goes to every branch; the head concatenates all branches."
        )


def _title(pcft: PCFT, title: str) -> str:
    if pcft.crossing:
        return title
    return "no PCFT" if pcft.plain else "no crossing"
