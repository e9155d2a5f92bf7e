import numpy as np
import pytest
from numpy.testing import assert_allclose

from dcfnet import WV3, DataError
from dcfnet.wald import degrade, exp_upsample, mtf_filter, mtf_kernel, reduce_pan
from tests import golden


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
    assert_allclose(
        [low[i] for i in golden.DEGRADE_GT], list(golden.DEGRADE_GT.values()), rtol=1e-9
    )


def test_exp_golden():
    lms = golden.lms_image()
    assert_allclose(lms.mean(), golden.EXP_MEAN, rtol=1e-9)
    assert_allclose([lms[i] for i in golden.EXP], list(golden.EXP.values()), rtol=1e-9)


def test_reduce_pan_golden():
    pan = reduce_pan(golden.pan_image())
    assert_allclose(pan.mean(), golden.REDUCE_PAN_MEAN, rtol=1e-9)
    assert_allclose(
        [pan[i] for i in golden.REDUCE_PAN], list(golden.REDUCE_PAN.values()), rtol=1e-9
    )
