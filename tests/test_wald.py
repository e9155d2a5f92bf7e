import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from dcfnet import WV3, DataError, Scene
from dcfnet.wald import (
    decimate,
    degrade,
    exp_upsample,
    mtf_filter,
    mtf_kernel,
    reduce_pan,
    reduce_resolution,
)
from tests import golden


def assert_values(image, values):
    assert_allclose([image[index] for index in values], list(values.values()), rtol=1e-9)


def test_inputs_of_the_golden_values():
    assert_allclose(golden.gt_image().mean(), golden.MEANS["gt"], rtol=1e-12)
    assert_allclose(golden.fused_image().mean(), golden.MEANS["fused"], rtol=1e-12)


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


def test_a_constant_image_stays_constant():
    flat = np.full((8, 64, 48), 700.0)
    sums = np.array([mtf_kernel(gain).sum() for gain in WV3.mtf_gains])
    assert_allclose(degrade(flat, WV3), np.broadcast_to(700 * sums[:, None, None], (8, 16, 12)))
    assert_allclose(exp_upsample(flat[:, :16, :12]), 700.0, rtol=1e-6)
    assert_allclose(reduce_pan(flat[0]), 700.0, rtol=1e-6)


def test_interpolation_puts_samples_back_where_decimation_took_them():
    ms = np.random.default_rng(0).uniform(0, 2047, (2, 10, 12))
    assert_allclose(decimate(exp_upsample(ms)), ms, rtol=1e-9)


def test_a_ramp_keeps_its_phase():
    """Away from borders interpolation restores what varies slowly, without a shift."""
    y, x = np.mgrid[:256, :256]
    wave = 500 + 100 * np.sin(2 * np.pi * (x + 2 * y) / 128)
    assert_allclose(exp_upsample(decimate(wave)), wave, atol=0.5)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.floats(-3, 3), st.integers(0, 2**31))
def test_interpolation_is_linear_and_shifts_with_its_input(h, w, factor, seed):
    a, b = np.random.default_rng(seed).normal(size=(2, 1, 4 * h, 4 * w))
    up = exp_upsample
    assert_allclose(up(a + factor * b), up(a) + factor * up(b), atol=1e-9)
    # Borders are circular, so a shift by one MS pixel is a shift by four.
    assert_allclose(up(np.roll(a, 1, axis=-1)), np.roll(up(a), 4, axis=-1), atol=1e-9)


def test_mtf_filter_continues_borders():
    image = np.ones((1, 30, 30))
    image[:, :, 15:] = 5
    filtered = mtf_filter(image, [0.3])[0]
    assert_allclose(filtered, np.broadcast_to(filtered[0], filtered.shape), atol=1e-9)


def test_reduce_pan_is_torchs_antialiased_bicubic():
    pan = np.random.default_rng(0).uniform(0, 2047, (64, 48))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(pan)[None, None], scale_factor=0.25, mode="bicubic", antialias=True
    )
    assert_allclose(reduce_pan(pan), expected[0, 0].numpy(), rtol=1e-12)


def test_reduce_resolution():
    rng = np.random.default_rng(0)
    ms = rng.integers(1, 2048, (8, 42, 67), np.uint16)
    pan = rng.integers(1, 2048, (4 * 42, 4 * 67), np.uint16)
    mask = np.ones((42, 67), bool)
    sample = reduce_resolution(Scene(ms=ms, pan=pan, sensor=WV3, mask=mask))
    assert sample.gt.shape == sample.lms.shape == (8, 40, 64)
    assert sample.ms.shape == (8, 10, 16)
    assert sample.pan.shape == sample.mask.shape == (40, 64)
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
    with pytest.raises(ValueError, match="odd"):
        mtf_kernel(0.3, size=40)
