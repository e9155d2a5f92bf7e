import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from dcfnet import DataError
from dcfnet.imagery.ground import Grid, common_ground

PIXEL = 0.3


@settings(max_examples=100)
@given(*[st.integers(1, 30)] * 2, *[st.integers(1, 120)] * 2, *[st.integers(-130, 130)] * 2)
def test_common_ground_is_all_ms_pixels_that_pan_covers(h, w, pan_h, pan_w, down, right):
    """MS's corner lies ``right`` and ``down`` PAN pixels from PAN's."""
    pan = Affine(PIXEL, 0, 487000, 0, -PIXEL, 4443000)
    ms = pan @ Affine.translation(right, down) @ Affine.scale(4)

    def covered(size, pan_size, shift):
        return [k for k in range(size) if shift + 4 * k >= 0 and shift + 4 * k + 4 <= pan_size]

    expected = covered(h, pan_h, down), covered(w, pan_w, right)
    grids = Grid("MS", (h, w), ms), Grid("PAN", (pan_h, pan_w), pan)
    if not all(expected):
        with pytest.raises(DataError, match="do not overlap"):
            common_ground(*grids, 4)
        return
    rows, cols, top, left, off = common_ground(*grids, 4)
    assert off == (0, 0)
    assert [*range(h)[rows]] == expected[0] and [*range(w)[cols]] == expected[1]
    assert (top, left) == (down + 4 * rows.start, right + 4 * cols.start)
