"""The maps behind the explorer of class activation maps: named, precomputed, or asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from bokeh.models import ColumnDataSource

from dcfnet.imagery.composite import SUPPLEMENT_QUANTILES, band_limits, composite
from dcfnet.imagery.wald import Sample
from dcfnet.inside.cams import PatchCams
from dcfnet.networks.dcfnet import DCFNet
from dcfnet.show.views.store import pack, plain, two_sided

__all__ = ["KINDS", "Box", "CamAtlas", "CamKernel", "Edges", "Places", "Regions"]

Box = tuple[slice, slice] | None
"""Rows and columns over which a band is averaged; None for the whole image."""
Regions = Mapping[str, Box | Mapping[str, Box]]
"""Name of a region to its box, or to its box in each patch by the patch's name."""
Edges = tuple[int, int, int, int]
"""A box as first row, end row, first column, end column."""
Places = Mapping[str, Sequence[Edges]]
"""Name of a region to its edges in each patch."""

KINDS = {
    "after": "map, ReLU after the sum",
    "before": "map, ReLU before the sum",
    "signed": "signed map, no ReLU",
    "feature": "feature map",
}
"""What is shown of a part."""


class CamAtlas:
    """The class activation maps of several patches, each found when it is first asked for.

    A map's name is a list in JSON, as cams.js writes it too: the positions of patch and part; the
    kind; and, but for a feature map, the bands whose maps are summed and the edges of the box over
    which they are averaged. The script makes the map with the ReLU after the sum of the signed one.

    Args:
        model: A DCFNet.
        patches: Name to sample, all of one size and one sensor.
        parts: Names out of ``model.parts()``.

    Raises:
        ValueError: There is no patch, patches differ in size, or a name is unknown.
    """

    def __init__(self, model: DCFNet, patches: Mapping[str, Sample], parts: Sequence[str]) -> None:
        sizes = {patch.shape for patch in patches.values()}
        if len(sizes) != 1:
            raise ValueError(f"expected patches of one size, got {sorted(sizes) or 'no patch'}")
        self.height, self.width = sizes.pop()
        self.patches = dict(patches)
        self.sensor = next(iter(patches.values())).sensor
        self.cams = [PatchCams(model, patch, parts) for patch in patches.values()]
        self.parts = {name: model.parts()[name] for name in parts}
        self.model = model

    def map(self, key: str) -> npt.NDArray[np.floating]:
        """The map of that name, at the part's own resolution."""
        patch, part, kind, *of = json.loads(key)
        cams, part = self.cams[patch], list(self.parts)[part]
        if kind == "feature":
            return cams.features(part)
        bands, (top, bottom, left, right) = of
        box = np.s_[top:bottom, left:right]
        return (
            cams.signed(part, bands, box)
            if kind == "signed"
            else cams.map(part, bands, "before", box)
        )

    def precomputed(self, places: Places, budget: float) -> tuple[ColumnDataSource, list[str]]:
        """The maps of single bands, in eight bits, and the kinds for which there is room.

        Args:
            places: See `places`.
            budget: How many bytes of the page they may take. Where they do not fit, those with the
                ReLU before the sum are left out.

        Raises:
            ValueError: Even then they do not fit.
        """
        shapes = [part.shape(self.height, self.width) for part in self.parts.values()]
        pixels = sum(height * width for _, height, width in shapes)
        bands = range(len(self.sensor.bands))
        features = 4 / 3 * len(self.cams) * pixels  # in base 64
        each = features * len(places) * len(bands)
        if features + each > budget:
            raise ValueError(
                f"the maps take {(features + each) / 1e6:.1f} MB of the page, more than the "
                f"budget of {budget / 1e6:.1f} MB: pass fewer patches, parts or regions"
            )
        kinds = [kind for kind in KINDS if kind != "before" or features + 2 * each <= budget]

        stored = [kind for kind in kinds if kind in ("before", "signed")]

        def keys() -> Iterator[str]:
            for p, n in np.ndindex(len(self.cams), len(shapes)):
                yield _key(p, n, "feature")
                for kind, edges, band in product(stored, places.values(), bands):
                    yield _key(p, n, kind, [band], edges[p])

        maps = {key: self.map(key) for key in keys()}
        return ColumnDataSource(pack(maps, two_sided)), kinds

    def places(self, regions: Regions) -> dict[str, list[Edges]]:
        """The edges of each region in each patch; the whole image is always among them.

        Raises:
            ValueError: A region holds no pixel, or has no box for a patch.
        """
        if all(box is not None for box in regions.values()):
            regions = {"whole image": None, **regions}
        places = {}
        for name, boxes in regions.items():
            each = boxes if isinstance(boxes, Mapping) else dict.fromkeys(self.patches, boxes)
            if missing := [patch for patch in self.patches if patch not in each]:
                raise ValueError(f"the region {name!r} has no box for the patch {missing[0]!r}")
            places[name] = [self._edges(each[patch]) for patch in self.patches]
        return places

    def _edges(self, box: Box) -> Edges:
        rows, cols = box or (slice(None), slice(None))
        top, bottom, _ = rows.indices(self.height)
        left, right, _ = cols.indices(self.width)
        if top >= bottom or left >= right:
            size = f"{self.height} x {self.width}"
            raise ValueError(f"the region {box} holds no pixel of a patch of {size}")
        return top, bottom, left, right

    def pictures(self) -> dict[str, npt.NDArray[np.uint8]]:
        """The patches in bands 1, 3, 5 as in the supplement, and in natural colour, (P, H, W, 3).

        The truth where a patch has one, else what the network makes of it.
        """
        looks: dict[str, list[npt.NDArray[np.uint8]]] = {"bands 1, 3, 5": [], "natural colour": []}
        for patch, cams in zip(self.patches.values(), self.cams, strict=True):
            fused = (cams.fused * self.sensor.max_value).clip(0)
            image = fused if patch.gt is None else patch.gt
            limits = band_limits(image, SUPPLEMENT_QUANTILES)
            looks["bands 1, 3, 5"].append(
                composite(image, self.sensor, self.sensor.rgb_135, limits)
            )
            looks["natural colour"].append(composite(image, self.sensor))
        return {name: np.stack(images) for name, images in looks.items()}

    def facts(self) -> list[str]:
        """A line about each part: its channels, its size and, of a transfer, its learned share."""
        facts = []
        for part in self.parts.values():
            channels, rows, columns = part.shape(self.height, self.width)
            facts.append(f"{channels} channels of {rows} × {columns} values.")
            if part.source is not None:
                stage = self.model.stage2 if part.stage == 2 else self.model.stage3
                share = float(stage.fusion.shares().detach()[part.target, part.source])
                facts[-1] += f" Learned share a<sub>{part.target}{part.source}</sub> = {share:.2f}."
        return facts


class CamKernel:
    """The kernel's side of the explorer in JupyterLab: maps that the page's script asks for.

    Attributes:
        asked: The names of the maps that the script wants, the one to show first.
        store: Those maps. Of all but the first only the extremes, for a shared scale.
    """

    def __init__(self, atlas: CamAtlas) -> None:
        self.atlas = atlas
        self.asked = ColumnDataSource({"keys": []}, name="asked")
        self.store = ColumnDataSource({"keys": [[]]}, name="answer")
        self.asked.on_change("data", lambda attr, old, new: self._answer(new["keys"]))

    def _answer(self, keys: Sequence[str]) -> None:
        if keys == self.store.data["keys"][0]:  # jupyter_bokeh reports each change twice
            return
        maps = {key: self.atlas.map(key) for key in keys}
        self.store.data = {**pack(maps, plain), "codes": [maps[keys[0]].ravel()]}


def _key(patch: int, part: int, kind: str, *of: Any) -> str:
    return json.dumps([patch, part, kind, *of], separators=(",", ":"))
