from dataclasses import replace

import numpy as np
import pytest
import torch

from dcfnet import WV3, DataError
from dcfnet.imagery.tensors import as_digital_numbers


def test_inputs_are_values_from_0_to_1_where_one_wants_them(sample):
    crop = sample.crop(slice(0, 64), slice(0, 32))
    pan, ms, lms = crop.inputs()
    shapes = [(1, 1, 64, 32), (1, 8, 16, 8), (1, 8, 64, 32)]
    assert [tuple(x.shape) for x in (pan, ms, lms)] == shapes
    doubled, *_ = crop.inputs(torch.ones(1).double())
    assert (pan.dtype, doubled.dtype) == (torch.float32, torch.float64)
    assert torch.equal(crop.truth()[0], torch.from_numpy(crop.gt.astype(np.float32)) / 2047)
    assert np.array_equal(as_digital_numbers(ms[0], WV3).round(), crop.ms)
    with pytest.raises(DataError, match="no truth"):
        replace(crop, gt=None).truth()


def test_a_crop_through_an_ms_pixel_is_refused(sample):
    with pytest.raises(ValueError, match="multiples of 4"):
        sample.crop(slice(0, 64), slice(2, 66))
