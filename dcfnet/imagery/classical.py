"""Pansharpening without learning: the methods that every network must beat.

Each adds detail of PAN to the interpolated bands, and measures over the whole scene how much. They
compute what the MATLAB toolbox computes (Vivone et al., 2015, 2021), except that pixels without
data are not counted.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from dcfnet.errors import DataError, unknown
from dcfnet.imagery.filters import (
    bicubic_down,
    bicubic_up,
    decimate,
    exp_upsample,
    mtf_filter,
    wavelet_low_pass,
)
from dcfnet.imagery.regions import Window
from dcfnet.imagery.sensors import Sensor
from dcfnet.imagery.statistics import Statistics, Tile
from dcfnet.imagery.wald import Sample

Fitted = dict[str, np.ndarray]
_TINY = 2.0**-52  # what the toolbox adds to divisors


@dataclass(frozen=True)
class Method:
    """A way of fusing that measures a few numbers over a scene, then computes every pixel.

    Called with a sample it does both, so a method is a function from a sample to its fused image,
    (C, H, W) float64, neither rounded nor clipped. A scene that is too large for that is fused
    tile by tile: first `fit` sees all tiles, then `apply` makes each of them.

    Attributes:
        title: What tables call it.
        fit: From tiles with `dcfnet.imagery.statistics.MARGIN` pixels around them, gone through
            once or twice, to named numbers.
        apply: From a tile and these numbers to its fused image, (C, H, W).
        reach: How many pixels around it a fused pixel depends on.

    Example:
        >>> fused = METHODS["gsa"](sample)                                 # doctest: +SKIP
        >>> fitted = gsa.fit(tiles)                                        # doctest: +SKIP
        >>> fused_tiles = [gsa.apply(tile, **fitted) for tile, _ in tiles] # doctest: +SKIP
    """

    title: str
    fit: Callable[[Collection[Tile]], Fitted]
    apply: Callable[..., np.ndarray]
    reach: int = 0

    def __call__(self, sample: Sample) -> np.ndarray:
        """The fused image of a whole sample, (C, H, W) float64."""
        return self.apply(sample, **self.measure(sample))

    def measure(self, sample: Sample) -> Fitted:
        """The numbers that the method takes from a whole sample, by name."""
        whole = Window(*(slice(0, size) for size in sample.shape))
        return self.fit([(sample, whole)])


def _bands_and_pan(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(sample.lms, np.float64), np.asarray(sample.pan, np.float64)


def _per_band(numbers: np.ndarray) -> np.ndarray:
    return numbers[:, None, None]


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """A quotient; 0 where nothing varies, so that nothing is injected."""
    return np.divide(above, below, out=np.zeros(np.shape(above)), where=below != 0)


# EXP -----------------------------------------------------------------------------------------

exp = Method("EXP", lambda tiles: {}, lambda sample: _bands_and_pan(sample)[0])
"""EXP: interpolation alone, no detail from PAN."""


# MTF-GLP-FS ----------------------------------------------------------------------------------


def as_bands_see(pan: np.ndarray, sensor: Sensor) -> np.ndarray:
    """PAN, (H, W), blurred, decimated and interpolated: as sharp as each band, (C, H, W)."""
    ratio = sensor.ratio
    seen = {
        gain: exp_upsample(decimate(mtf_filter(pan[None], [gain], ratio)[0], ratio), ratio)
        for gain in set(sensor.mtf_gains)
    }
    return np.stack([seen[gain] for gain in sensor.mtf_gains])


def _fit_mtf_glp_fs(tiles: Collection[Tile]) -> Fitted:
    statistics = Statistics()
    for tile in tiles:
        lms, pan = _bands_and_pan(tile[0])
        statistics.add([pan, *lms, *as_bands_see(pan, tile[0].sensor)], tile)
    of_bands, of_seen = np.split(statistics.cov[0, 1:], 2)  # with PAN
    return {"gains": _ratio(of_bands, of_seen)}


def _apply_mtf_glp_fs(sample: Sample, gains: np.ndarray) -> np.ndarray:
    lms, pan = _bands_and_pan(sample)
    return lms + _per_band(gains) * (pan - as_bands_see(pan, sample.sensor))


mtf_glp_fs = Method("MTF-GLP-FS", _fit_mtf_glp_fs, _apply_mtf_glp_fs, reach=48)
"""MTF-GLP-FS: a Laplacian pyramid matched to the MTF, full-scale gains.

Each band gets the details that PAN has beyond that band's resolution, times one gain for the
whole image (Vivone, Restaino, Chanussot, 2018).
"""


# BT-H ----------------------------------------------------------------------------------------

# What the haze of B, G, R and N is taken to be, as a share of their first percentile.
_HAZE_SHARES = np.array([0.95, 0.45, 0.40, 0.05])


def _fit_bt_h(tiles: Collection[Tile]) -> Fitted:
    statistics = Statistics()
    darkest = np.array(np.inf)
    for tile in tiles:
        lms, pan = _bands_and_pan(tile[0])
        # The toolbox's filter responds with 0.3 at N/8 frequency samples here, N = 41; those of
        # the sensors have their gain at (N - 1)/8.
        low = mtf_filter(pan[None], [0.3 ** ((40 / 41) ** 2)], tile[0].sensor.ratio)[0]
        rows = statistics.add([*lms, low], tile)[:, :-1]
        darkest = np.minimum(darkest, rows.min(axis=0, initial=np.inf))
    factor, mean, cov = statistics.factor, statistics.mean, statistics.cov
    weights = np.linalg.lstsq(factor[:, :-1], factor[:, -1], rcond=None)[0]
    four = len(weights) == 4
    haze = _HAZE_SHARES * _first_percentile(tiles, statistics.count) if four else darkest
    scale = _ratio(np.sqrt(weights @ cov[:-1, :-1] @ weights), statistics.std[-1])
    offset = weights @ (mean[:-1] - haze) - scale * mean[-1]
    return {"weights": weights, "haze": haze, "scale": scale, "offset": offset}


def _first_percentile(tiles: Collection[Tile], count: int) -> np.ndarray:
    """Of each band of ``lms``, as MATLAB's prctile computes it, from the darkest pixels alone."""
    place = max(0.01 * count - 0.5, 0)
    needed = min(int(place) + 2, count)
    darkest = np.empty((0, 4))
    for tile in tiles:
        darkest = np.vstack([darkest, Statistics().add(tile[0].lms, tile)])
        if len(darkest) > needed:
            darkest = np.partition(darkest, needed - 1, axis=0)[:needed]
    darkest = np.sort(darkest, axis=0)
    first = int(place)
    return darkest[first] + (place - first) * (darkest[min(first + 1, count - 1)] - darkest[first])


def _apply_bt_h(
    sample: Sample, weights: np.ndarray, haze: np.ndarray, scale: np.ndarray, offset: np.ndarray
) -> np.ndarray:
    lms, pan = _bands_and_pan(sample)
    clear = lms - _per_band(haze)
    intensity = np.tensordot(weights, clear, 1)
    return np.maximum(clear, 0) * ((scale * pan + offset) / (intensity + _TINY)) + _per_band(haze)


bt_h = Method("BT-H", _fit_bt_h, _apply_bt_h)
"""BT-H: Brovey's transform with haze correction (Lolli et al., 2017).

Every pixel's spectrum, less the haze, is made as bright as PAN says; its direction stays.
"""


# GSA -----------------------------------------------------------------------------------------


def _fit_gsa(tiles: Collection[Tile]) -> Fitted:
    fine, coarse = Statistics(), Statistics()
    for tile in tiles:
        lms, pan = _bands_and_pan(tile[0])
        fine.add([*lms, pan], tile)
        coarse.add([*tile[0].ms, decimate(wavelet_low_pass(pan), tile[0].sensor.ratio)], tile)
    weights = np.linalg.lstsq(coarse.centred[:, :-1], coarse.centred[:, -1], rcond=None)[0]
    of_bands = fine.cov[:-1, :-1] @ weights  # covariances of the bands with the intensity
    return {
        "weights": weights,
        "gains": _ratio(of_bands, np.full(len(weights), weights @ of_bands)),
        "means": fine.mean,
    }


def _apply_gsa(
    sample: Sample, weights: np.ndarray, gains: np.ndarray, means: np.ndarray
) -> np.ndarray:
    lms, pan = _bands_and_pan(sample)
    intensity = np.tensordot(weights, lms - _per_band(means[:-1]), 1)
    return lms + _per_band(gains) * (pan - means[-1] - intensity)


gsa = Method("GSA", _fit_gsa, _apply_gsa)
"""GSA: Gram-Schmidt with an adaptive intensity (Aiazzi, Baronti, Selva, 2007).

The intensity is the sum of bands that comes closest to PAN at the resolution of MS; each band
takes up PAN minus intensity as strongly as it follows the intensity.
"""


# BDSD-PC -------------------------------------------------------------------------------------


def _fit_bdsd_pc(tiles: Collection[Tile]) -> Fitted:
    statistics = Statistics()
    for tile in tiles:
        sensor = tile[0].sensor
        lms, pan = _bands_and_pan(tile[0])
        bands = bicubic_down(lms)
        low = decimate(mtf_filter(pan[None], [sensor.pan_mtf_gain], sensor.ratio)[0], sensor.ratio)
        blurred = mtf_filter(bands, sensor.mtf_gains, sensor.ratio)
        statistics.add([low, *blurred, *bands], tile)
    factor = statistics.factor
    n = (factor.shape[1] - 1) // 2
    signs = np.array([1.0] + [-1.0] * n)
    columns, bands = factor[:, : n + 1] * signs, factor[:, n + 1 :]
    lost = bands - factor[:, 1 : n + 1]
    gains = np.array([signs * _nonnegative(columns, detail) for detail in lost.T])
    return {"pan": gains[:, 0], "bands": gains[:, 1:]}


def _nonnegative(columns: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Weights of 0 or more whose sum of columns is closest to the target."""
    lengths = np.linalg.norm(columns, axis=0)
    weights, _ = nnls(columns / lengths, target)
    used = weights > 0
    weights[used] = np.linalg.lstsq(columns[:, used], target, rcond=None)[0]
    return weights


def _apply_bdsd_pc(sample: Sample, pan: np.ndarray, bands: np.ndarray) -> np.ndarray:
    lms, fine = _bands_and_pan(sample)
    return lms + _per_band(pan) * fine + np.tensordot(bands, lms, 1)


bdsd_pc = Method("BDSD-PC", _fit_bdsd_pc, _apply_bdsd_pc)
"""BDSD-PC: band-dependent spatial detail, physically constrained (Vivone, 2019).

What a band loses when it is degraded is estimated from PAN, with a weight of 0 or more, and all
degraded bands, with weights of 0 or less; the weights are then used one scale up.
"""


# AWLP ----------------------------------------------------------------------------------------


def _fit_awlp(tiles: Collection[Tile]) -> Fitted:
    statistics = Statistics()
    for tile in tiles:
        lms, pan = _bands_and_pan(tile[0])
        statistics.add([*lms, bicubic_up(bicubic_down(pan))], tile)
    *of_bands, of_pan = statistics.std
    return {"gains": _ratio(np.array(of_bands), np.full(len(of_bands), of_pan))}


def _apply_awlp(sample: Sample, gains: np.ndarray) -> np.ndarray:
    lms, pan = _bands_and_pan(sample)
    proportion = lms / (lms.mean(axis=0) + _TINY)
    return lms + _per_band(gains) * (pan - wavelet_low_pass(pan)) * proportion


awlp = Method("AWLP", _fit_awlp, _apply_awlp, reach=8)
"""AWLP: additive wavelet luminance proportional (Otazu et al., 2005; Vivone et al., 2019).

Details of PAN, matched to each band's spread, in proportion to the band's share of the pixel.
"""


METHODS: dict[str, Method] = {
    "exp": exp,
    "mtf-glp-fs": mtf_glp_fs,
    "bt-h": bt_h,
    "gsa": gsa,
    "bdsd-pc": bdsd_pc,
    "awlp": awlp,
}
"""The methods by the names that users type."""


def get_method(name: str) -> Method:
    """The method of that name, in whatever case."""
    if name.lower() not in METHODS:
        raise DataError(unknown("method", name, METHODS))
    return METHODS[name.lower()]
