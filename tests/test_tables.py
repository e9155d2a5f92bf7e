"""Tables of methods, and the sureness of differences."""

import numpy as np
import pytest

from dcfnet import WV3, metrics
from dcfnet.tables import Table, measure, measure_blocks, paired_difference


@pytest.fixture
def gt():
    return np.random.default_rng(0).uniform(100, 900, (8, 96, 64))


def test_the_numbers_are_the_metrics(gt):
    images = {"good": gt + 1, "bad": gt * 1.2 + 30}
    table = measure(gt, images, WV3, "A trial")
    for name, image in images.items():
        assert table.rows[name] == metrics.evaluate(gt, image, WV3)
    assert {table.best(metric) for metric in ("sam", "ergas", "q2n", "psnr")} == {"good"}
    page = table._repr_html_()
    assert page.count("<strong>") == 5 and "A trial" in page
    assert f"{table.rows['good']['ergas']:.4f}" in repr(table)


def test_names_are_escaped():
    assert "<b>" not in Table({"<b>": {"sam": 1.0}}, "<b>")._repr_html_()


def test_blocks_without_data_are_left_out(gt):
    gt[:, 70, 3] = 0
    found = measure_blocks(gt, {"itself": gt, "off": gt + 2}, lambda a, b: (b - a).mean(), 32)
    assert np.allclose(found["itself"], 0) and np.allclose(found["off"], 2)
    assert len(found["off"]) == 5  # of six


def test_the_interval_holds_the_mean_and_repeats():
    rng = np.random.default_rng(1)
    a, b = rng.normal(1, 1, 50), rng.normal(0, 1, 50)
    mean, low, high = paired_difference(a, b)
    assert low < mean < high and mean == pytest.approx((a - b).mean())
    assert (mean, low, high) == paired_difference(a, b)
    assert paired_difference(b, a)[0] == pytest.approx(-mean)
    assert paired_difference(a, a) == (0, 0, 0)
    # Four times the blocks, half the interval.
    wide = paired_difference(np.tile(a, 4), np.tile(b, 4))
    assert (wide[2] - wide[1]) / (high - low) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("pair", [([1], [1, 2]), ([], []), ([[1.0]], [[2.0]])])
def test_unequal_rows_are_refused(pair):
    with pytest.raises(ValueError, match="as many numbers"):
        paired_difference(*map(np.array, pair))
