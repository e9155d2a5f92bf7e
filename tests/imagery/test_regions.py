from itertools import combinations, pairwise

import pytest

from dcfnet.imagery.regions import SPLITS, regions


def test_regions_of_longmont(sample):
    columns = {split: regions(sample.shape, split)[0].cols for split in ("train", "test", "valid")}
    assert columns == {"train": slice(0, 512), "test": slice(512, 704), "valid": slice(704, 832)}


@pytest.mark.parametrize("width", [208, 416, 500, 832, 1000])
def test_regions_divide_any_width(width):
    tested = []
    for fold in range(3):
        columns = sorted(
            (cols.start, cols.stop)
            for split in SPLITS
            for _, cols in regions((64, width), split, fold)
        )
        assert columns[0][0] == 0 and columns[-1][1] == width
        assert all(a[1] == b[0] for a, b in pairwise(columns))
        assert all(start < stop and start % 16 == 0 for start, stop in columns)
        tested += regions((64, width), "test", fold)
    # No ground is tested on twice.
    assert all(
        a.cols.stop <= b.cols.start or b.cols.stop <= a.cols.start
        for a, b in combinations(tested, 2)
    )
