"""Maps in eight bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("bokeh", reason="the extra book is not installed")

from dcfnet.show.views.store import map_store, quantise


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_quantised_values_are_near(values):
    codes, low, high = quantise(values)
    assert codes.dtype == np.uint8
    back = low + (high - low) * codes.astype(float) / 255
    assert np.abs(back - values).max() <= (high - low) / 510 * (1 + 1e-9) + 1e-9
    assert low == min(values)


def test_maps_of_any_size_are_packed():
    packed = map_store({"a": [[1.0, -2.0]], "b": [[3.0], [4.0], [5.0]]}).data
    assert packed["keys"] == ["a", "b"]
    assert [codes.tolist() for codes in packed["codes"]] == [[[255, 0]], [[0], [128], [255]]]
    assert (packed["low"], packed["high"]) == ([-2, 3], [1, 5])


def test_what_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="finite"):
        quantise([1.0, np.nan])
