"""The simulated scene: the same every time, plausible, and consistent with its own truth."""

import hashlib

import numpy as np
import pytest

from dcfnet.imagery.filters import degrade, exp_upsample
from dcfnet.imagery.sensors import WV2, WV3
from dcfnet.imagery.simulated import camera as simulation
from dcfnet.imagery.simulated.camera import simulate_scene
from dcfnet.imagery.simulated.landscape import draw_landscape
from dcfnet.imagery.simulated.materials import VARIANTS, kind_of

SIZE = 160


@pytest.fixture(scope="module")
def scene():
    return simulate_scene(size=SIZE)


def pure_pixels(*names):
    """PAN pixels of that scene with nothing but these materials on and around them."""
    n = SIZE * 4 * simulation.FINER
    cell = simulation.PAN_PIXEL / simulation.FINER
    material = draw_landscape(n, cell, np.random.default_rng(0)).material
    cells = kind_of(material, *names)
    pixels = cells.reshape(n // 2, 2, n // 2, 2).all(axis=(1, 3))
    padded = np.pad(pixels, 1)
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    return around.all(axis=(2, 3))


def ndvi(image):
    red, nir = image[WV3.index("R")], image[WV3.index("N")]
    return (nir - red) / (nir + red)


def digest(scene):
    arrays = (scene.ms, scene.pan, scene.truth)
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def test_same_seed_same_bits(scene):
    assert digest(simulate_scene(size=SIZE)) == digest(scene)


def test_other_seed_other_scene(scene):
    other = simulate_scene(size=SIZE, seed=1)
    assert np.corrcoef(other.pan.ravel(), scene.pan.ravel())[0, 1] < 0.5


def test_shapes_types_and_range(scene):
    side = 4 * SIZE
    assert scene.ms.shape == (8, SIZE, SIZE) and scene.ms.dtype == np.uint16
    assert scene.pan.shape == (side, side) and scene.pan.dtype == np.uint16
    assert scene.truth.shape == (8, side, side) and scene.truth.dtype == np.float32
    assert scene.mask.shape == (SIZE, SIZE) and scene.mask.all()
    assert scene.ms.min() > 0 and scene.pan.min() > 0  # 0 would mean no data
    assert np.isfinite(scene.truth).all() and scene.truth.min() > 0
    assert scene.transform.a == -scene.transform.e == simulation.PAN_PIXEL
    assert scene.crs == "EPSG:32613" and scene.attribution


def test_saturation_is_rare_and_eleven_bits_are_used(scene):
    for image in (scene.ms, scene.pan):
        assert image.max() <= WV3.max_value
        assert (image == WV3.max_value).mean() < 1e-3
        assert image.max() > 600


def test_ms_is_degraded_truth_but_for_noise(scene):
    noise = scene.ms - degrade(scene.truth, WV3)
    rounding = 1 / 12
    electrons = simulation.ELECTRONS_PER_DN["ms"]
    expected = np.sqrt(scene.ms.mean((1, 2)) / electrons + simulation.READ_NOISE**2 + rounding)
    np.testing.assert_allclose(noise.std((1, 2)), expected, rtol=0.05)
    np.testing.assert_allclose(noise.mean((1, 2)), 0, atol=0.1)


def test_vegetation_and_water_look_like_themselves(scene):
    index = ndvi(scene.truth)
    for plant in ("lawn", "tree"):
        assert np.median(index[pure_pixels(plant)]) > 0.4
    water = pure_pixels("water")
    assert water.sum() > 1000 and np.percentile(index[water], 99) < 0


def test_haze_lifts_blue_most(scene):
    darkest = np.percentile(scene.truth, 0.1, axis=(1, 2))
    assert darkest[WV3.index("C")] > 1.5 * darkest[WV3.index("R")]
    assert darkest[WV3.index("R")] > darkest[WV3.index("N2")]


def test_pan_is_no_sum_of_bands():
    """Broad response, gaps between bands: even of the true spectra, no linear mix is exact."""
    signals, *_ = simulation._signals(WV3, np.random.default_rng(0))
    bands, pan = signals[:-1].T.astype(float), signals[-1].astype(float)
    mix, *_ = np.linalg.lstsq(np.column_stack([bands, np.ones(len(pan))]), pan, rcond=None)
    error = pan - np.column_stack([bands, np.ones(len(pan))]) @ mix
    assert 1e-3 < error.std() / pan.std() < 0.1


def test_bands_carry_different_news(scene):
    correlation = np.corrcoef(scene.ms.reshape(8, -1))
    blue, green, red, near = (WV3.index(band) for band in ("B", "G", "R", "N"))
    assert correlation[blue, green] > 0.85 and correlation[green, red] > 0.85
    assert abs(correlation[red, near]) < 0.6


def test_pan_is_sharper_than_ms(scene):
    def fine_share(image):
        """Share of the variance above the Nyquist frequency of the MS grid."""
        power = np.abs(np.fft.fft2(image - image.mean())) ** 2
        frequency = np.abs(np.fft.fftfreq(len(image)))
        fine = np.maximum(frequency[:, None], frequency[None]) > 1 / 8
        return power[fine].sum() / power.sum()

    green = exp_upsample(scene.ms[WV3.index("G")])
    assert fine_share(scene.pan) > 10 * fine_share(green)
    assert fine_share(scene.truth[WV3.index("G")]) > fine_share(scene.pan)  # a higher MTF


@pytest.mark.parametrize("gain", [0.14, 0.35])
def test_optics_give_the_mtf_gain_at_nyquist(gain):
    # A wave of amplitude 1 whose crests fall on pixel centres; two pixels, four cells, a period.
    cells = np.cos(np.pi / 2 * (np.arange(512) - 0.5))
    pixels = np.tile(cells.reshape(-1, 2).mean(axis=1), (64, 1)).astype(np.float32)
    simulation._blur(pixels, gain)
    assert np.abs(pixels[:, 8:-8]) == pytest.approx(gain, rel=1e-5)


def test_sun_casts_a_shadow_of_the_right_length():
    cell, tall = 0.15, 6.0
    height = np.zeros((400, 400), np.float32)
    assert np.allclose(simulation._sunlight(height, cell), 1)
    height[200:220, 190:210] = tall
    light = simulation._sunlight(height, cell)
    north = 200 - tall / np.tan(simulation.SUN_ELEVATION) * -np.cos(simulation.SUN_AZIMUTH) / cell
    dark = np.flatnonzero(light[:200, 192] < 0.5)
    assert dark.min() == pytest.approx(north, abs=4)
    assert (light[230:] > 0.99).all()  # nothing to the south


@pytest.mark.slow
def test_every_region_shows_every_kind_of_land():
    material = draw_landscape(3328, 0.15, np.random.default_rng(0)).material
    for columns in (slice(0, 2048), slice(2048, 2816), slice(2816, 3328)):  # as 256, 96, 64
        part = material[:, columns]
        for names in (["water"], ["tree"], ["crop"], ["lawn"], ["asphalt"],
                      ["red tile", "slate", "grey shingle", "brown shingle"]):  # fmt: skip
            assert kind_of(part, *names).mean() > 0.02, names
    assert len(np.unique(material)) > 15 * VARIANTS


def test_other_sensor():
    scene = simulate_scene(size=128, sensor=WV2)
    assert scene.sensor is WV2 and scene.ms.shape == (8, 128, 128)


def test_too_small_is_refused():
    with pytest.raises(ValueError, match="at least 128"):
        simulate_scene(size=64)
