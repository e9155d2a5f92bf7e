"""Wald's protocol: make a scene four times coarser, so that the original is the truth.

The steps are those of the MATLAB toolbox that the field compares with (Vivone et al., 2015,
2021): a Gaussian-like low pass matched to each band's modulation transfer function (MTF),
decimation, and interpolation with a 23-tap polynomial filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from scipy.ndimage import convolve1d
from scipy.signal import fftconvolve
from torch import Tensor

from dcfnet.errors import DataError
from dcfnet.imagery.regions import Split, regions
from dcfnet.imagery.scene import Scene
from dcfnet.imagery.sensors import Sensor
from dcfnet.imagery.tensors import as_tensor

__all__ = [
    "Sample",
    "decimate",
    "degrade",
    "exp_upsample",
    "full_resolution",
    "mtf_filter",
    "mtf_kernel",
    "reduce_pan",
    "reduce_resolution",
]

# Half of the 23-tap filter, from its centre outwards (Aiazzi et al., 2002).
_HALF_FILTER = 2 * np.array(
    [0.5, 0.305334091185, 0, -0.072698593239, 0, 0.021809577942,
     0, -0.005192756653, 0, 0.000807762146, 0, -0.000060081482]
)  # fmt: skip
_FILTER = np.concatenate([_HALF_FILTER[:0:-1], _HALF_FILTER])


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
        """The part of the sample in a window of its fine grid.

        Args:
            rows: Rows; start and stop must be multiples of 4.
            cols: Columns, likewise.

        Raises:
            ValueError: A border does not fall on a pixel of ``ms``.
        """
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
        """The part of a whole scene that is for training, testing or validation.

        Args:
            split: ``"train"``, ``"test"`` or ``"valid"``.
            fold: Which division of the scene, see `dcfnet.imagery.regions`.

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

        Args:
            like: The device, or a tensor whose device and type they shall have.
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


@lru_cache(maxsize=64)
def _mtf_kernel(gain: float, ratio: int, size: int) -> np.ndarray:
    half = (size - 1) / 2
    # The Gaussian whose value at the Nyquist frequency of the coarse grid is the gain.
    sigma = np.sqrt((half / ratio) ** 2 / (-2 * np.log(gain)))
    axis = np.arange(size) - half
    squared_radius = axis[:, None] ** 2 + axis[None, :] ** 2
    response = np.exp(-squared_radius / (2 * sigma**2))
    kernel = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(response))).real
    window = np.interp(
        np.sqrt(squared_radius), axis[axis >= 0], np.kaiser(size, 0.5)[axis >= 0], right=0.0
    )
    kernel = kernel * window
    kernel.flags.writeable = False
    return kernel


def mtf_kernel(gain: float, ratio: int = 4, size: int = 41) -> np.ndarray:
    """Point spread function of a band, from its MTF gain.

    Args:
        gain: Amplitude response at the Nyquist frequency of the coarse grid, in (0, 1).
        ratio: Coarse pixel size divided by fine pixel size.
        size: Number of rows and columns, odd.

    Returns:
        (size, size) float64. Not normalised: for a WorldView-3 band it sums to about 0.999.

    Raises:
        ValueError: ``gain`` or ``size`` cannot be.
    """
    if not 0 < gain < 1:
        raise ValueError(f"an MTF gain lies between 0 and 1, got {gain}")
    if size < 3 or size % 2 == 0:
        raise ValueError(f"size must be an odd number of at least 3, got {size}")
    return _mtf_kernel(float(gain), int(ratio), int(size))


def mtf_filter(image: np.ndarray, gains: Sequence[float], ratio: int = 4) -> np.ndarray:
    """Blur each band as the sensor would at a ``ratio`` times coarser pixel size.

    Args:
        image: (C, H, W), any numeric type.
        gains: MTF gain of each band at the coarse grid's Nyquist frequency.
        ratio: Coarse pixel size divided by fine pixel size.

    Returns:
        (C, H, W) float64. Beyond its borders the image is continued by its border pixels.
    """
    if image.ndim != 3 or len(gains) != image.shape[0]:
        raise DataError(
            f"expected an image of shape ({len(gains)}, H, W), one band per MTF gain, "
            f"found {image.shape}"
        )
    out = np.empty(image.shape, np.float64)
    for band, gain, filtered in zip(image, gains, out, strict=True):
        kernel = mtf_kernel(gain, ratio)
        pad = kernel.shape[0] // 2
        extended = np.pad(band.astype(np.float64), pad, mode="edge")
        filtered[:] = fftconvolve(extended, kernel, mode="valid")
    return out


def decimate(image: np.ndarray, ratio: int = 4) -> np.ndarray:
    """Keep every fourth row and column, from the third on.

    Args:
        image: (..., H, W).
        ratio: Keep one in so many; the first kept index is ``ratio // 2``.
    """
    return image[..., ratio // 2 :: ratio, ratio // 2 :: ratio]


def degrade(ms: np.ndarray, sensor: Sensor) -> np.ndarray:
    """MS as the sensor would have taken it with pixels four times as large.

    Args:
        ms: (C, H, W) in digital numbers, H and W multiples of 4.
        sensor: Gives the MTF gains.

    Returns:
        (C, H/4, W/4) float64, not rounded.
    """
    _require_multiple(ms.shape[-2:], sensor.ratio)
    return decimate(mtf_filter(ms, sensor.mtf_gains, sensor.ratio), sensor.ratio)


def reduce_pan(pan: np.ndarray, ratio: int = 4) -> np.ndarray:
    """PAN with larger pixels: bicubic (a = -0.5) with antialiasing.

    Args:
        pan: (H, W), H and W multiples of ``ratio``.
        ratio: Reduction factor.

    Returns:
        (H/ratio, W/ratio) float64, not rounded.
    """
    _require_multiple(pan.shape, ratio)
    h, w = pan.shape
    tensor = torch.from_numpy(np.ascontiguousarray(pan, dtype=np.float64))[None, None]
    reduced = torch.nn.functional.interpolate(
        tensor, size=(h // ratio, w // ratio), mode="bicubic", antialias=True
    )
    return reduced[0, 0].numpy()


def exp_upsample(ms: np.ndarray, ratio: int = 4) -> np.ndarray:
    """Interpolate with the 23-tap filter, the method known as EXP (Aiazzi et al., 2002).

    Each pass doubles the size: zeros are put between the samples, then rows and columns are
    filtered. The first pass puts samples at odd positions, the next one at even positions, so
    that MS pixel k lands on position 4 k + 2, where :func:`decimate` had taken it from. Borders
    are circular.

    Args:
        ms: (C, h, w) or (h, w).
        ratio: A power of two.

    Returns:
        Float64, ``ratio`` times as many rows and columns.
    """
    passes = int(ratio).bit_length() - 1
    if ratio < 2 or 2**passes != ratio:
        raise ValueError(f"ratio must be a power of two, got {ratio}")
    image = np.asarray(ms, np.float64)
    for step in range(passes):
        offset = 1 if step == 0 else 0
        for axis in (-2, -1):
            shape = list(image.shape)
            shape[axis] *= 2
            spread = np.zeros(shape)
            where: list[slice] = [slice(None)] * image.ndim
            where[axis] = slice(offset, None, 2)
            spread[tuple(where)] = image
            image = convolve1d(spread, _FILTER, axis=axis, mode="wrap")
    return image


def reduce_resolution(scene: Scene) -> Sample:
    """Wald's protocol: the scene's MS becomes the truth of a four times coarser scene.

    Sizes that are not a multiple of 4 are cropped at the bottom and right.

    Args:
        scene: MS (C, h, w) and PAN (4h, 4w).

    Returns:
        ``gt`` (C, H, W), ``ms`` (C, H/4, W/4), ``lms`` (C, H, W), ``pan`` (H, W), where H and W
        are h and w cropped.

    Raises:
        DataError: The scene is smaller than one coarse pixel.
    """
    r = scene.sensor.ratio
    h, w = (size // r * r for size in scene.ms.shape[1:])
    if not h or not w:
        raise DataError(f"MS is {scene.ms.shape[1:]}, expected at least {r} x {r} pixels")
    gt = scene.ms[:, :h, :w]
    ms = _to_digital_numbers(degrade(gt, scene.sensor))
    pan = _to_digital_numbers(reduce_pan(scene.pan[: r * h, : r * w], r))
    lms = exp_upsample(ms, r).astype(np.float32)
    return Sample(gt, ms, lms, pan, scene.mask[:h, :w], scene.sensor, scene.name, scene.attribution)


def full_resolution(scene: Scene) -> Sample:
    """The scene as it is: what fusion is for, where no truth is known.

    Args:
        scene: MS (C, h, w) and PAN (4h, 4w).

    Returns:
        ``gt`` is None; ``ms`` (C, h, w) and ``pan`` (4h, 4w) are the scene's own, ``lms`` is
        (C, 4h, 4w) float32.
    """
    r = scene.sensor.ratio
    return Sample(
        gt=None,
        ms=scene.ms,
        lms=np.stack([exp_upsample(band, r).astype(np.float32) for band in scene.ms]),
        pan=scene.pan,
        mask=np.kron(scene.mask, np.ones((r, r), bool)),
        sensor=scene.sensor,
        name=scene.name,
        attribution=scene.attribution,
    )


def _to_digital_numbers(image: np.ndarray) -> np.ndarray:
    """Round to whole numbers, as a file would hold them."""
    return np.clip(np.rint(image), 0, np.iinfo(np.uint16).max).astype(np.uint16)


def _require_multiple(shape: Sequence[int], ratio: int) -> None:
    if any(size % ratio or size == 0 for size in shape):
        raise DataError(
            f"image is {shape[0]} x {shape[1]} pixels, expected multiples of {ratio}; "
            "crop it at the bottom and right"
        )
