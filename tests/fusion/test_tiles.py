import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dcfnet.fusion.tiles import tiles_along


@settings(max_examples=100)
@given(st.integers(1, 400), st.integers(1, 64), st.integers(0, 31))
def test_tiles_cover_an_axis_once(size, tile, overlap):
    assume(2 * overlap < tile)
    tiles = tiles_along(size, tile, overlap)
    assert [t.keep_start for t in tiles] == [0, *(t.keep_stop for t in tiles[:-1])]
    assert tiles[-1].keep_stop == size
    assert len({t.stop - t.start for t in tiles}) == 1
    for t in tiles:
        assert 0 <= t.start <= t.keep_start < t.keep_stop <= t.stop <= size
        assert t.keep_start - t.start >= overlap or t.start == 0
        assert t.stop - t.keep_stop >= overlap or t.stop == size


@pytest.mark.parametrize("tile, overlap", [(16, 8), (0, 0), (16, -1)])
def test_tiles_that_keep_nothing_are_refused(tile, overlap):
    with pytest.raises(ValueError, match="less than half"):
        tiles_along(100, tile, overlap)
