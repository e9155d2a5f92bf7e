"""Figures 2 and 3 of the supplement as flows: maps joined by ribbons as wide as what they carry.

A ribbon's width is the *spread* of what passes there, its standard deviation over channels and
pixels, with the learned weight that multiplies it: a mean can be shifted without any change of the
fused image, a spread cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from dcfnet.imagery.composite import SUPPLEMENT_QUANTILES, band_limits, composite
from dcfnet.imagery.wald import Sample
from dcfnet.inside.cams import PatchCams, transfer_part
from dcfnet.inside.hooks import activations
from dcfnet.networks.bricks import normalise
from dcfnet.networks.dcfnet import DCFNet
from dcfnet.show.diagram import COLOURS
from dcfnet.show.live.page import LivePage, colours, halves, of_patch, of_sensor
from dcfnet.show.style import picture


@dataclass(frozen=True)
class _Node:
    """A map in the drawing."""

    part: str  # its name in the network
    title: str  # stands above the map
    wide: str  # where it stands in a wide page, as CSS's grid-area
    narrow: str  # the same on a phone
    size: float = 1  # of its map, against the largest of its kind
    last: str = ""  # the part that is shown instead where last convolutions are looked at


@dataclass(frozen=True)
class _Ribbon:
    """What goes from map to map.

    Points that it passes are each a part, or a lane's name, the side of it (t, r, b, l) and how far
    along that side.
    """

    wide: Sequence[tuple[str, str, float]]
    narrow: Sequence[tuple[str, str, float]]
    colour: str
    part: str = ""  # whose output it carries; empty where only the way is drawn
    factor: float = 1  # what that is multiplied with


@dataclass(frozen=True)
class _Drawing:
    """All maps and ribbons."""

    nodes: list[_Node] = field(default_factory=list)
    ribbons: list[_Ribbon] = field(default_factory=list)
    lanes: dict[str, str] = field(default_factory=dict)  # where ribbons run side by side, by name
    picture: tuple[str, str] | None = None  # where the patch stands, if MS enters the drawing
    chosen: str = ""  # the part to show large first
    width: int = 0  # of the page in pixels, from which it is wide


def fusion_flow(
    model: DCFNet, patches: Mapping[str, Sample], *, first: str = "", network: str = "paper"
) -> LivePage:
    """Figure 2: the last dynamic fusion, from three branches by nine transfers to three branches.

    Args:
        model: The network.
        patches: Name to sample, all of one size and one sensor.
        first: The patch to show first; the first of all unless given.
        network: The name under which pages load the same network, see `dcfnet.show.live.networks`.

    Raises:
        ValueError: There is no patch, or patches differ in size.
    """
    drawing = _Drawing(chosen=transfer_part(2, 0), width=760)
    shares = model.stage3.fusion.shares().detach().cpu().tolist()
    at_lane = (0.25, 0.62, 0.88)
    for j, size in enumerate((1, 1 / 2, 1 / 4)):
        source, fused = f"stage3.branches.{j}", f"stage3.fusion.fused.{j}"
        rows = f"{2 * j + 1} / {{}} / {2 * j + 3}"  # of a way's lane and of its maps
        to = rows if j < 2 else "5 / {}"  # the concatenation stands below the last
        drawing.nodes.extend(
            [
                _Node(source, f"branch {j}", rows.format(1), f"1 / {j + 1}", size),
                _Node(fused, f"fused {j}", to.format(7), f"{2 * j + 3} / 3", size),
            ]
        )
        drawing.lanes[f"lane {j}"] = f"{2 * j + 1} / 3 / {2 * j + 2} / 6"
        ends = [(fused, "r", 0.5), ("head.concat", "r", 0.3 + 0.2 * j)]
        drawing.ribbons.append(_Ribbon(ends, ends, COLOURS[j]))
    for i, j in np.ndindex(3, 3):
        if f"{j}_to_{i}" not in model.stage3.fusion.transfers:
            continue
        part, source, fused = (
            transfer_part(j, i), f"stage3.branches.{j}", f"stage3.fusion.fused.{i}",
        )  # fmt: skip
        last = transfer_part(j, i, "last convolution") if i != j else ""
        drawing.nodes.append(
            _Node(part, f"T{i}{j}", f"{2 * i + 2} / {j + 3}", f"{2 * i + 2} / {j + 1}", last=last)
        )
        start, end, lane = 0.25 + 0.25 * i, 0.25 + 0.25 * j, at_lane[j]
        wide = [(source, "r", start), (f"lane {i}", "l", lane), (f"lane {i}", "r", lane)]
        narrow = [(source, "b", start), (transfer_part(j, 0), "t", start), (part, "b", start)]
        drawing.ribbons.append(
            _Ribbon(
                [*wide, (fused, "l", end)], [*narrow, (fused, "tl"[j < 2], end)], COLOURS[j],
                part, shares[i][j],
            )
        )  # fmt: skip
    drawing.nodes.append(_Node("head.concat", "concatenation", "6 / 7", "8 / 3"))
    alt = (
        "The last dynamic fusion as a flow: three branches, nine transfers, three fused branches, "
        "each with its map. Choose patch, map and scale; choose a part to see it large."
    )
    return _page(model, patches, drawing, first, network, alt)


def pcft_flow(
    model: DCFNet, patches: Mapping[str, Sample], *, first: str = "", network: str = "paper"
) -> LivePage:
    """Figure 3: the second PCFT, from branches 0 and 1 and MS to branch 2.

    Args as for `fusion_flow`.

    Raises:
        ValueError: There is no patch, patches differ in size, or the network has no second PCFT.
    """
    pcft = model.pcft2
    if not pcft.crossing:
        raise ValueError("this network was built without its second PCFT: there is none to show")
    a, b = normalise(pcft.pair.detach()).tolist()
    of_s, of_ms = normalise(pcft.channel_fusion.pair.detach()).tolist()
    x0, x1, x2 = "stage2.branches.0", "stage2.branches.1", "pcft2"
    down, s, small = "pcft2.down0", "pcft2.cross", "pcft2.down_cross"
    u, v, ms = "pcft2.channel_fusion", "pcft2.down1", "pcft2.channel_fusion.conv"
    full, half, quarter = COLOURS
    nodes = [
        _Node(x0, "x₀", "1 / 1", "1 / 1"),
        _Node(x1, "x₁", "2 / 1", "1 / 2"),
        _Node(down, "↓x₀", "1 / 2", "2 / 1"),
        _Node(s, "s = x₁ + ↓x₀", "1 / 3", "3 / 1"),
        _Node(small, "↓s", "1 / 4", "4 / 1"),
        _Node(v, "v = ↓x₁", "3 / 3", "5 / 2"),
        _Node(u, "u = F(↓s, MS)", "2 / 4", "5 / 1"),
        _Node(x2, "branch 2 = a v + b u", "3 / 5", "6 / 1"),
        _Node("stage2.fusion.fused.0", "branch 0 beside it", "1 / 5", "7 / 1"),
        _Node("stage2.fusion.fused.1", "branch 1 beside it", "2 / 5", "7 / 2"),
    ]

    def across(start: str, end: str) -> list[tuple[str, str, float]]:
        return [(start, "r", 0.5), (end, "l", 0.5)]

    def downwards(start: str, end: str) -> list[tuple[str, str, float]]:
        return [(start, "b", 0.5), (end, "t", 0.5)]

    ribbons = [
        _Ribbon(across(x0, down), downwards(x0, down), full, x0),
        _Ribbon(across(down, s), downwards(down, s), half, down),
        _Ribbon([(x1, "r", 0.3), (s, "b", 0.3)], [(x1, "b", 0.3), (s, "r", 0.5)], half, x1),
        _Ribbon([(x1, "b", 0.6), (v, "l", 0.5)], [(x1, "b", 0.7), (v, "t", 0.7)], half, x1),
        _Ribbon(across(s, small), downwards(s, small), half, s),
        _Ribbon(downwards(small, u), downwards(small, u), quarter, small, of_s),
        _Ribbon(across("MS", u), [("MS", "l", 0.8), (u, "t", 0.8)], "#8a8a8a", ms, of_ms),
        _Ribbon([(u, "b", 0.5), (x2, "l", 0.3)], downwards(u, x2), quarter, u, b),
        _Ribbon([(v, "r", 0.6), (x2, "l", 0.6)], [(v, "l", 0.7), (x2, "r", 0.7)], quarter, v, a),
    ]
    alt = (
        "The second pyramid cross feature transfer as a flow: branches 0 and 1 and MS enter, and "
        "branch 2 leaves, each step with its map. Choose patch, map and scale; choose a part to "
        "see it large."
    )
    drawing = _Drawing(nodes, ribbons, picture=("2 / 3", "4 / 2"), chosen=s, width=846)
    return _page(model, patches, drawing, first, network, alt)


def _page(
    model: DCFNet,
    patches: Mapping[str, Sample],
    drawing: _Drawing,
    first: str,
    network: str,
    alt: str,
) -> LivePage:
    if len({patch.shape for patch in patches.values()}) != 1:
        sizes = sorted({patch.shape for patch in patches.values()})
        raise ValueError(f"expected patches of one size, got {sizes or 'no patch'}")
    sample = next(iter(patches.values()))
    parts = {node.part for node in drawing.nodes} | {node.last for node in drawing.nodes} - {""}
    carried = {ribbon.part for ribbon in drawing.ribbons} - {""}
    known = model.parts()
    limits = band_limits(sample.lms if sample.gt is None else sample.gt)
    data = {
        "sensor": of_sensor(sample.sensor, limits) | {"rgb_135": list(sample.sensor.rgb_135)},
        "quantiles": list(SUPPLEMENT_QUANTILES),
        "colours": colours(),
        "networks": {network: "Run DCFNet here"},
        "patches": {
            name: _patch(model, patch, sorted(parts), sorted(carried))
            for name, patch in patches.items()
        },
        "first": first or next(iter(patches)),
        "labels": {part: known[part].label for part in parts},
        **asdict(drawing),
    }
    return LivePage("flow", data, alt=alt, attribution=sample.attribution, models={network: model})


def _patch(
    model: DCFNet, patch: Sample, parts: Iterable[str], carried: Iterable[str]
) -> dict[str, Any]:
    """What a page shows before the network has come, and what the network needs."""
    cams = PatchCams(model, patch, parts)
    bands = range(patch.sensor.n_bands)
    seen = activations(model, carried, *patch.inputs(next(model.parameters())))
    image = patch.lms if patch.gt is None else patch.gt
    supplement = composite(
        image, patch.sensor, patch.sensor.rgb_135, band_limits(image, SUPPLEMENT_QUANTILES)
    )
    return {
        **of_patch(patch),
        "pictures": [picture(composite(image, patch.sensor)), picture(supplement)],
        "spread": {part: float(values.std()) for part, values in seen.items()},
        "maps": {
            part: {
                "channels": cams.activations(part).shape[1],
                "features": halves(cams.features(part)),
                "signed": [halves(cams.signed(part, band)) for band in bands],
            }
            for part in cams.parts
        },
    }
