import numpy as np
import pytest
from numpy.testing import assert_allclose

from dcfnet import WV3, DataError
from dcfnet.classical import exp, mtf_glp_fs, mtf_glp_fs_parts
from dcfnet.metrics import d_lambda, d_s, ergas, evaluate, hqnr, psnr, q2n, sam, scc, shift
from dcfnet.wald import Sample
from tests import golden


@pytest.fixture(scope="module")
def images():
    return golden.gt_image(), golden.fused_image()


@pytest.fixture(scope="module")
def full_resolution():
    return golden.lms_image(), golden.fused_image(), golden.pan_image()


@pytest.fixture(scope="module")
def glp_sample():
    gt, lms, pan = golden.gt_image(), golden.lms_image(), golden.pan_image()
    return Sample(gt=gt, ms=None, lms=lms, pan=pan, mask=None)


def test_metrics_golden(images):
    found = evaluate(*images, WV3)
    for name, expected in golden.GT_VS_FUSED.items():
        assert_allclose(found[name], expected, rtol=1e-9, err_msg=name)


def test_q4_and_crop_golden(images):
    gt, fused = images
    assert_allclose(q2n(gt[:4], fused[:4]), golden.Q4_FIRST_FOUR_BANDS, rtol=1e-9)
    crop = np.s_[:, :100, :90]
    assert_allclose(q2n(gt[crop], fused[crop]), golden.Q8_CROP, rtol=1e-9)


def test_sam_skips_pixels_without_data_golden(images):
    gt, fused = images[0].copy(), images[1]
    gt[:, :10, :10] = 0
    assert_allclose(sam(gt, fused), golden.SAM_WITH_GT_ZEROED, rtol=1e-9)


def test_full_resolution_golden(full_resolution):
    lms, fused, pan = full_resolution
    found = {
        "d_lambda": d_lambda(lms, fused, WV3),
        "d_s": d_s(lms, fused, pan),
        "hqnr": hqnr(lms, fused, pan, WV3),
    }
    for name, expected in golden.FULL_RESOLUTION.items():
        assert_allclose(found[name], expected, rtol=0, atol=1e-9, err_msg=name)


def test_mtf_glp_fs_golden(glp_sample):
    _, gains = mtf_glp_fs_parts(glp_sample.lms, glp_sample.pan, WV3)
    assert_allclose(gains, golden.GLP_GAIN, rtol=1e-9)
    fused = mtf_glp_fs(glp_sample, WV3)
    assert_allclose(fused.mean(), golden.GLP_MEAN, rtol=1e-9)
    assert_allclose([fused[i] for i in golden.GLP], list(golden.GLP.values()), rtol=1e-9)
    found = evaluate(glp_sample.gt, fused, WV3)
    for name, expected in golden.GLP_METRICS.items():
        assert_allclose(found[name], expected, rtol=1e-9, err_msg=name)


def test_exp_golden(glp_sample):
    found = evaluate(glp_sample.gt, exp(glp_sample), WV3)
    for name, expected in golden.EXP_METRICS.items():
        assert_allclose(found[name], expected, rtol=1e-9, err_msg=name)


def test_an_image_with_itself_is_perfect(images):
    gt = images[0][:, :96, :96]
    found = evaluate(gt, gt, WV3)
    assert_allclose([found["sam"], found["ergas"]], 0, atol=1e-5)
    assert_allclose([found["q2n"], found["scc"]], 1, rtol=1e-12)
    assert found["psnr"] == np.inf


def test_sam_ignores_brightness_and_ergas_and_psnr_do_not(images):
    gt, fused = (image[:, :64, :64] for image in images)
    assert_allclose(sam(gt, 1.7 * fused), sam(gt, fused), rtol=1e-9)
    assert ergas(gt, 1.7 * fused) > 5 * ergas(gt, fused)
    assert psnr(gt, 1.7 * fused) < psnr(gt, fused) - 10
    # ERGAS is relative, PSNR absolute: doubling both images changes only the latter.
    assert_allclose(ergas(2 * gt, 2 * fused), ergas(gt, fused), rtol=1e-9)
    assert_allclose(psnr(2 * gt, 2 * fused), psnr(gt, fused) - 20 * np.log10(2), rtol=1e-7)


def test_scc_sees_gradients_only(images):
    gt, fused = (image[:, :64, :64] for image in images)
    # A gain common to all pixels changes gradients by that gain, which the norm removes.
    assert_allclose(scc(gt, 3 * fused), scc(gt, fused), rtol=1e-9)
    assert_allclose(scc(gt, fused), scc(fused, gt), rtol=1e-12)


@pytest.mark.parametrize("metric", [sam, ergas, scc, psnr, q2n])
def test_metrics_do_not_depend_on_the_order_of_bands_in_both(metric, images):
    gt, fused = (image[:, :64, :64] for image in images)
    order = [0, 7, 6, 5, 4, 3, 2, 1]
    if metric is q2n:
        # Q2n is not exactly invariant: its algebra treats components differently.
        assert_allclose(metric(gt[order], fused[order]), metric(gt, fused), atol=1e-3)
    else:
        assert_allclose(metric(gt[order], fused[order]), metric(gt, fused), rtol=1e-9)


def test_constant_images():
    flat = np.full((8, 64, 64), 500.0)
    found = evaluate(flat, flat, WV3)
    assert found["q2n"] == pytest.approx(1)
    assert found["sam"] == pytest.approx(0, abs=1e-5)
    assert found["ergas"] == 0
    # No gradient inside, but zero borders make one, alike in both.
    assert found["scc"] == pytest.approx(1)


def test_blocks_without_data_do_not_count(images):
    gt, fused = (image[:, :96, :96].copy() for image in images)
    expected = q2n(gt[:, :, :64], fused[:, :, :64])
    gt[:, :, 64:] = fused[:, :, 64:] = 0
    assert_allclose(q2n(gt, fused), expected, rtol=1e-12)
    empty = np.zeros((8, 64, 64))
    assert np.isnan(q2n(empty, empty))
    assert np.isnan(sam(empty, empty))


def test_q2n_of_one_band_is_the_universal_index():
    rng = np.random.default_rng(0)
    gt = np.round(rng.uniform(100, 900, (1, 32, 32)))
    fused = np.round(gt + rng.normal(0, 30, gt.shape))
    x, y = (gt - gt.mean()) / gt.std(ddof=1) + 1, (fused - gt.mean()) / gt.std(ddof=1) + 1
    cov = np.cov(x.ravel(), y.ravel())
    expected = (
        4 * abs(cov[0, 1]) * x.mean() * y.mean()
        / ((cov[0, 0] + cov[1, 1]) * (x.mean() ** 2 + y.mean() ** 2))
    )  # fmt: skip
    assert_allclose(q2n(gt, fused), expected, rtol=1e-9)


def test_q2n_falls_as_noise_grows(images):
    gt = images[0][:, :64, :64]
    noise = np.random.default_rng(0).normal(size=gt.shape)
    values = [q2n(gt, gt + sigma * noise) for sigma in (0, 10, 40, 160)]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("metric", [sam, ergas, scc, psnr, q2n])
def test_bad_images_are_refused(metric):
    image = np.ones((8, 32, 32))
    with pytest.raises(DataError, match=r"same shape.*\(8, 32, 32\) and \(8, 32, 31\)"):
        metric(image, image[:, :, :31])
    broken = image.copy()
    broken[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="second image holds NaN"):
        metric(image, broken)


def test_d_s_needs_a_whole_block():
    image = np.ones((8, 16, 16))
    with pytest.raises(DataError, match="at least one block"):
        d_s(image, image, image[0])


def test_flipped_images_can_be_measured(images):
    gt, fused = (image[:, :64, :64] for image in images)
    expected = evaluate(gt, fused, WV3)
    found = evaluate(gt[:, ::-1, ::-1], fused[:, ::-1, ::-1], WV3)
    for name, value in expected.items():
        assert_allclose(found[name], value, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (0.5, 0), (-0.4, 0.3)])
def test_shift_is_found_whatever_the_brightness(down, right):
    y, x = np.mgrid[:200, :200].astype(float)

    def scene(y, x):
        return np.sin(2 * np.pi * (x + 0.6 * y) / 41) + np.cos(2 * np.pi * (0.4 * x - y) / 29)

    moved = 300 + 0.5 * scene(y - down, x - right)
    assert_allclose(shift(scene(y, x), moved), (down, right), atol=0.02)
