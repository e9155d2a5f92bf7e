"""A made-up scene whose true image is known: a town, a river and fields, seen by a sensor.

Light and sensor are imitated, not the image: the sun casts shadows and the blue sky fills them;
every band weighs the spectra by its own spectral response, PAN by a broad one that no sum of
the bands equals; optics blur, noise comes on top, and whole digital numbers are counted.
"""

import numpy as np
from affine import Affine
from scipy import fft
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import convolve1d

from dcfnet.imagery.filters import degrade
from dcfnet.imagery.scene import Scene
from dcfnet.imagery.sensors import WV3, Sensor
from dcfnet.imagery.simulated.landscape import Landscape, draw_landscape
from dcfnet.imagery.simulated.materials import KNOTS, MATERIALS, VARIANTS, kind_of

PAN_PIXEL = 0.3  # metres
FINER = 2  # cells of the landscape per PAN pixel, along each side
SUN_AZIMUTH, SUN_ELEVATION = np.radians((160.0, 43.0))

# At KNOTS: digital numbers that a white surface gets from the sun and from the sky, and that
# the air itself scatters into the view (haze, strongest in blue).
SUN = (500, 950, 1500, 2050, 1650, 1580, 1500, 1420, 1370, 1200, 1000)
SKY = (260, 370, 370, 330, 210, 160, 120, 95, 80, 60, 40)
HAZE = (118, 118, 122, 105, 62, 42, 32, 27, 24, 18, 14)

ELECTRONS_PER_DN = {"ms": 50.0, "pan": 25.0}  # for shot noise
READ_NOISE = 1.0  # digital numbers

_WAVELENGTHS = np.arange(380.0, 1071.0, 2.0)  # nanometres
_LEVELS = 32  # of wear, for which spectra are tabulated


def simulate_scene(size: int = 416, seed: int = 0, sensor: Sensor = WV3) -> Scene:
    """A scene made from nothing, the same for the same arguments.

    The default size is half of the WorldView-3 sample's 832 columns, so the regions cut from it
    are 256, 96 and 64 columns wide: all hold whole blocks of 32 pixels and whole patches of 64.

    It has as many MS pixels per side, at least 128, and PAN pixels of 0.3 m. Its ``truth`` is the
    noise-free image that a sensor with these bands and optics takes with MS pixels of PAN's size.
    ``ms`` is ``truth`` degraded as in Wald's protocol (`dcfnet.imagery.filters.degrade`), with
    noise, in whole digital numbers.

    Example:
        >>> scene = simulate_scene(size=128)
        >>> scene.ms.shape, scene.pan.shape, scene.truth.shape
        ((8, 128, 128), (512, 512), (8, 512, 512))
    """
    if size < 128:
        raise ValueError(f"size is {size} MS pixels, but the scene needs at least 128")
    rng = np.random.default_rng(seed)
    land = draw_landscape(size * sensor.ratio * FINER, PAN_PIXEL / FINER, rng)
    radiance = _radiance(land, sensor, rng)
    for image, gain in zip(radiance, (*sensor.mtf_gains, sensor.pan_mtf_gain), strict=True):
        _blur(image, gain)
    truth, pan = radiance[:-1], radiance[-1]
    ms = degrade(truth, sensor)
    return Scene(
        ms=_count(ms, "ms", sensor, rng),
        pan=_count(pan, "pan", sensor, rng),
        sensor=sensor,
        mask=np.ones(ms.shape[1:], bool),
        transform=Affine(PAN_PIXEL, 0, 491000, 0, -PAN_PIXEL, 4446000),
        crs="EPSG:32613",
        attribution="Simulated scene",
        name="simulated",
        truth=truth,
    )


def _radiance(land: Landscape, sensor: Sensor, rng: np.random.Generator) -> np.ndarray:
    """What reaches the sensor, before its optics blur it.

    Each cell is reflectance x (sunlight + skylight) + haze; a pixel is the mean of its cells.

    Returns:
        (bands + 1, H, W) float32 on PAN's grid, digital numbers, PAN last.
    """
    in_sun, in_shade, haze = _signals(sensor, rng)
    grains = np.repeat([m.grain for m in MATERIALS.values()], VARIANTS).astype(np.float32)
    n = len(land.material)
    noise = _noise(n, 0.8, rng)
    patches = _noise(n // FINER, 1.6, rng)
    land.height += kind_of(land.material, "tree") * np.maximum(0.25 * noise, -0.7)  # leafage
    sun = _sunlight(land.height, land.cell)
    out = np.empty((len(haze), n // FINER, n // FINER), np.float32)
    step = 32  # rows at a time, to need little memory
    for row in range(0, len(out[0]), step):
        cells = slice(row * FINER, (row + step) * FINER)
        spread = patches[row : row + step].repeat(FINER, 0).repeat(FINER, 1)
        wear = np.clip(land.wear[cells] + 0.12 * spread, 0, 1) * (_LEVELS - 1)
        spectrum = land.material[cells].astype(np.intp) * _LEVELS + np.rint(wear).astype(np.intp)
        texture = 1 + np.clip(grains[land.material[cells]] * noise[cells], -0.5, 0.5)
        for band, image in enumerate(out):
            fine = texture * (sun[cells] * in_sun[band, spectrum] + in_shade[band, spectrum])
            quads = fine.reshape(-1, FINER, n // FINER, FINER)
            image[row : row + step] = quads.mean(axis=(1, 3)) + haze[band]
    return out


def _signals(sensor: Sensor, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Digital numbers of every spectrum in every band, PAN last.

    Returns:
        In the sun and by skylight, (bands + 1, materials x VARIANTS x _LEVELS); of haze,
        (bands + 1,). All float32.
    """
    wear = np.linspace(0, 1, _LEVELS)[:, None]
    spectra = []
    for material in MATERIALS.values():
        pure = (1 - wear) * _curve(material.fresh) + wear * _curve(material.worn)
        for _ in range(VARIANTS):
            tint = _curve(rng.normal(0, 0.03, len(KNOTS))) + rng.normal(0, 0.08)
            spectra.append(pure / 100 * np.exp(tint))
    reflectance = np.minimum(np.concatenate(spectra), 0.95)
    response = _responses(sensor)
    light = (reflectance * _curve(SUN), reflectance * _curve(SKY), _curve(HAZE))
    return tuple((response @ part.T).astype(np.float32) for part in light)


def _responses(sensor: Sensor) -> np.ndarray:
    """Spectral responses over ``_WAVELENGTHS``, one row per band and PAN last, each of sum 1."""
    if not sensor.wavelengths or not sensor.pan_wavelengths:
        raise ValueError(f"what {sensor.title} sees cannot be simulated without wavelengths")
    edges = np.array([*sensor.wavelengths, sensor.pan_wavelengths], float)[:, :, None]
    low, high = np.moveaxis(1 / (1 + np.exp((edges - _WAVELENGTHS) / 4)), 1, 0)
    rows = low * (1 - high)
    rows[-1] *= 0.55 + 0.45 * (_WAVELENGTHS - 450) / 350  # silicon sees red better than blue
    return rows / rows.sum(axis=1, keepdims=True)


def _curve(values: tuple[float, ...] | np.ndarray) -> np.ndarray:
    """Values at KNOTS, drawn through smoothly at ``_WAVELENGTHS``."""
    return PchipInterpolator(KNOTS, values)(np.clip(_WAVELENGTHS, KNOTS[0], KNOTS[-1]))


def _noise(n: int, power: float, rng: np.random.Generator) -> np.ndarray:
    """(n, n) float32 noise of variance 1, its amplitude falling as frequency to ``power``."""
    spectrum = fft.rfft2(rng.standard_normal((n, n), dtype=np.float32))
    rows, columns = fft.fftfreq(n).astype(np.float32), fft.rfftfreq(n).astype(np.float32)
    frequency = np.hypot(rows[:, None], columns)
    frequency[0, 0] = np.inf  # no mean
    spectrum *= frequency**-power
    noise = fft.irfft2(spectrum, s=(n, n), overwrite_x=True)
    return noise / noise.std()


def _sunlight(height: np.ndarray, cell: float) -> np.ndarray:
    """Direct sun on each cell: 1 on open level ground, 0 in shadow, more on slopes facing it.

    Heights, (n, n) float32, and the length of a cell are in metres.
    """
    toward = np.array([-np.cos(SUN_AZIMUTH), np.sin(SUN_AZIMUTH)])  # rows run south
    rise = np.tan(SUN_ELEVATION)
    # A cell is in shadow if something on the way to the sun is higher than the ray. `shade` is
    # the height of that shadow; looking k cells further on doubles the way it knows.
    shade, k = _ahead(height, toward) - np.float32(rise * cell), 1
    while k * rise * cell < height.max():
        np.maximum(shade, _ahead(shade, k * toward) - np.float32(k * rise * cell), out=shade)
        k *= 2
    lit = np.clip(1 - (shade - height - 0.05) / 0.25, 0, 1)  # a little penumbra
    # Walls and crown edges are steeper than heights on a grid can show: limit slopes.
    south, east = (np.clip(g, -1.2, 1.2) for g in np.gradient(height, cell))
    facing = 1 - (south * np.float32(toward[0]) + east * np.float32(toward[1])) / np.float32(rise)
    return lit * np.maximum(facing, 0) / np.sqrt(1 + south**2 + east**2)


def _ahead(image: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The value ``step`` (rows, columns) further on, 0 beyond the borders."""
    (down, right), (h, w) = np.rint(step).astype(int), image.shape
    out = np.zeros_like(image)
    if abs(down) < h and abs(right) < w:
        source = image[max(down, 0) : h + min(down, 0), max(right, 0) : w + min(right, 0)]
        out[max(-down, 0) : h - max(down, 0), max(-right, 0) : w - max(right, 0)] = source
    return out


def _blur(image: np.ndarray, gain: float) -> None:
    """Optics, in place: with the pixel's own averaging, the MTF at Nyquist becomes ``gain``."""
    averaging = np.cos(np.pi / 4)  # response, at a pixel grid's Nyquist, of the mean of 2 cells
    side = (1 - gain / averaging) / 4  # taps (s, 1 - 2 s, s) respond with 1 - 4 s there
    for axis in (0, 1):
        convolve1d(image, (side, 1 - 2 * side, side), axis=axis, output=image, mode="nearest")


def _count(image: np.ndarray, kind: str, sensor: Sensor, rng: np.random.Generator) -> np.ndarray:
    """Whole digital numbers, with shot and read noise."""
    spread = np.sqrt(image / ELECTRONS_PER_DN[kind] + READ_NOISE**2)
    noisy = image + spread * rng.standard_normal(image.shape)
    return np.clip(np.rint(noisy), 0, sensor.max_value).astype(np.uint16)
