"""The data of the explorer of class activation maps: any patch, part, band and region."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dcfnet.imagery.composite import SUPPLEMENT_QUANTILES, band_limits, composite
from dcfnet.imagery.wald import Sample
from dcfnet.inside.gradcam import GradCAM, LayerMaps
from dcfnet.networks.dcfnet import DCFNet, Part

__all__ = ["Box", "CamAtlas", "Edges"]

Box = tuple[slice, slice] | None
"""Rows and columns over which a band is averaged; None for the whole image."""
Edges = tuple[int, int, int, int]
"""A box as first row, end row, first column, end column."""


class CamAtlas:
    """Grad-CAM maps of several patches, each computed when it is first asked for.

    A patch costs one forward pass. A band over a region costs one backward pass, which serves all
    parts; a sum of bands costs none beyond those of its bands.

    Args:
        model: A DCFNet.
        patches: Name to sample, all of one size and one sensor.
        parts: Names out of ``model.parts()``.

    Raises:
        ValueError: There is no patch, patches differ in size, or a name is unknown.
    """

    def __init__(self, model: DCFNet, patches: Mapping[str, Sample], parts: Sequence[str]) -> None:
        known = model.parts()
        if unknown := [name for name in parts if name not in known]:
            raise ValueError(f"the network has no part {unknown[0]!r}; model.parts() lists all")
        if not parts:
            raise ValueError("expected at least one part, got none")
        sizes = {patch.shape for patch in patches.values()}
        if len(sizes) != 1:
            raise ValueError(f"expected patches of one size, got {sorted(sizes) or 'no patch'}")
        self.sensor = next(iter(patches.values())).sensor
        self.parts: dict[str, Part] = {name: known[name] for name in parts}
        self.patches = dict(patches)
        self.height, self.width = sizes.pop()
        self._model = model
        self._passes: dict[str, tuple[GradCAM, torch.Tensor]] = {}
        self._layers: dict[tuple[Any, ...], dict[str, LayerMaps]] = {}

    def picture(self, patch: str) -> dict[str, npt.NDArray[np.uint8]]:
        """The patch as colour images (H, W, 3): bands 1, 3, 5 as in the supplement, and natural.

        The truth where the patch has one, else what the network makes of the patch.
        """
        image = self.patches[patch].gt
        if image is None:
            image = (self._pass(patch)[1][0] * self.sensor.max_value).clip(0).cpu().numpy()
        limits = band_limits(image, SUPPLEMENT_QUANTILES)
        return {
            "bands 1, 3, 5": composite(image, self.sensor, self.sensor.rgb_135, limits),
            "natural colour": composite(image, self.sensor),
        }

    def edges(self, box: Box) -> Edges:
        """A box as first row, end row, first column, end column.

        Raises:
            ValueError: It holds no pixel.
        """
        rows, cols = box or (slice(None), slice(None))
        top, bottom, _ = rows.indices(self.height)
        left, right, _ = cols.indices(self.width)
        if top >= bottom or left >= right:
            size = f"{self.height} x {self.width}"
            raise ValueError(f"the region {box} holds no pixel of a patch of {size}")
        return top, bottom, left, right

    def map(
        self,
        patch: str,
        part: str,
        kind: str,
        bands: Iterable[int] = (0,),
        edges: Edges | None = None,
    ) -> npt.NDArray[np.float32]:
        """One map, at the part's own resolution.

        Args:
            patch: Name of a patch.
            part: Name of a part.
            kind: ``"signed"``, the map before its ReLU; ``"before"``, the ReLU before the sum; or
                ``"feature"``, which knows neither band nor box.
            bands: The bands, from 0, whose means over the box are summed.
            edges: Of the box, see `edges`; the whole image unless given.

        Returns:
            (h, w).
        """
        box = edges or self.edges(None)
        found = [self._layer_maps(patch, band, box)[part] for band in bands]
        alpha = torch.stack([one.alpha for one in found]).sum(dim=0)
        layer = LayerMaps(part, found[0].activations, alpha)
        if kind == "feature":
            values = layer.features
        else:
            values = layer.signed if kind == "signed" else layer.map("before")
        return values[0].float().cpu().numpy()

    def _layer_maps(self, patch: str, band: int, edges: Edges) -> dict[str, LayerMaps]:
        key = (patch, band, *edges)
        if key not in self._layers:
            top, bottom, left, right = edges
            self._layers[key] = self._pass(patch)[0].maps(band, np.s_[top:bottom, left:right])
        return self._layers[key]

    def _pass(self, patch: str) -> tuple[GradCAM, torch.Tensor]:
        if patch not in self._passes:
            cam = GradCAM(self._model, self.parts)
            inputs = self.patches[patch].inputs(next(self._model.parameters()))
            self._passes[patch] = (cam, cam(*inputs))
        return self._passes[patch]
