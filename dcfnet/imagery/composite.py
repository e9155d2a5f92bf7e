"""Bands become pictures: limits, stretch, composites."""

from collections.abc import Sequence

import numpy as np

from dcfnet.errors import DataError
from dcfnet.imagery.sensors import Sensor

SUPPLEMENT_QUANTILES = (0.01, 0.995)
"""Between these the DCFNet supplement stretches its composites; bright roofs make them dark."""


def band_limits(image: np.ndarray, quantiles: tuple[float, float] = (0.02, 0.98)) -> np.ndarray:
    """What each band's darkest and brightest grey shall stand for.

    Pixels of (C, H, W) or (H, W) that are 0 in every band do not count. Quantiles are the shares
    of the others that become black and that stay below white.

    Returns:
        (C, 2) lower and upper limit of each band.

    Raises:
        DataError: The image holds no data.
    """
    bands = image if image.ndim == 3 else image[None]
    seen = bands.any(axis=0)
    if not seen.any():
        raise DataError("the image holds no data: every pixel is 0 in every band")
    return np.quantile(bands[:, seen], quantiles, axis=1).T


def stretch(image: np.ndarray, limits: np.ndarray | None = None) -> np.ndarray:
    """Digital numbers, (C, H, W) or (H, W), as uint8 greys, linear between limits.

    Those, (C, 2), are from :func:`band_limits` of the image that sets the scale, by default of
    this one. Images shown side by side need the same limits.
    """
    limits = band_limits(image) if limits is None else np.asarray(limits, np.float64)
    low, high = (edge[:, None, None] for edge in limits.T)
    span = np.maximum(high - low, np.finfo(np.float64).tiny)
    greys = np.rint(255 * np.clip((image - low) / span, 0, 1)).astype(np.uint8)
    return greys.reshape(image.shape)


def composite(
    image: np.ndarray,
    sensor: Sensor,
    bands: Sequence[int] | None = None,
    limits: np.ndarray | None = None,
) -> np.ndarray:
    """Three bands of (C, H, W) as red, green and blue, (H, W, 3) uint8.

    By default they are the sensor's ``rgb``, natural colour; its ``rgb_135`` are the supplement's
    composite. Limits are as of `stretch`, (C, 2) for all bands.
    """
    chosen = list(sensor.rgb if bands is None else bands)
    limits = band_limits(image[chosen]) if limits is None else np.asarray(limits)[chosen]
    return stretch(image[chosen], limits).transpose(1, 2, 0)
