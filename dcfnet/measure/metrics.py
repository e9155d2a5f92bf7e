"""How good is a fused image: the field's metrics, with and without a truth to compare to.

SAM, ERGAS and PSNR come from ``torchmetrics``, whose definitions are the field's. It has no
Q2n, and its SCC, D_s and spectral distortion are other quantities, so those are written here
as the MATLAB toolbox defines them (Vivone et al., 2015, 2021).

All take digital numbers: the truth ``gt``, the fused image ``fused`` and ``lms``, MS interpolated
to PAN's grid, are (C, H, W), ``pan`` is (H, W). ``mask``, (H, W), is True where pixels count;
without one all do.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from scipy.ndimage import minimum_filter, sobel
from torchmetrics.functional.image import (
    error_relative_global_dimensionless_synthesis,
    peak_signal_noise_ratio,
    spectral_angle_mapper,
)

from dcfnet.errors import DataError
from dcfnet.imagery.filters import exp_upsample, filled, mtf_filter, reduce_pan
from dcfnet.imagery.sensors import Sensor
from dcfnet.imagery.wald import Sample

Judge = Callable[[np.ndarray, np.ndarray], float]
"""Compares a truth and a fused image, (C, H, W) each."""

BLOCK = 32
"""Side of the blocks over which Q and Q2n are averaged, in pixels."""


def _pair(gt: np.ndarray, fused: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    gt, fused = _numbers(gt, "the first image"), _numbers(fused, "the second image")
    if gt.ndim != 3 or gt.shape != fused.shape:
        raise DataError(
            f"expected two images of the same shape (C, H, W), found {gt.shape} and {fused.shape}"
        )
    return gt, fused


def _numbers(image: np.ndarray, name: str) -> np.ndarray:
    image = np.asarray(image)
    if image.dtype.kind not in "uif":
        raise DataError(f"{name} holds {image.dtype} values, expected digital numbers")
    if not np.isfinite(image).all():
        raise DataError(
            f"{name} holds NaN or infinity, expected digital numbers; set pixels without data to 0"
        )
    # torch takes no views with negative strides, such as flipped images.
    return np.ascontiguousarray(image, np.float64)


def _digital(image: np.ndarray, name: str) -> None:
    """Refuses fractions of the sensor's range, as networks see them."""
    if 0 < image.max() <= 1.5 and (image % 1).any():
        raise DataError(
            f"{name} holds values up to {image.max():.4g}, expected digital numbers; multiply "
            "images in [0, 1] by the sensor's max_value, 2047 for 11 bits"
        )


def _of_sensor(image: np.ndarray, name: str, sensor: Sensor) -> None:
    """Bands first, as many as the sensor has."""
    if image.ndim == 3 and len(image) == sensor.n_bands:
        return
    last = image.ndim == 3 and image.shape[-1] == sensor.n_bands
    raise DataError(
        f"{name} has shape {image.shape}, expected ({sensor.n_bands}, H, W) for {sensor.title}"
        + ("; bring its bands to the front with numpy.moveaxis(image, -1, 0)" if last else "")
    )


def sam(gt: np.ndarray, fused: np.ndarray) -> float:
    """Spectral angle mapper: mean angle between true and fused spectra, in degrees.

    Pixels where either spectrum is all zero do not count (Yuhas et al., 1992).

    Returns:
        Degrees, 0 is best; NaN if no pixel counts.
    """
    gt, fused = _pair(gt, fused)
    if len(gt) == 1:
        raise DataError("a spectral angle needs at least two bands, found one")
    seen = gt.any(axis=0) & fused.any(axis=0)
    if not seen.any():
        return float("nan")
    found, expected = (torch.from_numpy(image[:, seen][None, :, :, None]) for image in (fused, gt))
    return float(np.rad2deg(spectral_angle_mapper(found, expected).item()))


def ergas(gt: np.ndarray, fused: np.ndarray, ratio: int = 4) -> float:
    """Relative dimensionless global error in synthesis (Wald, 2000), of MS ``ratio`` times coarser.

    Returns:
        Per cent of the bands' means, scaled by 1/ratio; 0 is best. Infinite where a band of the
        truth is zero everywhere and the fused one is not, NaN where both are.
    """
    truth, found = (torch.from_numpy(image)[None] for image in _pair(gt, fused))
    return float(error_relative_global_dimensionless_synthesis(found, truth, ratio=ratio))


def psnr(gt: np.ndarray, fused: np.ndarray, max_value: float = 2047) -> float:
    """Peak signal-to-noise ratio over all bands, in decibels; infinite if the images are equal."""
    gt, fused = _pair(gt, fused)
    if max_value > 1.5:
        _digital(gt, "the truth")
    value = peak_signal_noise_ratio(
        torch.from_numpy(fused), torch.from_numpy(gt), data_range=float(max_value)
    )
    return float(value)


def _gradient(band: np.ndarray) -> np.ndarray:
    """Magnitude of the 3 x 3 Sobel gradient of an (H, W) image, with zero borders."""
    return np.hypot(*(sobel(band, axis=axis, mode="constant") for axis in (0, 1)))


def scc(gt: np.ndarray, fused: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Spatial correlation coefficient: agreement of the images' Sobel gradients.

    Returns:
        Between 0 and 1, 1 is best; NaN where an image has no gradient at all.
    """
    gt, fused = (image[:, 1:-1, 1:-1] for image in _pair(gt, fused))
    g1, g2 = (np.stack([_gradient(band) for band in image]) for image in (gt, fused))
    if mask is not None:
        g1, g2 = g1 * mask[1:-1, 1:-1], g2 * mask[1:-1, 1:-1]
    norm = np.sqrt((g1**2).sum() * (g2**2).sum())
    return float((g1 * g2).sum() / norm) if norm else float("nan")


# Q2n: a pixel's spectrum is one number with 2^n components (complex, quaternion, octonion).


def _conjugate(z: np.ndarray) -> np.ndarray:
    return np.concatenate([z[..., :1], -z[..., 1:]], axis=-1)


def _product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Hypercomplex product over the last axis, by Cayley-Dickson doubling.

    (p, q)(r, t) = (p r - t* q, t p + q r*), recursively over halves.
    """
    n = x.shape[-1]
    if n == 1:
        return x * y
    p, q = x[..., : n // 2], x[..., n // 2 :]
    r, t = y[..., : n // 2], y[..., n // 2 :]
    first = _product(p, r) - _product(_conjugate(t), q)
    second = _product(t, p) + _product(q, _conjugate(r))
    return np.concatenate([first, second], axis=-1)


@lru_cache(maxsize=8)
def _times_conjugate(n: int) -> np.ndarray:
    """The products of the units e_i with the conjugates of e_j, (n * n, n)."""
    units = np.eye(n)
    return _product(units[:, None], _conjugate(units)[None]).reshape(n * n, n)


def _norm2(z: np.ndarray) -> np.ndarray:
    return (z**2).sum(axis=-1)


def _q2n_of_blocks(gt: np.ndarray, fused: np.ndarray) -> np.ndarray:
    """Q2n of each block; (blocks, components, pixels) -> (blocks,)."""
    blocks, components, pixels = gt.shape
    mean = gt.mean(axis=2, keepdims=True)
    std = gt.std(axis=2, ddof=1, keepdims=True)
    std[std == 0] = np.finfo(np.float64).eps
    z1, z2 = (gt - mean) / std + 1, (fused - mean) / std + 1

    m1, m2 = z1.mean(axis=2), z2.mean(axis=2)
    z1 -= m1[..., None]
    z2 -= m2[..., None]
    var = ((z1**2).sum(axis=(1, 2)) + (z2**2).sum(axis=(1, 2))) / (pixels - 1)
    # A product is linear in either factor: its mean is made of the components' covariances.
    covariances = z1 @ z2.swapaxes(1, 2) / (pixels - 1)
    cov = covariances.reshape(blocks, -1) @ _times_conjugate(components)
    luminance = 2 * np.sqrt(_norm2(m1) * _norm2(m2)) / (_norm2(m1) + _norm2(m2))
    contrast = np.divide(2 * np.sqrt(_norm2(cov)), var, out=np.ones_like(var), where=var != 0)
    return contrast * luminance


def q2n(gt: np.ndarray, fused: np.ndarray) -> float:
    """Q2n, the hypercomplex quality index (Garzelli and Nencini, 2009): Q4, Q8, ...

    Images are rounded and clipped at 0, extended down and right to whole blocks by mirroring,
    and their bands filled up with zeros to a power of two. Blocks without data in both images
    do not count.

    Returns:
        Between 0 and 1, 1 is best; NaN if no block has data.
    """
    gt, fused = _pair(gt, fused)
    _digital(gt, "the first image")
    bands, h, w = gt.shape
    components = 1 << (bands - 1).bit_length()
    grow = ((0, components - bands), (0, 0), (0, 0))
    to_blocks = ((0, 0), (0, -h % BLOCK), (0, -w % BLOCK))

    def prepare(image: np.ndarray) -> np.ndarray:
        whole = np.floor(np.maximum(image, 0) + 0.5)
        return np.pad(np.pad(whole, to_blocks, mode="symmetric"), grow)

    gt, fused = prepare(gt), prepare(fused)
    total, count = 0.0, 0
    # One row of blocks at a time: a whole scene would need gigabytes at once.
    for top in range(0, gt.shape[1], BLOCK):
        strips = [
            image[:, top : top + BLOCK]
            .reshape(components, BLOCK, -1, BLOCK)
            .transpose(2, 0, 1, 3)
            .reshape(-1, components, BLOCK * BLOCK)
            for image in (gt, fused)
        ]
        data = strips[0].any(axis=(1, 2)) | strips[1].any(axis=(1, 2))
        if data.any():
            values = _q2n_of_blocks(strips[0][data], strips[1][data])
            total, count = total + values.sum(), count + values.size
    return float(total / count) if count else float("nan")


def d_lambda(
    lms: np.ndarray, fused: np.ndarray, sensor: Sensor, mask: np.ndarray | None = None
) -> float:
    """Spectral distortion D_lambda without a truth (Khan et al., 2009).

    The fused image, blurred as the sensor blurs MS, should be the interpolated MS:
    D_lambda = 1 - Q2n(lms, blurred fused), between 0 and 1, 0 is best.
    """
    lms, fused = _pair(lms, fused)
    blurred = mtf_filter(fused, sensor.mtf_gains, sensor.ratio)
    return 1 - (q2n(lms, blurred) if mask is None else q2n(lms * mask, blurred * mask))


def _mean_q(bands: np.ndarray, pan: np.ndarray) -> np.ndarray:
    """Mean universal quality index of each band with PAN over whole blocks, (C,)."""
    h, w = (size // BLOCK * BLOCK for size in pan.shape)

    def blocks(image: np.ndarray) -> np.ndarray:
        cut = image[..., :h, :w].reshape(*image.shape[:-2], h // BLOCK, BLOCK, w // BLOCK, BLOCK)
        return np.moveaxis(cut, -3, -2).reshape(*image.shape[:-2], -1, BLOCK * BLOCK)

    y = blocks(pan)
    m2 = y.mean(-1)
    y_deviation = y - m2[:, None]
    v2 = (y_deviation**2).mean(-1)
    means = []
    for band in bands:
        x = blocks(band)
        m1 = x.mean(-1)
        # Deviations of both, or rounding outweighs the variances of blocks that are nearly flat.
        x_deviation = x - m1[:, None]
        v1, cov = (x_deviation**2).mean(-1), (x_deviation * y_deviation).mean(-1)
        luminance_norm, contrast_norm = m1**2 + m2**2, v1 + v2
        # Blocks without data have no quality; flat blocks are compared by their means alone.
        data = luminance_norm > 0
        luminance = 2 * m1[data] * m2[data] / luminance_norm[data]
        one, seen = np.ones(data.sum()), contrast_norm[data]
        contrast = np.divide(2 * cov[data], seen, out=one, where=seen > 0)
        means.append((luminance * contrast).mean() if data.any() else np.nan)
    return np.array(means)


def d_s(
    lms: np.ndarray, fused: np.ndarray, pan: np.ndarray, mask: np.ndarray | None = None
) -> float:
    """Spatial distortion D_s without a truth.

    Each band should resemble PAN as much after fusion as the interpolated MS band resembles a
    PAN of its own resolution. H and W are multiples of 4 and at least 32.

    Returns:
        0 is best. 2 at most: Q lies between -1 and 1, and bands may resemble PAN's negative.
    """
    lms, fused = _pair(lms, fused)
    pan = _numbers(pan, "PAN")
    if pan.shape != fused.shape[1:] or min(pan.shape) < BLOCK:
        raise DataError(
            f"PAN is {pan.shape}, the fused image {fused.shape}: expected one PAN pixel per "
            f"fused pixel and at least one block of {BLOCK} x {BLOCK}"
        )
    pan_low = exp_upsample(reduce_pan(pan))
    if mask is not None:
        lms, fused, pan, pan_low = (image * mask for image in (lms, fused, pan, pan_low))
    return float(np.abs(_mean_q(fused, pan) - _mean_q(lms, pan_low)).mean())


def hqnr(lms: np.ndarray, fused: np.ndarray, pan: np.ndarray, sensor: Sensor) -> float:
    """Hybrid quality with no reference: (1 - D_lambda)(1 - D_s).

    1 is best. It is 0 or more unless D_s exceeds 1, where fusion turned PAN into its negative.
    """
    return _without_truth(lms, fused, pan, sensor)["hqnr"]


def _without_truth(
    lms: np.ndarray,
    fused: np.ndarray,
    pan: np.ndarray,
    sensor: Sensor,
    mask: np.ndarray | None = None,
) -> dict[str, float]:
    spectral, spatial = d_lambda(lms, fused, sensor, mask), d_s(lms, fused, pan, mask)
    return {"d_lambda": spectral, "d_s": spatial, "hqnr": (1 - spectral) * (1 - spatial)}


def evaluate(sample: Sample, fused: np.ndarray, *, masked: bool = False) -> dict[str, float]:
    """All metrics of a fused image (C, H, W) that the sample allows.

    Where ``masked``, pixels with data alone count, by the sample's mask, and of blocks those with
    data everywhere. Otherwise everything counts but where a metric says so.

    Returns:
        With a truth ``sam`` (degrees), ``ergas``, ``q2n``, ``scc`` and ``psnr`` (dB); without one
        ``d_lambda``, ``d_s`` and ``hqnr``.

    Raises:
        DataError: The fused image is laid out or scaled otherwise.
    """
    sensor = sample.sensor
    reference = sample.lms if sample.gt is None else sample.gt
    _of_sensor(np.asarray(fused), "the fused image", sensor)
    _of_sensor(np.asarray(reference), "the sample", sensor)
    _digital(np.asarray(reference), "the sample")
    _digital(np.asarray(fused), "the fused image")
    if masked and not sample.mask.all():
        return _evaluate_masked(sample, np.asarray(fused, np.float64))
    if sample.gt is None:
        return _without_truth(sample.lms, fused, sample.pan, sensor)
    return {name: judge(sample.gt, fused) for name, judge in judges(sensor).items()}


def judges(sensor: Sensor) -> dict[str, Judge]:
    """The metrics that compare an image with its truth, by name."""
    return {
        "sam": sam,
        "ergas": lambda gt, fused: ergas(gt, fused, sensor.ratio),
        "q2n": q2n,
        "scc": scc,
        "psnr": lambda gt, fused: psnr(gt, fused, sensor.max_value),
    }


def _evaluate_masked(sample: Sample, fused: np.ndarray) -> dict[str, float]:
    """As `evaluate`, of pixels with data; filters see them continued."""
    sensor, mask = sample.sensor, sample.mask
    fused, whole = filled(fused, mask), _in_whole_blocks(mask)
    if sample.gt is None:
        lms, pan = filled(sample.lms, mask), filled(sample.pan, mask)
        return _without_truth(lms, fused, pan, sensor, whole)
    truth = filled(np.asarray(sample.gt, np.float64), mask)
    pixels = truth[:, None, mask], fused[:, None, mask]
    return {
        "sam": sam(*pixels),
        "ergas": ergas(*pixels, sensor.ratio),
        "q2n": q2n(truth * whole, fused * whole),
        "scc": scc(truth, fused, minimum_filter(mask, 3)),
        "psnr": psnr(*pixels, sensor.max_value),
    }


def _in_whole_blocks(mask: np.ndarray) -> np.ndarray:
    """Where the blocks lie that have data everywhere."""
    h, w = mask.shape
    grown = np.pad(mask, ((0, -h % BLOCK), (0, -w % BLOCK)), mode="symmetric")
    blocks = grown.reshape(grown.shape[0] // BLOCK, BLOCK, -1, BLOCK).all(axis=(1, 3))
    return np.kron(blocks, np.ones((BLOCK, BLOCK), bool))[:h, :w]


def shift(reference: np.ndarray, image: np.ndarray, margin: int = 16) -> tuple[float, float]:
    """By how much the content of an image is displaced, to a fraction of a pixel.

    The displacement d is the least-squares solution of
    ``reference - a - b image = d . gradient(reference)``, with a brightness a and contrast b of
    its own; good for shifts well below the size of what is seen (Lucas and Kanade, 1981). Both are
    (H, W) and similarly sharp; within the margin along the borders nothing counts.

    Returns:
        Rows (down is positive) and columns (right is positive), in pixels.

    Raises:
        DataError: The images are of different shapes, smaller than the margins, flat, or hold
            what is no number.
    """
    reference, image = _numbers(reference, "the reference"), _numbers(image, "the image")
    if reference.shape != image.shape or image.ndim != 2 or min(image.shape) <= 2 * margin + 1:
        raise DataError(
            f"expected two images of one shape (H, W), larger than the margins of {margin} pixels, "
            f"found {reference.shape} and {image.shape}"
        )
    if not np.ptp(reference) or not np.ptp(image):
        raise DataError("a flat image has no displacement: expected two of the same ground")
    slope, offset = np.polyfit(image.ravel(), reference.ravel(), 1)
    inner = (slice(margin, -margin),) * 2
    gradients = np.stack([part[inner].ravel() for part in np.gradient(reference)], axis=1)
    difference = (reference - slope * image - offset)[inner].ravel()
    down, right = np.linalg.lstsq(gradients, difference, rcond=None)[0]
    return float(down), float(right)
