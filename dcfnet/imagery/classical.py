"""Pansharpening without learning: the two methods that every network must beat."""

from __future__ import annotations

import numpy as np

from dcfnet.imagery.filters import decimate, exp_upsample, mtf_filter
from dcfnet.imagery.sensors import Sensor
from dcfnet.imagery.wald import Sample

__all__ = ["exp", "mtf_glp_fs", "mtf_glp_fs_parts"]


def exp(sample: Sample) -> np.ndarray:
    """EXP: interpolation alone, no detail from PAN.

    Args:
        sample: Only its ``lms`` is used.

    Returns:
        (C, H, W) float64.
    """
    return np.asarray(sample.lms, np.float64)


def mtf_glp_fs_parts(
    lms: np.ndarray, pan: np.ndarray, sensor: Sensor
) -> tuple[np.ndarray, np.ndarray]:
    """The two ingredients of MTF-GLP-FS: details and gains.

    Args:
        lms: Interpolated MS, (C, H, W).
        pan: (H, W), multiples of 4.
        sensor: Gives the MTF gains.

    Returns:
        details: PAN minus PAN as each band would see it, (C, H, W).
        gains: How strongly each band takes them up, (C,).
    """
    lms, pan = np.asarray(lms, np.float64), np.asarray(pan, np.float64)
    details, gains = np.empty(lms.shape), np.empty(len(lms))
    pan_deviation = pan - pan.mean()
    for b, mtf_gain in enumerate(sensor.mtf_gains):
        blurred = mtf_filter(pan[None], [mtf_gain], sensor.ratio)[0]
        pan_low = exp_upsample(decimate(blurred, sensor.ratio), sensor.ratio)
        details[b] = pan - pan_low
        # cov(lms_b, PAN) / cov(pan_b, PAN): the pixel counts cancel.
        gains[b] = np.vdot(lms[b] - lms[b].mean(), pan_deviation) / np.vdot(
            pan_low - pan_low.mean(), pan_deviation
        )
    return details, gains


def mtf_glp_fs(sample: Sample) -> np.ndarray:
    """MTF-GLP-FS: a Laplacian pyramid matched to the MTF, full-scale gains.

    Each band gets the details that PAN has beyond that band's resolution, times one gain for
    the whole image (Vivone, Restaino, Chanussot, 2018). No histogram matching, no clipping.

    Args:
        sample: Its ``lms`` (C, H, W) and ``pan`` (H, W) are used.

    Returns:
        (C, H, W) float64.
    """
    details, gains = mtf_glp_fs_parts(sample.lms, sample.pan, sample.sensor)
    return np.asarray(sample.lms, np.float64) + gains[:, None, None] * details
