"""How far each band lies from PAN, to a few hundredths of a pixel, and how it is moved there.

A satellite's bands are seen by different rows of detectors, a moment apart, and are put over one
another afterwards. What is left is a fraction of a pixel, enough to colour the edges of roofs.

Each band is compared with PAN as this band would see it, blurred by its MTF and decimated, in
squares of a few MS pixels. In each a least-squares fit gives a contrast, a brightness and a
displacement of its own (Lucas and Kanade, 1981). Where a square shows two materials, band and PAN
differ by contrast and brightness alone and the fit is close; where it shows more, they differ in
kind, and the fit says so by its residual, which decides how much the square counts. One fit for
the whole image would take differences in kind, the dark and the lit sides of roofs for example,
for a displacement of up to half a pixel.
"""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import fft
from scipy.ndimage import minimum_filter

from dcfnet.errors import DataError
from dcfnet.imagery.filters import coarse_mask, mtf_kernel
from dcfnet.imagery.geotiff import Pair
from dcfnet.imagery.moved import shifted
from dcfnet.imagery.regions import Window
from dcfnet.imagery.scene import Scene
from dcfnet.imagery.wald import Sample

SQUARE = 6
"""Side of the squares, in MS pixels: small enough for two materials, large enough for a fit."""

KEPT = 0.25
"""Share of the squares that is used: those whose fits are the surest."""

WINDOW, WINDOWS = 128, 4
"""Of a large image, 4 x 4 windows of 128 x 128 MS pixels are enough."""

PERFECT = 0.5
"""Where bands are found that are registered perfectly, see `displacements`."""

FEWEST, SMALLEST = 40, 96
"""Squares, and MS pixels per side, without which nothing is said."""

_HALF = 24  # of the kernel that blurs and moves PAN at once, in PAN pixels
_FIRST = 6  # MS pixel, along both axes, whose kernel lies within PAN


class _Part(NamedTuple):
    """A window of a pair: bands (C, h, w), PAN (4h, 4w), where there is data (h, w)."""

    ms: np.ndarray
    pan: np.ndarray
    mask: np.ndarray


def displacements(pair: Scene | Sample | Pair) -> pd.DataFrame:
    """How far the content of each band lies from PAN's.

    0 means that the band lies where `dcfnet.imagery.filters.exp_upsample` puts it, MS pixel k on
    PAN pixel 4 k + 2. The middle of the ground of MS pixel k is 4 k + 1.5, so bands that were
    registered perfectly with PAN are found at 0.5, down and right. On the simulated scene errors
    are at most 0.05 pixels.

    Of an open pair of files windows are read. A sample at reduced resolution has few pixels:
    measure the scene and ask `at_reduced_resolution`.

    Returns:
        A row for each band, by its short name: ``down`` and ``right``, in pixels of the pair's
        PAN, and ``error``, the standard error of the two as the squares' scatter tells it.

    Raises:
        DataError: Too little of the pair has data and shows anything.

    Example:
        >>> displacements(load_scene())  # doctest: +SKIP
    """
    shape = pair.shape if isinstance(pair, Pair) else pair.ms.shape[1:]
    parts = _parts(pair, shape) if min(shape) >= SMALLEST else []
    if not any(part.mask.any() for part in parts):
        raise DataError(
            f"MS is {shape[0]} x {shape[1]} pixels{', without data' if parts else ''}: to register "
            f"bands expected at least {SMALLEST} x {SMALLEST}, with data"
        )
    rows = []
    for band, (name, gain) in enumerate(zip(pair.sensor.bands, pair.sensor.mtf_gains, strict=True)):
        try:
            rows.append(_displacement([part._replace(ms=part.ms[band]) for part in parts], gain))
        except np.linalg.LinAlgError:
            raise DataError(
                f"band {name} and PAN cannot be registered: fewer than {FEWEST} squares of "
                f"{SQUARE} x {SQUARE} MS pixels have data and show edges; expected a larger pair"
            ) from None
    return pd.DataFrame(rows, index=list(pair.sensor.bands), columns=["down", "right", "error"])


def _parts(pair: Scene | Sample | Pair, shape: tuple[int, ...]) -> list[_Part]:
    ratio = pair.sensor.ratio

    def along(size: int) -> list[slice]:
        if size <= WINDOW * WINDOWS:
            return [slice(0, size)]
        starts = np.linspace(0, size - WINDOW, WINDOWS).astype(int).tolist()
        return [slice(start, start + WINDOW) for start in starts]

    parts = []
    for rows, cols in itertools.product(*map(along, shape)):
        if isinstance(pair, Pair):
            (ms, mask), (pan, seen) = pair.read_ms(rows, cols), pair.read_pan(rows, cols)
            parts.append(_Part(ms, pan, mask & coarse_mask(seen, ratio)))
            continue
        fine = Window(rows, cols).times(ratio)
        of_sample = pair.mask.shape != shape
        mask = coarse_mask(pair.mask[fine], ratio) if of_sample else pair.mask[rows, cols]
        parts.append(_Part(pair.ms[:, rows, cols], pair.pan[fine], mask))
    return parts


def _displacement(parts: list[_Part], gain: float) -> tuple[float, float, float]:
    """Of one band, by repeated small steps from a whole number of MS pixels."""
    place = _coarse(max(parts, key=lambda part: part.mask.sum()), gain)
    for _ in range(5):
        step, error = _step(parts, gain, place)
        place = place + step
        if np.abs(step).max() < 0.01:
            break
    return float(place[0]), float(place[1]), error


def _seen(pan: np.ndarray, gain: float, place: np.ndarray) -> np.ndarray:
    """PAN as a band sees it that lies elsewhere, and its derivatives by that place.

    From (4h, 4w) to (3, h', w') float64, of MS pixels from `_FIRST` on.
    """
    kernel = np.pad(mtf_kernel(gain), _HALF - 20)
    frequency = fft.fftfreq(len(kernel))
    down, right = frequency[:, None], frequency[None]
    move = np.exp(-2j * np.pi * (down * place[0] + right * place[1]))
    response = fft.fft2(fft.ifftshift(kernel)) * move
    turned = np.stack([response, -2j * np.pi * down * response, -2j * np.pi * right * response])
    kernels = fft.fftshift(fft.ifft2(turned).real, axes=(1, 2))[:, ::-1, ::-1]
    # Reached from MS pixel 6, which lies on PAN pixel 26: 26 - 24 = 2.
    inner = np.ascontiguousarray(pan[2:, 2:] - pan.mean(), np.float32)
    weights = torch.from_numpy(np.ascontiguousarray(kernels[:, None], np.float32))
    return torch.conv2d(torch.from_numpy(inner)[None, None], weights, stride=4)[0].double().numpy()


def _coarse(part: _Part, gain: float) -> np.ndarray:
    """To a whole MS pixel, where the phases of the two spectra agree best; in PAN pixels."""
    seen = _seen(part.pan, gain, np.zeros(2))[0]
    h, w = seen.shape
    inner = np.s_[_FIRST : _FIRST + h, _FIRST : _FIRST + w]
    data = part.mask[inner]
    if not data.any():
        raise np.linalg.LinAlgError
    taper = np.outer(np.hanning(h), np.hanning(w)) * data
    band = part.ms[inner].astype(float)
    spectra = [fft.rfft2(taper * (image - image[data].mean())) for image in (band, seen)]
    cross = spectra[0] * spectra[1].conj()
    agreement = fft.irfft2(cross / (np.abs(cross) + 1e-12), s=(h, w))
    peak = np.unravel_index(np.abs(agreement).argmax(), agreement.shape)
    return 4.0 * np.array([p - n if p > n / 2 else p for p, n in zip(peak, (h, w), strict=True)])


def _step(parts: list[_Part], gain: float, place: np.ndarray) -> tuple[np.ndarray, float]:
    """How much further the band lies, and the standard error of that."""
    squares = [_squares(part, _seen(part.pan, gain, place)) for part in parts]
    band, seen = (np.concatenate(values) for values in zip(*squares, strict=True))
    # Normal equations of (contrast, down, right) in every square; brightness goes with the means.
    band, seen = band - band.mean(axis=1, keepdims=True), seen - seen.mean(axis=1, keepdims=True)
    normal = np.einsum("kni,knj->kij", seen, seen)
    edges = np.linalg.det(normal) > 1e-6 * np.prod(np.diagonal(normal, axis1=1, axis2=2), axis=1)
    band, seen, normal = band[edges], seen[edges], normal[edges]
    if len(band) < FEWEST:
        raise np.linalg.LinAlgError
    fit = np.linalg.solve(normal, np.einsum("kni,kn->ki", seen, band)[..., None])[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):  # a square that shows nothing of PAN
        found = fit[:, 1:] / fit[:, :1]
    residual = band - np.einsum("kni,ki->kn", seen, fit)
    noise = (residual**2).sum(axis=1) / (band.shape[1] - 4)
    # Fisher's information on the displacement, the contrast being unknown, too.
    along = normal[:, 1:, :1]
    sureness = normal[:, 1:, 1:] - along * along.swapaxes(1, 2) / normal[:, :1, :1]
    sureness = sureness * (fit[:, 0] ** 2 / np.maximum(noise, 1e-6))[:, None, None]
    near = (np.abs(found) < 4).all(axis=1)
    found, sureness = found[near], sureness[near]
    surest = np.argsort(np.linalg.det(sureness))[-max(int(KEPT * len(found)), FEWEST) :]
    return _mean(found[surest], sureness[surest])


def _squares(part: _Part, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squares with data in and around them: of the band (squares, pixels), of PAN also (..., 3)."""
    h, w = (size // SQUARE * SQUARE for size in seen.shape[1:])

    def cut(image: np.ndarray) -> np.ndarray:
        before, sides = image.shape[:-2], (h // SQUARE, SQUARE, w // SQUARE, SQUARE)
        grid = image[..., :h, :w].reshape(*before, *sides).swapaxes(-3, -2)
        return grid.reshape(*before, -1, SQUARE * SQUARE)

    inner = np.s_[_FIRST : _FIRST + h, _FIRST : _FIRST + w]
    safe = minimum_filter(part.mask, 2 * _FIRST + 1, mode="nearest")
    with_data = cut(safe[inner]).all(axis=1)
    band, pan = cut(part.ms[inner].astype(float)), cut(seen)
    return band[with_data], np.moveaxis(pan, 0, -1)[with_data]


def _mean(found: np.ndarray, sureness: np.ndarray) -> tuple[np.ndarray, float]:
    """Weighted mean of displacements (n, 2), those far off counting less (Huber, 1964)."""
    weights = sureness
    for _ in range(10):
        mean = np.linalg.solve(weights.sum(axis=0), np.einsum("kij,kj->i", weights, found))
        off = found - mean
        distance = np.sqrt(np.einsum("ki,kij,kj->k", off, sureness, off))
        reach = np.median(distance) + 1e-12
        weights = sureness / np.maximum(distance / reach, 1)[:, None, None]
    inverse = np.linalg.inv(weights.sum(axis=0))
    scatter = np.einsum("kij,kj,kl,klm->im", weights, off, off, weights)
    return mean, float(np.sqrt(np.trace(inverse @ scatter @ inverse) / 2))


def at_reduced_resolution(found: pd.DataFrame) -> pd.DataFrame:
    """What `displacements` of a scene become in `dcfnet.imagery.wald.reduce_resolution` of it.

    Both images become four times coarser there, and PAN is averaged over the ground of an MS
    pixel, so that perfectly registered bands are found at 0.
    """
    return (found - [PERFECT, PERFECT, 0]) / 4


def moved(image: np.ndarray, places: pd.DataFrame, *, back: bool = False) -> np.ndarray:
    """Each band moved by its ``down`` and ``right`` in pixels of the image, or back: (C, H, W)."""
    steps = places[["down", "right"]].to_numpy()
    return shifted(image, -steps if back else steps)


def aligned(sample: Sample, found: pd.DataFrame) -> Sample:
    """The sample with ``lms`` and ``ms`` moved onto PAN, by its `displacements`; ``gt`` stays."""
    lms, ms = moved(sample.lms, found, back=True), moved(sample.ms, found / 4, back=True)
    return replace(sample, lms=lms, ms=ms)


def fuse_aligned(
    method: Callable[[Sample], np.ndarray], sample: Sample, found: pd.DataFrame
) -> np.ndarray:
    """What a method makes of the sample, aligned by its `displacements`, moved back again.

    So it can be compared with the truth, which lies there. Without the last step,
    ``method(aligned(sample, found))``, the fused image lies on PAN.
    """
    return moved(method(aligned(sample, found)), found)
