import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from dcfnet import WV3, DataError, Scene
from dcfnet.imagery.building import write_h5
from dcfnet.imagery.filters import (
    decimate,
    degrade,
    exp_upsample,
    mtf_filter,
    mtf_kernel,
    reduce_pan,
)
from dcfnet.imagery.pancollection import PatchDataset, check_h5
from dcfnet.imagery.regions import Window
from dcfnet.imagery.wald import reduce_resolution
from tests.support import golden


def assert_values(image, values):
    assert_allclose([image[index] for index in values], list(values.values()), rtol=1e-9)


@pytest.mark.parametrize("where", golden.MTF_WV3)
def test_mtf_kernel_golden(where):
    kernels = [mtf_kernel(gain)[where] for gain in WV3.mtf_gains]
    assert_allclose(kernels, golden.MTF_WV3[where], rtol=0, atol=1e-12)


def test_mtf_kernel_sum_golden():
    sums = [mtf_kernel(gain).sum() for gain in WV3.mtf_gains]
    assert_allclose(sums, golden.MTF_WV3_SUM, rtol=0, atol=1e-12)


def test_degrade_golden():
    low = degrade(golden.gt_image(), WV3)
    assert_allclose(low.mean(), golden.DEGRADE_GT_MEAN, rtol=1e-9)
    assert_values(low, golden.DEGRADE_GT)


def test_exp_golden():
    lms = golden.lms_image()
    assert_allclose(lms.mean(), golden.EXP_MEAN, rtol=1e-9)
    assert_values(lms, golden.EXP)


def test_reduce_pan_golden():
    pan = reduce_pan(golden.pan_image())
    assert_allclose(pan.mean(), golden.REDUCE_PAN_MEAN, rtol=1e-9)
    assert_values(pan, golden.REDUCE_PAN)


@pytest.mark.parametrize("gain", [0.14, 0.315, 0.365])
def test_the_kernel_has_its_gain_where_the_toolbox_puts_the_nyquist_frequency(gain):
    response = np.abs(np.fft.fft2(mtf_kernel(gain), (410, 410)))
    # On its 41 x 41 grid that is bin 5, 0.122 cycles per fine pixel instead of 0.125.
    assert_allclose(response[0, 50] / response[0, 0], gain, atol=0.003)


def test_the_kernel_is_symmetric():
    kernel = mtf_kernel(0.35)
    for other in (kernel.T, kernel[::-1], kernel[:, ::-1]):
        assert_allclose(kernel, other, atol=1e-15)


def test_interpolation_puts_samples_back_where_decimation_took_them():
    ms = np.random.default_rng(0).uniform(0, 2047, (2, 10, 12))
    assert_allclose(decimate(exp_upsample(ms)), ms, rtol=1e-9)


def test_a_ramp_keeps_its_phase():
    """Away from borders interpolation restores what varies slowly, without a shift."""
    y, x = np.mgrid[:256, :256]
    wave = 500 + 100 * np.sin(2 * np.pi * (x + 2 * y) / 128)
    assert_allclose(exp_upsample(decimate(wave)), wave, atol=0.5)


def test_mtf_filter_continues_borders():
    image = np.ones((1, 30, 30))
    image[:, :, 15:] = 5
    filtered = mtf_filter(image, [0.3])[0]
    assert_allclose(filtered, np.broadcast_to(filtered[0], filtered.shape), atol=1e-9)


def test_reduce_resolution():
    rng = np.random.default_rng(0)
    ms = rng.integers(1, 2048, (8, 42, 67), np.uint16)
    pan = rng.integers(1, 2048, (4 * 42, 4 * 67), np.uint16)
    mask = np.ones((42, 67), bool)
    sample = reduce_resolution(Scene(ms=ms, pan=pan, sensor=WV3, mask=mask))
    assert sample.mask.shape == (40, 64)
    assert_array_equal(sample.gt, ms[:, :40, :64])
    assert_array_equal(sample.ms, np.clip(np.rint(degrade(ms[:, :40, :64], WV3)), 0, None))
    assert_array_equal(sample.pan, np.clip(np.rint(reduce_pan(pan[:160, :256])), 0, None))
    assert_array_equal(sample.lms, exp_upsample(sample.ms).astype(np.float32))
    assert (sample.ms.dtype, sample.lms.dtype, sample.pan.dtype) == ("u2", "f4", "u2")


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="30 x 32 pixels, expected multiples of 4"):
        degrade(np.ones((8, 30, 32)), WV3)
    with pytest.raises(DataError, match=r"shape \(8, H, W\), one band per MTF gain"):
        mtf_filter(np.ones((4, 32, 32)), WV3.mtf_gains)
    with pytest.raises(ValueError, match="power of two"):
        exp_upsample(np.ones((8, 8)), ratio=3)
    with pytest.raises(ValueError, match="between 0 and 1"):
        mtf_kernel(1.2)


# Properties, for any images

MAX = WV3.max_value


@st.composite
def images(draw, least=1, most=24, multiple=4):
    """Digital numbers, (2, H, W): noise, or the worst contrast there is."""
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (2, *(multiple * draw(st.integers(least, most)) for _ in range(2)))
    image = chance.integers(0, MAX + 1, shape).astype(float)
    return np.where(image > MAX / 2, MAX, 0).astype(float) if draw(st.booleans()) else image


TWO = WV3.select("C", "B")


@given(images(), st.floats(-3, 3), st.integers(0, 2**32 - 1))
def test_the_protocols_steps_are_linear(image, factor, seed):
    other = np.random.default_rng(seed).normal(size=image.shape)
    for step in (lambda i: degrade(i, TWO), exp_upsample, lambda i: reduce_pan(i[0])):
        both = step(image + factor * other)
        assert_allclose(both, step(image) + factor * step(other), atol=1e-9 * MAX)


@given(images(multiple=1), st.integers(1, 4))
def test_a_shift_by_ms_pixels_shifts_what_is_interpolated_round_its_borders(image, right):
    found, expected = exp_upsample(np.roll(image, right, -1)), exp_upsample(image)
    assert_allclose(found, np.roll(expected, 4 * right, -1), atol=1e-9 * MAX)


@given(st.integers(1, 6), st.integers(1, 6), st.floats(-3, 3), st.integers(0, 2**31))
def test_interpolation_is_linear_and_shifts_with_its_input(h, w, factor, seed):
    a, b = np.random.default_rng(seed).normal(size=(2, 1, 4 * h, 4 * w))
    up = exp_upsample
    assert_allclose(up(a + factor * b), up(a) + factor * up(b), atol=1e-9)
    # Borders are circular, so a shift by one MS pixel is a shift by four.
    assert_allclose(up(np.roll(a, 1, axis=-1)), np.roll(up(a), 4, axis=-1), atol=1e-9)


@given(images(least=12), st.integers(1, 4), st.integers(1, 4))
def test_a_shift_by_whole_ms_pixels_shifts_what_is_degraded(image, down, right):
    moved = image[:, 4 * down :, 4 * right :]
    for step, reach in ((lambda i: degrade(i, TWO), 5), (lambda i: reduce_pan(i[0])[None], 2)):
        found, expected = step(moved), step(image)[:, down:, right:]
        inner = np.s_[:, reach:-reach, reach:-reach]
        assert_allclose(found[inner], expected[inner], atol=1e-9 * MAX)


@given(images())
def test_degrading_stays_within_the_range_of_the_image(image):
    low = degrade(image, TWO)
    assert low.shape == (2, image.shape[1] // 4, image.shape[2] // 4)
    assert low.min() >= -1e-6 and low.max() <= image.max() + 1e-6


@given(images(most=8, multiple=1))
def test_interpolation_keeps_means_and_overshoots_no_further_than_files_may(image):
    lms = exp_upsample(image)
    assert lms.shape == (2, 4 * image.shape[1], 4 * image.shape[2])
    assert_allclose(lms.mean(axis=(1, 2)), image.mean(axis=(1, 2)), rtol=1e-6)
    # The worst that its weights can do; `dcfnet.imagery.patches` takes lms from -MAX to 2 MAX.
    assert lms.min() >= -0.8181 * MAX and lms.max() <= 1.8181 * MAX


@given(st.integers(0, MAX), st.integers(1, 20), st.integers(1, 20))
def test_constants_stay_what_they_are_at_any_size(value, h, w):
    flat = np.full((2, 4 * h, 4 * w), float(value))
    assert_allclose(degrade(flat, TWO), value, rtol=0.002)
    assert_allclose(reduce_pan(flat[0]), value, rtol=1e-12)
    assert_allclose(exp_upsample(flat), value, rtol=1e-7)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_any_scene_becomes_a_sample_or_is_refused(h, w, seed):
    chance = np.random.default_rng(seed)
    ms = chance.integers(0, MAX + 1, (2, h, w), np.uint16)
    pan = chance.integers(0, MAX + 1, (4 * h, 4 * w), np.uint16)
    scene = Scene(ms=ms, pan=pan, sensor=TWO, mask=ms.any(axis=0))
    if min(h, w) < 4:
        with pytest.raises(DataError, match="at least 4 x 4"):
            reduce_resolution(scene)
        return
    sample = reduce_resolution(scene)
    h, w = h // 4 * 4, w // 4 * 4
    assert sample.mask.shape == sample.pan.shape == sample.lms.shape[1:] == (h, w)
    assert sample.ms.shape == (2, h // 4, w // 4)
    assert sample.ms.max() <= MAX


@given(st.integers(16, 40), st.integers(16, 40), st.integers(0, 2**32 - 1))
def test_what_the_protocol_makes_of_any_scene_can_be_trained_on(tmp_path_factory, h, w, seed):
    """Saturated roofs too, at whose edges filters overshoot."""
    chance = np.random.default_rng(seed)
    ms = np.where(chance.random((2, h, w)) < 0.5, MAX, 1).astype(np.uint16)
    pan = ms[0].repeat(4, 0).repeat(4, 1)
    sample = reduce_resolution(Scene(ms=ms, pan=pan, sensor=TWO, mask=np.ones((h, w), bool)))
    path = tmp_path_factory.mktemp("any") / "any.h5"
    write_h5(path, sample, [Window(slice(0, 16), slice(0, 16))])
    assert check_h5(path) == TWO
    patch = PatchDataset(path)[0]
    assert all(patch[key].min() >= 0 and patch[key].max() <= 1 for key in ("gt", "ms", "pan"))
