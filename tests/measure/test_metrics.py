import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from dcfnet import WV3, DataError
from dcfnet.imagery.classical import exp, mtf_glp_fs
from dcfnet.imagery.wald import Sample
from dcfnet.measure.metrics import d_lambda, d_s, ergas, evaluate, hqnr, psnr, q2n, sam, scc, shift
from tests.support import golden


@pytest.fixture(scope="module")
def images():
    return golden.gt_image(), golden.fused_image()


@pytest.fixture(scope="module")
def full_resolution():
    return golden.lms_image(), golden.fused_image(), golden.pan_image()


@pytest.fixture(scope="module")
def glp_sample():
    gt, lms, pan = golden.gt_image(), golden.lms_image(), golden.pan_image()
    return Sample(gt=gt, ms=None, lms=lms, pan=pan, mask=np.ones(pan.shape, bool), sensor=WV3)


def assert_numbers(found, expected, atol=0):
    for name, number in expected.items():
        assert_allclose(found[name], number, rtol=1e-9, atol=atol, err_msg=name)


def of(gt, fused):
    """All metrics of an image whose truth is known."""
    sample = Sample(gt=gt, ms=None, lms=None, pan=gt[0], mask=None, sensor=WV3)
    return evaluate(sample, fused)


def test_metrics_golden(images):
    assert_numbers(of(*images), golden.GT_VS_FUSED)


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
    assert_numbers(found, golden.FULL_RESOLUTION, atol=1e-9)


def test_mtf_glp_fs_and_exp_golden(glp_sample):
    gains = mtf_glp_fs.measure(glp_sample)["gains"]
    assert_allclose(gains, golden.GLP_GAIN, rtol=1e-9)
    fused = mtf_glp_fs(glp_sample)
    assert_allclose(fused.mean(), golden.GLP_MEAN, rtol=1e-9)
    assert_allclose([fused[i] for i in golden.GLP], list(golden.GLP.values()), rtol=1e-9)
    assert_numbers(evaluate(glp_sample, fused), golden.GLP_METRICS)
    assert_numbers(evaluate(glp_sample, exp(glp_sample)), golden.EXP_METRICS)


@pytest.mark.parametrize("metric", [sam, ergas, scc, psnr, q2n])
def test_metrics_do_not_depend_on_the_order_of_bands_in_both(metric, images):
    gt, fused = (image[:, :64, :64] for image in images)
    order = [0, 7, 6, 5, 4, 3, 2, 1]
    if metric is q2n:
        # Q2n is not exactly invariant: its algebra treats components differently.
        assert_allclose(metric(gt[order], fused[order]), metric(gt, fused), atol=1e-3)
    else:
        assert_allclose(metric(gt[order], fused[order]), metric(gt, fused), rtol=1e-9)


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


@pytest.mark.parametrize("metric", [sam, ergas, scc, psnr, q2n])
def test_bad_images_are_refused(metric):
    image = np.ones((8, 32, 32))
    with pytest.raises(DataError, match=r"same shape.*\(8, 32, 32\) and \(8, 32, 31\)"):
        metric(image, image[:, :, :31])
    broken = image.copy()
    broken[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="second image holds NaN"):
        metric(image, broken)
    for kind in ("S3", "c16", "?", "O", "M8[s]"):
        with pytest.raises(DataError, match="image holds .* values, expected digital numbers"):
            metric(image, np.ones((8, 32, 32), np.int64).astype(kind))


@pytest.mark.parametrize(
    ("metric", "images", "said"),
    [
        (sam, [np.ones((1, 8, 8))] * 2, "two bands"),
        (d_s, [np.ones((8, 32, 32))] * 2 + [np.full((32, 32), np.nan)], "PAN holds NaN"),
        (d_s, [np.ones((8, 16, 16))] * 2 + [np.ones((16, 16))], "at least one block"),
    ],
)
def test_images_that_cannot_be_measured_are_refused(metric, images, said):
    with pytest.raises(DataError, match=said):
        metric(*images)


def test_flipped_images_can_be_measured(images):
    gt, fused = (image[:, :64, :64] for image in images)
    expected = of(gt, fused)
    assert_numbers(of(gt[:, ::-1, ::-1], fused[:, ::-1, ::-1]), expected)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (0.5, 0), (-0.4, 0.3)])
def test_shift_is_found_whatever_the_brightness(down, right):
    y, x = np.mgrid[:200, :200].astype(float)

    def scene(y, x):
        return np.sin(2 * np.pi * (x + 0.6 * y) / 41) + np.cos(2 * np.pi * (0.4 * x - y) / 29)

    moved = 300 + 0.5 * scene(y - down, x - right)
    assert_allclose(shift(scene(y, x), moved), (down, right), atol=0.02)


@pytest.mark.parametrize(
    ("reference", "image", "message"),
    [
        (np.eye(32), np.eye(32), "larger than the margins"),
        (np.eye(64), np.eye(63), "of one shape"),
        (np.eye(64)[0], np.eye(64)[0], "of one shape"),
        (np.ones((64, 64)), np.eye(64), "flat"),
        (np.eye(64), np.zeros((64, 64)), "flat"),
        (np.eye(64), np.full((64, 64), np.nan), "the image holds NaN"),
    ],
)
def test_images_without_a_displacement_are_refused(reference, image, message):
    with pytest.raises(DataError, match=message):
        shift(reference, image)


# Properties, for any images


@st.composite
def pairs(draw, bands=(1, 8), size=(34, 70)):
    """Two images of whole digital numbers: noise, smooth, flat or with gaps, alike or not."""
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(*bands)), draw(st.integers(*size)), draw(st.integers(*size)))
    top = draw(st.sampled_from((2, 60, 2047)))
    made = []
    for kind in draw(st.tuples(*[st.sampled_from(("noise", "smooth", "flat"))] * 2)):
        image = chance.integers(1, top + 1, shape).astype(float)
        if kind == "smooth":
            image = np.rint(np.sort(image, axis=-1))
        elif kind == "flat":
            image[:] = image[:, :1, :1]
        made.append(image)
    gt, fused = made
    alike = draw(st.sampled_from((0, 0.5, 0.95)))
    fused = np.rint(alike * gt + (1 - alike) * fused)
    if draw(st.booleans()):
        gt[:, :7] = fused[:, :7] = 0
    return gt, fused


@given(pairs(bands=(2, 8)), st.integers(0, 2**32 - 1))
def test_sam_is_an_angle_that_ignores_the_brightness_of_every_pixel(pair, seed):
    gt, fused = pair
    angle = sam(gt, fused)
    assert 0 <= angle <= 90  # no more, as no value is negative
    assert_allclose(sam(gt, gt), 0, atol=1e-4)
    assert_allclose(sam(fused, gt), angle, atol=1e-4)
    brightness = np.random.default_rng(seed).uniform(0.01, 100, (2, *gt.shape[1:]))
    assert_allclose(sam(gt * brightness[0], fused * brightness[1]), angle, atol=1e-4)
    assert_allclose(sam(gt, -fused), 180 - angle, atol=1e-4)


@given(pairs(), st.floats(0.01, 100))
def test_ergas_and_psnr_grow_and_fall_with_the_error(pair, factor):
    gt, fused = pair
    error = fused - gt
    assert ergas(gt, gt) == 0 and psnr(gt, gt) == np.inf
    assert_allclose(ergas(gt, gt + factor * error), factor * ergas(gt, fused), rtol=1e-9)
    assert_allclose(ergas(gt, gt - error), ergas(gt, fused), rtol=1e-9)
    assert_allclose(ergas(gt, fused, ratio=2), 2 * ergas(gt, fused, ratio=4), rtol=1e-9)
    if error.any():
        found = psnr(gt, gt + factor * error)
        assert_allclose(found, psnr(gt, fused) - 20 * np.log10(factor), atol=1e-5)
        assert_allclose(psnr(fused, gt), psnr(gt, fused), rtol=1e-9)


@given(pairs(), st.floats(0.01, 100))
def test_scc_is_a_share_that_ignores_a_common_gain(pair, gain):
    gt, fused = pair
    found = scc(gt, fused)
    assert 0 <= found <= 1 + 1e-12
    assert_allclose(scc(gt, gt), 1, rtol=1e-12)
    assert_allclose(scc(fused, gt), found, rtol=1e-12)
    assert_allclose(scc(gt, gain * fused), found, rtol=1e-9)


@given(pairs(), st.integers(1, 30), st.integers(0, 2000))
def test_q2n_is_a_share_that_ignores_what_brightens_both(pair, gain, offset):
    gt, fused = pair
    found = q2n(gt, fused)
    assert -1e-12 <= found <= 1 + 1e-12
    assert_allclose(q2n(gt, gt), 1, rtol=1e-12)
    # It measures in the truth's own means and deviations, where the truth has any.
    if all(gt[:, y : y + 32, x : x + 32].std(axis=(1, 2)).all() for y in (0, 32) for x in (0, 32)):
        brighter = q2n(gain * gt + offset, gain * fused + offset)
        assert_allclose(brighter, q2n(gt + offset, fused + offset), atol=1e-9)


@given(pairs(bands=(4, 4)))
def test_q4_allows_the_orders_of_bands_that_its_algebra_does(pair):
    gt, fused = pair
    # Complex numbers know one exchange, quaternions the rotation of their three imaginary units.
    assert_allclose(q2n(gt[1::-1], fused[1::-1]), q2n(gt[:2], fused[:2]), atol=1e-9)
    turned = [0, 2, 3, 1]
    assert_allclose(q2n(gt[turned], fused[turned]), q2n(gt, fused), atol=1e-9)


@given(pairs(bands=(8, 8), size=(64, 64)), st.booleans())
def test_metrics_without_a_truth_stay_within_their_bounds(pair, negative):
    lms, fused = pair
    pan = np.rint(lms.mean(axis=0))
    if negative:
        fused = pan.max() + pan.min() - np.stack([pan] * 8)
    distortion = d_lambda(lms, fused, WV3), d_s(lms, fused, pan)
    assert -1e-12 <= distortion[0] <= 1 + 1e-12
    assert 0 <= distortion[1] <= 2
    found = hqnr(lms, fused, pan, WV3)
    assert -1 <= found <= 1 + 1e-12
    assert found >= -1e-12 or distortion[1] > 1


def test_d_s_of_flat_images_is_not_made_of_rounding_errors():
    """Interpolating a flat PAN leaves ripples of 1e-9, smaller than sums of squares resolve."""
    flat, noise = np.full((1, 64, 64), 2.0), np.random.default_rng(0).integers(1, 3, (1, 64, 64))
    assert d_s(flat, noise, flat[0]) <= 2


def test_images_in_the_networks_scale_are_refused(images):
    gt, fused = (image[:, :64, :64] for image in images)
    for metric in (q2n, psnr):
        with pytest.raises(DataError, match="up to 0.6.*expected digital numbers; multiply"):
            metric(gt / 2047, fused / 2047)
    assert_allclose(psnr(gt / 2047, fused / 2047, max_value=1), psnr(gt, fused), rtol=1e-6)
    # These compare shares and angles: the scale does not matter to them.
    assert_allclose(sam(gt / 2047, fused / 2047), sam(gt, fused), rtol=1e-9)
    assert_allclose(ergas(gt / 2047, fused / 2047), ergas(gt, fused), rtol=1e-9)
    with pytest.raises(DataError, match="the fused image holds values up to 0.6"):
        of(gt, fused / 2047)
    dark = (gt > 600).astype(np.uint16)  # whole numbers may be small
    assert q2n(dark, dark) == pytest.approx(1)


def test_bands_come_first(images):
    gt, fused = (image[:, :64, :64] for image in images)
    last = np.moveaxis(fused, 0, -1)
    with pytest.raises(DataError, match=r"\(64, 64, 8\), expected \(8, H, W\).*moveaxis"):
        of(gt, last)
    with pytest.raises(DataError, match=r"the sample has shape \(64, 64, 8\)"):
        of(np.moveaxis(gt, 0, -1), fused)
    with pytest.raises(DataError, match=r"\(4, 64, 64\), expected \(8, H, W\) for WorldView-3"):
        of(gt, fused[:4])


def test_hqnr_is_negative_where_fusion_turned_pan_into_its_negative():
    pan = np.rint(np.random.default_rng(0).uniform(1, 2047, (64, 64)))
    bands = np.stack([pan] * 8)
    assert d_s(bands, 2048 - bands, pan) > 1 and hqnr(bands, 2048 - bands, pan, WV3) < 0
