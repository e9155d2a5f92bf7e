"""Filters between two resolutions: a sensor's blur, fewer pixels, and more pixels again.

They are those of the MATLAB toolbox that the field compares with (Vivone et al., 2015, 2021): a
Gaussian-like low pass matched to each band's modulation transfer function (MTF), decimation, and
interpolation with a 23-tap polynomial filter.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from scipy.ndimage import convolve1d, distance_transform_edt
from scipy.signal import fftconvolve

from dcfnet.errors import DataError
from dcfnet.imagery.sensors import Sensor

# Half of the 23-tap filter, from its centre outwards (Aiazzi et al., 2002).
_HALF_FILTER = 2 * np.array(
    [0.5, 0.305334091185, 0, -0.072698593239, 0, 0.021809577942,
     0, -0.005192756653, 0, 0.000807762146, 0, -0.000060081482]
)  # fmt: skip
_FILTER = np.concatenate([_HALF_FILTER[:0:-1], _HALF_FILTER])


KERNEL = 41
"""Rows and columns of the filters that imitate a sensor's blur."""


@lru_cache(maxsize=64)
def mtf_kernel(gain: float, ratio: int = 4) -> np.ndarray:
    """Point spread function of a band, from its amplitude response at the coarse grid's Nyquist.

    Returns:
        (41, 41) float64, read-only. Not normalised: for a WorldView-3 band it sums to about 0.999.
    """
    if not 0 < gain < 1:
        raise ValueError(f"an MTF gain lies between 0 and 1, got {gain}")
    half = (KERNEL - 1) / 2
    # The Gaussian whose value at the Nyquist frequency of the coarse grid is the gain.
    sigma = np.sqrt((half / ratio) ** 2 / (-2 * np.log(gain)))
    axis = np.arange(KERNEL) - half
    squared_radius = axis[:, None] ** 2 + axis[None, :] ** 2
    response = np.exp(-squared_radius / (2 * sigma**2))
    kernel = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(response))).real
    window = np.interp(
        np.sqrt(squared_radius), axis[axis >= 0], np.kaiser(KERNEL, 0.5)[axis >= 0], right=0.0
    )
    kernel = kernel * window
    kernel.flags.writeable = False
    return kernel


def mtf_filter(image: np.ndarray, gains: Sequence[float], ratio: int = 4) -> np.ndarray:
    """Blur each band as the sensor would at a ``ratio`` times coarser pixel size.

    From (C, H, W) and each band's MTF gain to (C, H, W) float64. Beyond its borders the image is
    continued by its border pixels.
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
    """Keep every ``ratio``-th row and column of (..., H, W), beginning with ``ratio // 2``."""
    return image[..., ratio // 2 :: ratio, ratio // 2 :: ratio]


def degrade(ms: np.ndarray, sensor: Sensor) -> np.ndarray:
    """MS as the sensor would have taken it with pixels four times as large.

    From (C, H, W) in digital numbers, multiples of 4, to (C, H/4, W/4) float64, not rounded.
    """
    _require_multiple(ms.shape[-2:], sensor.ratio)
    return decimate(mtf_filter(ms, sensor.mtf_gains, sensor.ratio), sensor.ratio)


def reduce_pan(pan: np.ndarray, ratio: int = 4) -> np.ndarray:
    """PAN with larger pixels: bicubic (a = -0.5) with antialiasing.

    From (H, W), multiples of ``ratio``, to (H/ratio, W/ratio) float64, not rounded.
    """
    _require_multiple(pan.shape, ratio)
    return _bicubic(pan, 1 / ratio)


def exp_upsample(ms: np.ndarray, ratio: int = 4) -> np.ndarray:
    """Interpolate with the 23-tap filter, the method known as EXP (Aiazzi et al., 2002).

    Each pass doubles the size: zeros are put between the samples, then rows and columns are
    filtered. The first pass puts samples at odd positions, the next one at even positions, so
    that MS pixel k lands on position 4 k + 2, where :func:`decimate` had taken it from. Borders
    are circular. From (..., h, w) to (..., ratio h, ratio w) float64; the ratio is a power of two.
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
            spread.swapaxes(axis, -1)[..., offset::2] = image.swapaxes(axis, -1)
            image = convolve1d(spread, _FILTER, axis=axis, mode="wrap")
    return image


def wavelet_low_pass(image: np.ndarray) -> np.ndarray:
    """What the wavelet transform of the toolbox leaves after two levels, (H, W).

    Four times (1 4 6 4 1)/16, without holes. Borders are mirrored twice, by 4 pixels each time.
    """
    image = _valid(np.pad(image, 4, mode="symmetric"))
    return _valid(_valid(_valid(np.pad(image, 4, mode="symmetric"))))


def _valid(image: np.ndarray) -> np.ndarray:
    for axis in (0, 1):
        image = convolve1d(image, np.array([1, 4, 6, 4, 1]) / 16, axis=axis)
    return image[2:-2, 2:-2]


def bicubic_down(image: np.ndarray) -> np.ndarray:
    """MATLAB's imresize by 1/4, (..., H, W): antialiased, borders mirrored.

    `reduce_pan` agrees with it but for two pixels along the borders.
    """
    edges = [(0, 0)] * (image.ndim - 2) + [(8, 8)] * 2
    return _bicubic(np.pad(image, edges, mode="symmetric"), 1 / 4)[..., 2:-2, 2:-2]


def bicubic_up(image: np.ndarray) -> np.ndarray:
    """MATLAB's imresize by 4, (H, W), borders mirrored."""
    return _bicubic(np.pad(image, 2, mode="symmetric"), 4)[8:-8, 8:-8]


def _bicubic(image: np.ndarray, scale: float) -> np.ndarray:
    """(..., H, W) resized by Keys' kernel with a = -0.5, which torch takes with antialiasing."""
    tensor = torch.from_numpy(np.ascontiguousarray(image, np.float64))
    flat = tensor.reshape(1, -1, *tensor.shape[-2:])
    resized = torch.nn.functional.interpolate(
        flat, scale_factor=scale, mode="bicubic", antialias=True
    )
    return resized.reshape(*tensor.shape[:-2], *resized.shape[-2:]).numpy()


def _require_multiple(shape: Sequence[int], ratio: int) -> None:
    if any(size % ratio or size == 0 for size in shape):
        raise DataError(
            f"image is {shape[0]} x {shape[1]} pixels, expected multiples of {ratio}; "
            "crop it at the bottom and right"
        )


def coarse_mask(mask: np.ndarray, ratio: int) -> np.ndarray:
    """Where all of a coarse pixel's fine pixels have data: (ratio H, ratio W) to (H, W)."""
    rows, cols = (size // ratio for size in mask.shape)
    return np.asarray(mask.reshape(rows, ratio, cols, ratio).all(axis=(1, 3)))


def filled(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Pixels without data get the nearest value that is one, so that filters see no cliff."""
    if mask.all() or not mask.any():
        return image
    nearest = distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return image[..., nearest[0], nearest[1]]
