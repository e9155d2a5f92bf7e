"""Class activation maps of a patch: any part of a DCFNet, any band, any region.

`PatchCams` finds them; `transfer_part` names what Figure 2 of the supplement shows of them, and
`part_table` has their numbers.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dcfnet.imagery.patches import PATCH
from dcfnet.imagery.wald import Sample
from dcfnet.inside.gradcam import GradCAM, LayerMaps, Region
from dcfnet.networks.dcfnet import DCFNet
from dcfnet.networks.parts import transfer_name

Relu = Literal["after", "before"]
Hook = Literal["arrives", "last convolution"]

PLACES = {"roof": (0.125, 0.42), "car park": (0.356, 0.04), "trees": (0.846, 0.33)}
"""What the chapters look at: fractions of the test region's height and width."""


class PatchCams:
    """The class activation maps of a patch, each found when it is first asked for.

    A patch costs one forward pass. A band over a region costs one backward pass, which serves all
    parts; a sum of bands costs none beyond those of its bands. Parts, of ``model.parts()``, are all
    that depend on learned layers unless given.

    Attributes:
        fused: The fused patch, (C, H, W), in [0, 1].

    Example:
        >>> cams = PatchCams(model, patch)
        >>> cams.map("head.concat", 4)                              # band 4, whole patch
        >>> cams.map("head.concat", [4, 6], region=np.s_[8:24, :])  # sum of two, rows 8 to 23
    """

    def __init__(self, model: DCFNet, sample: Sample, parts: Iterable[str] | None = None) -> None:
        if parts is None:  # interpolating MS is no step of the network's own
            parts = [name for name in model.parts() if name != "pcft1.ms_up"]
        self._cam = GradCAM(model, parts)
        fused = self._cam(*sample.inputs(next(model.parameters())))
        self.fused = fused[0].cpu().numpy()
        self._found: dict[tuple[int, object], dict[str, LayerMaps]] = {}

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts."""
        return self._cam.layers

    def layer(self, part: str, bands: int | Iterable[int], region: Region = None) -> LayerMaps:
        """All that Grad-CAM finds at a part, B = 1, with one y^c.

        That is a band's mean over the region (see `GradCAM.maps`), or the sum of several bands'.
        """
        key = region.tobytes() if isinstance(region, np.ndarray) else repr(region)
        found = []
        for band in bands if isinstance(bands, Iterable) else [bands]:
            if (band, key) not in self._found:
                self._found[band, key] = self._cam.maps(band, region)
            found.append(self._found[band, key][part])
        alpha = torch.stack([one.alpha for one in found]).sum(dim=0)
        return LayerMaps(part, found[0].activations, alpha)

    def activations(self, part: str) -> Tensor:
        """What the part returns for the patch, (1, K, h, w)."""
        return self.layer(part, 0).activations

    def features(self, part: str) -> np.ndarray:
        """A part's feature map: the mean over its channels, (h, w)."""
        return self.layer(part, 0).features[0].cpu().numpy()

    def signed(self, part: str, bands: int | Iterable[int], region: Region = None) -> np.ndarray:
        """Sum over k of alpha_k A^k at a part, (h, w)."""
        return self.layer(part, bands, region).signed[0].cpu().numpy()

    def map(
        self, part: str, bands: int | Iterable[int], relu: Relu = "after", region: Region = None
    ) -> np.ndarray:
        """A part's class activation map, (h, w), at least 0."""
        return self.layer(part, bands, region).map(relu)[0].cpu().numpy()


def transfer_part(source: int, target: int, hook: Hook = "arrives") -> str:
    """The name of a transfer of stage 3, or of its last convolution; the identity has none."""
    if hook not in ("arrives", "last convolution"):
        raise ValueError(f'hook must be "arrives" or "last convolution", got {hook!r}')
    name = transfer_name(3, source, target)
    return name if hook == "arrives" or source == target else f"{name}.last.conv"


def part_table(
    found: Mapping[str, PatchCams], parts: Mapping[str, str], bands: Iterable[int]
) -> pd.DataFrame:
    """The numbers of parts in some patches, each band's map taken by itself, then their means.

    Args:
        found: The maps of each patch, by its name.
        parts: The parts by their titles.
        bands: Whose maps are taken.

    Returns:
        A row for each title, and for each patch the columns ``feature`` (mean of A over channels
        and pixels), ``map`` (mean of the map, in millionths) and ``zero`` (share of the map's
        pixels that are 0).
    """
    bands, tables = list(bands), {}
    for patch, cams in found.items():
        rows = {}
        for title, part in parts.items():
            maps = np.stack([cams.map(part, band) for band in bands])
            feature = float(cams.features(part).mean())
            rows[title] = {"feature": feature, "map": 1e6 * maps.mean(), "zero": (maps == 0).mean()}
        tables[patch] = pd.DataFrame.from_dict(rows, orient="index")
    return pd.concat(tables, axis=1)


def pictured(test: Sample) -> dict[str, Sample]:
    """The three patches of a test region, by name, that the chapters look at.

    They lie at `PLACES`, so that scenes of any size have them; on scenes other than Longmont, where
    the same places show other things, they are merely numbered.

    Raises:
        ValueError: The region is smaller than a patch.
    """

    def cut(length: int, fraction: float) -> slice:
        if length < PATCH:
            raise ValueError(f"a region of {length} pixels holds no patch of {PATCH}")
        first = min(round(fraction * length / 4) * 4, (length - PATCH) // 4 * 4)
        return slice(first, first + PATCH)

    names = PLACES if test.name == "wv3-longmont" else [f"patch {i}" for i in (1, 2, 3)]
    return {
        name: test.crop(*map(cut, test.shape, place))
        for name, place in zip(names, PLACES.values(), strict=True)
    }
