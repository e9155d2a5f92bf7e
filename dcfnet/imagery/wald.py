"""Wald's protocol: make a scene four times coarser, so that the original is the truth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from dcfnet.errors import DataError
from dcfnet.imagery.filters import degrade, exp_upsample, reduce_pan
from dcfnet.imagery.regions import Split, regions
from dcfnet.imagery.scene import Scene
from dcfnet.imagery.sensors import Sensor
from dcfnet.imagery.tensors import as_tensor


@dataclass(frozen=True)
class Sample:
    """What a fusion method is given, and the truth where there is one. Digital numbers.

    Attributes:
        gt: The truth: the scene's own MS, (C, H, W) uint16, H and W multiples of 4. None at full
            resolution, where nobody knows it.
        ms: ``gt`` degraded by 4 and rounded, (C, H/4, W/4) uint16.
        lms: ``ms`` interpolated to the grid of ``gt``, (C, H, W) float32.
        pan: PAN reduced by 4 and rounded, (H, W) uint16.
        mask: (H, W) bool, True where there is data.
        sensor: What took the images.
        name: Of the scene.
        attribution: The line that every figure of it carries.

    Example:
        >>> test = reduce_resolution(load_scene()).region("test")  # doctest: +SKIP
        >>> fused = model(*test.inputs())                          # doctest: +SKIP
    """

    gt: np.ndarray | None
    ms: np.ndarray
    lms: np.ndarray
    pan: np.ndarray
    mask: np.ndarray
    sensor: Sensor
    name: str = ""
    attribution: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the fine grid."""
        height, width = self.pan.shape
        return height, width

    def crop(self, rows: slice, cols: slice) -> Sample:
        """The part of the sample in a window of its fine grid, whose borders are multiples of 4."""
        y0, y1, _ = rows.indices(self.shape[0])
        x0, x1, _ = cols.indices(self.shape[1])
        if any(edge % 4 for edge in (y0, y1, x0, x1)):
            raise ValueError(
                f"rows {y0}:{y1} and columns {x0}:{x1} cut through MS pixels; use multiples of 4"
            )
        fine = (slice(y0, y1), slice(x0, x1))
        coarse = (slice(y0 // 4, y1 // 4), slice(x0 // 4, x1 // 4))
        return replace(
            self,
            gt=None if self.gt is None else self.gt[:, *fine],
            ms=self.ms[:, *coarse],
            lms=self.lms[:, *fine],
            pan=self.pan[fine],
            mask=self.mask[fine],
        )

    def region(self, split: Split, fold: int = 0) -> Sample:
        """The part of a whole scene that is a split of a fold, see `dcfnet.imagery.regions`.

        Raises:
            DataError: There is no such split or fold, or the region lies in two pieces.
        """
        pieces = regions(self.shape, split, fold)
        if len(pieces) > 1:
            raise DataError(
                f"the {split} region of fold {fold} lies in {len(pieces)} pieces: expected one; "
                "crop each of dcfnet.imagery.regions.regions(sample.shape, split, fold)"
            )
        return self.crop(*pieces[0])

    def inputs(
        self, like: torch.device | torch.dtype | Tensor | str = "cpu"
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``pan, ms, lms`` as networks take them, with a leading axis of 1, in [0, 1].

        They lie on the device that is given, or have the device and type of the tensor.
        """
        images = (self.pan[None], self.ms, self.lms)
        pan, ms, lms = (as_tensor(image, self.sensor, like)[None] for image in images)
        return pan, ms, lms

    def truth(self, like: torch.device | torch.dtype | Tensor | str = "cpu") -> Tensor:
        """``gt`` in the same form.

        Raises:
            DataError: Nobody knows it, at full resolution.
        """
        if self.gt is None:
            raise DataError("at full resolution there is no truth: use reduce_resolution(scene)")
        return as_tensor(self.gt, self.sensor, like)[None]


def reduce_resolution(scene: Scene) -> Sample:
    """Wald's protocol: the scene's MS becomes the truth of a four times coarser scene.

    Sizes that are not a multiple of 4 are cropped at the bottom and right.

    Raises:
        DataError: The scene is smaller than one coarse pixel.
    """
    r = scene.sensor.ratio
    h, w = (size // r * r for size in scene.ms.shape[1:])
    if not h or not w:
        raise DataError(f"MS is {scene.ms.shape[1:]}, expected at least {r} x {r} pixels")
    gt = scene.ms[:, :h, :w]
    ms = _to_digital_numbers(degrade(gt, scene.sensor), scene.sensor)
    pan = _to_digital_numbers(reduce_pan(scene.pan[: r * h, : r * w], r), scene.sensor)
    lms = exp_upsample(ms, r).astype(np.float32)
    return Sample(gt, ms, lms, pan, scene.mask[:h, :w], scene.sensor, scene.name, scene.attribution)


def full_resolution(scene: Scene) -> Sample:
    """The scene as it is: what fusion is for, where no truth is known and ``gt`` is None."""
    r, about = scene.sensor.ratio, (scene.sensor, scene.name, scene.attribution)
    lms = np.stack([exp_upsample(band, r).astype(np.float32) for band in scene.ms])
    mask = np.kron(scene.mask, np.ones((r, r), bool))
    return Sample(None, scene.ms, lms, scene.pan, mask, *about)


def _to_digital_numbers(image: np.ndarray, sensor: Sensor) -> np.ndarray:
    """Whole numbers within the sensor's range, as a file would hold them: filters overshoot."""
    return np.clip(np.rint(image), 0, sensor.max_value).astype(np.uint16)
