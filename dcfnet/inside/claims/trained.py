"""The units of all checks: trained networks, each with the test patches of its own fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dcfnet.imagery.patches import PATCH, patch_windows
from dcfnet.imagery.sensors import Sensor
from dcfnet.imagery.tensors import as_digital_numbers
from dcfnet.imagery.wald import Sample
from dcfnet.inside.cams import transfer_part
from dcfnet.inside.claims.rule import Numbers
from dcfnet.inside.gradcam import GradCAM, LayerMaps
from dcfnet.inside.hooks import kept
from dcfnet.measure import metrics
from dcfnet.networks import DCFNet

Found = dict[tuple[str, str], Numbers]
"""By what is checked and the reading of the claim, the effect on each patch, (B,)."""

BRANCHES = tuple(f"stage3.branches.{i}" for i in range(3))
"""The branches before the last fusion."""
FUSED = tuple(f"stage3.fusion.fused.{i}" for i in range(3))
"""The branches after it."""
LAST_PCFT = ("stage2.fusion.fused.0", "stage2.fusion.fused.1", "pcft2")
"""The three branches at the last PCFT: the two beside it, and the one that it makes."""

CHUNK = 4
"""Patches at a time: more do not fit a processor's cache, and take longer each."""


@dataclass(frozen=True, eq=False)
class Patches:
    """A batch of patches as networks take them, with the truth, all in [0, 1].

    Attributes:
        pan: (B, 1, H, W).
        ms: (B, C, H/4, W/4).
        lms: (B, C, H, W).
        gt: (B, C, H, W).
        sensor: Whose imagery it is.
    """

    pan: Tensor
    ms: Tensor
    lms: Tensor
    gt: Tensor
    sensor: Sensor

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """``pan, ms, lms``."""
        return self.pan, self.ms, self.lms

    def __len__(self) -> int:
        """B."""
        return len(self.pan)

    def __getitem__(self, chosen: slice | Sequence[int]) -> Patches:
        """Some of them."""
        images = (self.pan, self.ms, self.lms, self.gt)
        pan, ms, lms, gt = (image[chosen] for image in images)
        return Patches(pan, ms, lms, gt, self.sensor)


def take_patches(
    sample: Sample, fold: int = 0, size: int = PATCH, device: torch.device | str = "cpu"
) -> Patches:
    """All patches of a test region.

    Args:
        sample: A whole scene, from `dcfnet.imagery.wald.reduce_resolution`.
        fold: Whose test region.
        size: Their side on the grid of ``gt``, a multiple of 4.
        device: Where to.

    Raises:
        DataError: No patch of that size has data everywhere.
    """
    windows = patch_windows(sample, "test", fold=fold, size=size)
    crops = [sample.crop(*window) for window in windows]
    images = zip(*((*crop.inputs(device), crop.truth(device)) for crop in crops), strict=True)
    pan, ms, lms, gt = map(torch.cat, images)
    return Patches(pan, ms, lms, gt, sample.sensor)


def at_ms_size(maps: Tensor, patches: Patches) -> Tensor:
    """Maps (N, B, h, w), or images (B, h, w), as means over the pixels of the MS image."""
    height, width = patches.ms.shape[-2:]
    return F.adaptive_avg_pool2d(maps, (height, width))


def ergas(fused: Tensor, patches: Patches) -> Numbers:
    """ERGAS of each fused patch, (B,)."""
    made, truth = (as_digital_numbers(x, patches.sensor) for x in (fused, patches.gt))
    ratio = patches.sensor.ratio
    return np.array([metrics.ergas(t, f, ratio) for t, f in zip(truth, made, strict=True)])


@dataclass(eq=False)
class Trained:
    """A trained network and the test patches of its fold.

    Attributes:
        name: Of its run.
        model: The network.
        patches: What all measures look at.
    """

    name: str
    model: DCFNet
    patches: Patches

    @cached_property
    def fast(self) -> DCFNet:
        """A copy that costs less for the same answer, to be asked for derivatives as well."""
        return self.model.fused_for_inference()

    @cached_property
    def bands(self) -> list[int]:
        """Whose maps are looked at: bands 1, 3 and 5, which the supplement's figures show."""
        return sorted(self.patches.sensor.rgb_135)

    @cached_property
    def activations(self) -> dict[str, Tensor]:
        """What the parts of all claims return for all patches, (B, K, h, w)."""
        return self._found[0]

    @cached_property
    def maps(self) -> dict[str, LayerMaps]:
        """What Grad-CAM finds, for each of `bands`: at the last PCFT, and in the last fusion."""
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[dict[str, Tensor], dict[str, LayerMaps]]:
        ways = [(j, i) for i in range(3) for j in range(3)]
        mapped = [*LAST_PCFT, *(transfer_part(j, i) for j, i in ways), *FUSED]
        convolutions = [transfer_part(j, i, "last convolution") for j, i in ways if i != j]
        others = ["stage2.branches.0", "stage2.branches.1", *BRANCHES, *convolutions]
        seen: dict[str, list[Tensor]] = {}
        alpha: dict[str, list[Tensor]] = {}
        with GradCAM(self.model, mapped) as cam, kept(self.model, others) as passed:
            for start in range(0, len(self.patches), CHUNK):
                cam(*self.patches[start : start + CHUNK].inputs)
                for part, found in cam.maps(self.bands).items():
                    seen.setdefault(part, []).append(found.activations)
                    alpha.setdefault(part, []).append(found.alpha)
                for part in others:
                    seen.setdefault(part, []).append(passed[part].detach().clone())
        whole = {part: torch.cat(chunks) for part, chunks in seen.items()}
        maps = {n: LayerMaps(n, whole[n], torch.cat(a, dim=1)) for n, a in alpha.items()}
        return whole, maps
