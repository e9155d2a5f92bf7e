"""The classical methods compute what the MATLAB toolbox computes, in one piece or in tiles."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from dcfnet import WV3, DataError, load_scene
from dcfnet.imagery.classical import METHODS, bt_h, get_method
from dcfnet.imagery.filters import (
    bicubic_down,
    bicubic_up,
    degrade,
    exp_upsample,
    reduce_pan,
    wavelet_low_pass,
)
from dcfnet.imagery.regions import Window
from dcfnet.imagery.simulated import simulate_scene
from dcfnet.imagery.statistics import MARGIN, Statistics
from dcfnet.imagery.wald import Sample, reduce_resolution
from tests.support import golden, golden_classical

longmont = pytest.mark.skipif(
    importlib.util.find_spec("dgsamples") is None, reason="dgsamples is not installed"
)


@pytest.fixture(scope="module")
def waves():
    gt = golden.gt_image()
    ms, lms, pan = np.round(degrade(gt, WV3)), golden.lms_image(), golden.pan_image()
    return Sample(gt=gt, ms=ms, lms=lms, pan=pan, mask=np.ones(pan.shape, bool), sensor=WV3)


@pytest.fixture(scope="module")
def town():
    """Of the simulated scene, with a hole and an edge that have no data."""
    sample = reduce_resolution(simulate_scene(size=200))
    mask = sample.mask.copy()
    mask[:12] = mask[100:130, 60:80] = False
    return replace(sample, mask=mask)


@pytest.mark.parametrize("name", golden_classical.PIXELS)
def test_the_toolboxs_values(waves, name):
    fused = METHODS[name](waves)
    for (row, column), spectrum in golden_classical.PIXELS[name].items():
        assert_allclose(fused[:, row, column], spectrum, rtol=1e-9)
    assert_allclose(fused.mean(axis=(1, 2)), golden_classical.BAND_MEANS[name], rtol=1e-9)


def test_four_bands_have_a_haze_of_their_own(waves):
    bands = [1, 2, 4, 6]
    four = replace(waves, gt=None, ms=waves.ms[bands], lms=waves.lms[bands])
    haze = bt_h.measure(four)["haze"]
    assert_allclose(haze, golden_classical.BT_H_FOUR_BANDS_HAZE, rtol=1e-9)
    fused = bt_h(four)
    for (row, column), spectrum in golden_classical.BT_H_FOUR_BANDS.items():
        assert_allclose(fused[:, row, column], spectrum, rtol=1e-9)


@pytest.fixture(scope="module")
def longmont_sample():
    sample = reduce_resolution(load_scene("wv3-longmont"))
    return replace(sample, mask=np.ones_like(sample.mask))  # the toolbox counts every pixel


@longmont
@pytest.mark.parametrize("name", golden_classical.LONGMONT_FITTED)
def test_the_toolboxs_values_on_longmont(longmont_sample, name):
    sample = longmont_sample
    fitted = METHODS[name].measure(sample)
    for key, values in golden_classical.LONGMONT_FITTED[name].items():
        assert_allclose(fitted[key], values, rtol=1e-9, atol=1e-10)
    means = METHODS[name].apply(sample, **fitted).mean(axis=(1, 2))
    assert_allclose(means, golden_classical.LONGMONT_BAND_MEANS[name], rtol=1e-9)


def tiles_of(sample, size):
    """Tiles with ground around them where there is some."""
    height, width = sample.shape
    tiles = []
    for y in range(0, height, size):
        for x in range(0, width, size):
            top, left = max(y - MARGIN, 0), max(x - MARGIN, 0)
            part = sample.crop(
                slice(top, min(y + size + MARGIN, height)),
                slice(left, min(x + size + MARGIN, width)),
            )
            own = Window(
                slice(y - top, min(y + size, height) - top),
                slice(x - left, min(x + size, width) - left),
            )
            tiles.append((part, own))
    return tiles


@pytest.mark.parametrize("bands", [8, 4])
@pytest.mark.parametrize("name", METHODS)
def test_tile_by_tile_is_as_in_one_piece(town, name, bands):
    sensor = WV3.select(*WV3.bands[:bands])
    town = replace(town, ms=town.ms[:bands], lms=town.lms[:bands], sensor=sensor)
    # The interpolation of MTF-GLP-FS goes round at borders: at those of a tile, if it is one.
    goes_round = name == "mtf-glp-fs"
    method, tiles = METHODS[name], tiles_of(town, 128)
    fitted, by_tiles = method.measure(town), method.fit(tiles)
    for key, values in fitted.items():
        assert_allclose(by_tiles[key], values, rtol=2e-3 if goes_round else 1e-9)
    parts = [method.apply(part, **fitted)[:, *own] for part, own in tiles]
    columns = town.shape[1] // 128 + 1
    rows = [np.concatenate(parts[i : i + columns], -1) for i in range(0, len(parts), columns)]
    inner = np.s_[:, 40:-40, 40:-40] if goes_round else np.s_[:]
    assert_allclose(np.concatenate(rows, -2)[inner], method(town)[inner], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"exp"}))
def test_pixels_without_data_are_not_counted(town, name):
    """Whatever they hold, as far as the filters' small tails reach."""

    def filled(value):
        lms = np.where(town.mask, town.lms, value)
        return replace(town, lms=lms, pan=np.where(town.mask, town.pan, value).astype(float))

    method = METHODS[name]
    dark, bright = (method.measure(filled(value)) for value in (0.0, 2047.0))
    counted = replace(filled(2047.0), mask=np.ones_like(town.mask))
    for key, values in dark.items():
        change = np.abs(bright[key] - values).max()
        assert change <= 0.05 * np.abs(method.measure(counted)[key] - values).max()


@pytest.mark.parametrize("name", METHODS)
def test_where_pan_shows_nothing_the_bands_stay_what_they_are(town, name):
    flat = replace(town, pan=np.full(town.shape, 500, np.uint16))
    fused = METHODS[name](flat)
    assert np.isfinite(fused).all()
    if name not in ("bt-h", "bdsd-pc"):  # one dims pixels to PAN's grey, one adds a constant
        assert_allclose(fused, town.lms, rtol=0.01, atol=2)


def test_a_scene_without_a_pixel_to_count_is_refused(town):
    with pytest.raises(DataError, match="no pixel has data and lies more than 8 pixels"):
        METHODS["gsa"](replace(town, mask=np.zeros_like(town.mask)))


def test_an_unknown_method_names_the_known_ones():
    with pytest.raises(DataError, match="bt-h"):
        get_method("bth")
    assert get_method("BT-H") is bt_h


def test_statistics_are_those_of_all_rows(town):
    statistics = Statistics()
    rows = np.concatenate(
        [statistics.add(part.lms, (part, own)) for part, own in tiles_of(town, 64)]
    )
    assert statistics.count == len(rows)
    assert_allclose(statistics.mean, rows.mean(axis=0), rtol=1e-12)
    assert_allclose(statistics.cov, np.cov(rows.T, ddof=0), rtol=1e-10)
    assert_allclose(
        np.linalg.lstsq(statistics.factor[:, 1:], statistics.factor[:, 0], rcond=None)[0],
        np.linalg.lstsq(rows[:, 1:], rows[:, 0], rcond=None)[0],
        rtol=1e-9,
    )


# The filters of these methods


def test_bicubic_resizing_is_that_of_reduce_pan_inside_the_borders():
    pan = np.random.default_rng(0).uniform(0, 2047, (64, 48))
    assert_allclose(bicubic_down(pan)[2:-2, 2:-2], reduce_pan(pan)[2:-2, 2:-2], rtol=1e-10)
    assert_allclose(bicubic_down(pan[:, ::-1]), bicubic_down(pan)[:, ::-1], rtol=1e-12)


def test_filters_keep_constants_and_slopes():
    y, x = np.mgrid[:64, :80].astype(float)
    slope = 3 * y - 2 * x + 500
    inner = np.s_[16:-16, 16:-16]
    assert_allclose(wavelet_low_pass(slope)[inner], slope[inner])
    assert_allclose(bicubic_up(bicubic_down(slope))[inner], slope[inner])
    for step in (wavelet_low_pass, lambda image: bicubic_up(bicubic_down(image))):
        assert_allclose(step(np.full((32, 36), 700.0)), 700.0)


def test_the_wavelets_low_pass_mirrors_borders_twice():
    """A pixel in the corner comes back from both extensions."""
    image = np.zeros((24, 24))
    image[0, 0] = 1.0
    line = np.array([1, 4, 6, 4, 1]) / 16
    once = np.convolve(np.pad(image[:, 0], 4, mode="symmetric"), line, "valid")
    twice = np.pad(once, 4, mode="symmetric")
    for _ in range(3):
        twice = np.convolve(twice, line, "valid")
    assert_allclose(wavelet_low_pass(image), np.outer(twice, twice), atol=1e-15)


def test_interpolated_bands_are_the_samples(town):
    assert_allclose(METHODS["exp"](town), exp_upsample(town.ms), rtol=1e-6)
