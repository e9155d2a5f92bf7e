"""Maps in eight bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

pytest.importorskip("bokeh", reason="the extra book is not installed")

from dcfnet.show.views.store import pack, plain, quantise, two_sided


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_quantised_values_are_near(values):
    codes, low, high = quantise(values)
    assert codes.dtype == np.uint8
    back = low + (high - low) * codes.astype(float) / 255
    assert np.abs(back - values).max() <= (high - low) / 510 * (1 + 1e-9) + 1e-9
    assert low == min(values)


@given(arrays(np.float64, (3, 5), elements=st.floats(-1e6, 1e6)))
def test_eight_bits_keep_each_side_of_zero(values):
    codes, low, high = two_sided(values)
    assert codes.dtype == np.int8
    back = np.where(codes > 0, codes * high, codes * -low) / 127
    assert (np.abs(back - values) <= np.where(values > 0, high, -low) / 254 * 1.0001 + 1e-12).all()


def test_maps_of_any_size_are_packed():
    maps = {"a": np.array([[1.0, -2.0]]), "b": np.array([[3.0], [4.0], [5.0]])}
    packed = pack(maps, plain)
    assert packed["keys"] == [["a", "b"]]
    assert packed["codes"][0].tolist() == [1, -2, 3, 4, 5]
    assert packed["shapes"][0].tolist() == [1, 2, 3, 1]
    assert (packed["low"][0].tolist(), packed["high"][0].tolist()) == ([-2, 0], [1, 5])


def test_what_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="finite"):
        quantise([1.0, np.nan])
