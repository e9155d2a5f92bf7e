from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcfnet import DataError
from dcfnet.imagery.patches import patch_windows
from dcfnet.imagery.regions import regions
from tests.support.patches import samples


def test_patches_stay_within_their_region_and_overlap_only_in_training(sample):
    counts = {}
    for split in ("train", "valid", "test"):
        (area,) = regions(sample.shape, split)
        windows = patch_windows(sample, split)
        counts[split] = len(windows)
        covered = np.zeros(sample.pan.shape, int)
        for window in windows:
            assert area.cols.start <= window.cols.start and window.cols.stop <= area.cols.stop
            covered[window.rows, window.cols] += 1
        assert covered.max() == (4 if split == "train" else 1)
        assert covered[area.rows, area.cols].min() == 1
    assert counts == {"train": 25 * 15, "valid": 13 * 2, "test": 13 * 3}


def test_patches_without_data_are_left_out(sample):
    mask = sample.mask.copy()
    mask[0, :512] = False
    masked = replace(sample, mask=mask)
    assert len(patch_windows(masked, "train")) == 24 * 15
    assert len(patch_windows(masked, "test")) == 13 * 3


def test_a_region_too_small_for_a_patch_is_refused(sample):
    with pytest.raises(DataError, match="no 256 x 256 patch.*valid region of 832 rows and 128"):
        patch_windows(sample, "valid", size=256)
    with pytest.raises(DataError, match="unknown split"):
        patch_windows(sample, "exam")
    with pytest.raises(DataError, match="unknown fold"):
        patch_windows(sample, "test", fold=3)


def test_a_region_in_two_pieces(sample):
    windows = patch_windows(sample, "train", fold=2)
    starts = [window.cols.start for window in windows]
    # Piece by piece, each row by row; nothing of what lies between.
    first = [w for w in windows if w.cols.stop <= 256]
    assert windows[: len(first)] == first and len(first) == 25 * 7
    assert min(starts[len(first) :]) == 576 and len(windows) == 25 * 14
    with pytest.raises(DataError, match="2 pieces"):
        sample.region("train", fold=2)


@pytest.mark.parametrize("fold", range(3))
def test_the_test_region_is_what_patches_are_cut_from(sample, fold):
    test = sample.region("test", fold)
    assert test.shape == (832, 192)
    rows, cols = patch_windows(sample, "test", fold=fold)[0]
    assert np.array_equal(test.gt[:, :64, :64], sample.gt[:, rows, cols])


@given(samples(), st.sampled_from(("train", "valid", "test")), st.integers(1, 2))
def test_patches_are_all_those_with_data_and_no_other(sample, split, size):
    size, stride = 8 * size, (4 if split == "train" else 8) * size
    (area,) = regions(sample.shape, split)
    expected = [
        (y, x)
        for y in range(0, sample.pan.shape[0], stride)
        for x in range(area.cols.start, area.cols.stop, stride)
        if y + size <= sample.pan.shape[0] and x + size <= area.cols.stop
        if sample.mask[y : y + size, x : x + size].all()
    ]
    if not expected:
        with pytest.raises(DataError, match="no .* patch with data"):
            patch_windows(sample, split, size=size)
        return
    found = patch_windows(sample, split, size=size)
    assert [(w.rows.start, w.cols.start) for w in found] == expected
    assert all(w.rows.stop - w.rows.start == w.cols.stop - w.cols.start == size for w in found)
