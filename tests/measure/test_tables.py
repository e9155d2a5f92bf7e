"""Tables of methods, and the sureness of differences."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dcfnet import WV3, DataError
from dcfnet.imagery.wald import Sample
from dcfnet.measure import metrics
from dcfnet.measure.tables import (
    by_block,
    by_method,
    gains,
    paired_difference,
    shown,
    styled,
    styled_differences,
)


@pytest.fixture
def gt():
    return np.random.default_rng(0).uniform(100, 900, (8, 96, 64))


def known(gt):
    return Sample(gt=gt, ms=None, lms=gt, pan=gt[0], mask=None, sensor=WV3)


def test_the_numbers_are_the_metrics(gt):
    images = {"good": gt + 1, "bad": gt * 1.2 + 30}
    table = by_method(known(gt), images)
    for name, image in images.items():
        assert table.loc[name].to_dict() == metrics.evaluate(known(gt), image)
    page = styled(table, "A trial").to_html()
    assert page.count("font-weight: bold") == 1  # one rule, for these five cells
    (rule,) = (part for part in page.split("}") if "font-weight: bold" in part)
    assert all(f"_row0_col{i}" in rule.split("{")[0] for i in range(5))
    assert "A trial" in page and "ERGAS\N{NO-BREAK SPACE}↓" in page
    assert f"{table.loc['good', 'ergas']:.4f}" in page


def test_names_stay_on_their_line_and_numbers_under_one_another():
    table = pd.DataFrame({"d_s": {"fold 0": 1.0, "a <b> name": 2.0}})
    page = shown(table).to_html()
    assert "fold\N{NO-BREAK SPACE}0" in page and "D<sub>s</sub>" in page
    assert "a &lt;b&gt; name" in page
    assert "text-align: end" in page
    assert "text-align: end" not in shown(table.astype(str), form="{}").to_html()


def test_each_column_is_written_in_its_form():
    table = pd.DataFrame({"sam": [1.234], ("a", 1): [0.5], "n": [7]}, ["here"])
    page = shown(table, "<numbers>", n="{:d} of 9").to_html()
    assert "&lt;numbers&gt;" in page and "SAM" in page
    assert ">1.23<" in page and ">0.50<" in page and ">7 of 9<" in page


@pytest.mark.parametrize(
    ("name", "look"), [("fold 0", "nowrap"), ("DCFNet, quarter width", "min-width")]
)
def test_names_of_rows_are_given_room(name, look):
    style = shown(pd.DataFrame({"sam": {name: 1.0}})).to_html().split("</style>")[0]
    assert look in style and "row_heading" in style


def test_blocks_need_the_truth(gt):
    with pytest.raises(DataError, match="reduced resolution"):
        by_block(replace(known(gt), gt=None), {"one": gt})


def test_names_are_escaped():
    assert "<b>" not in styled(pd.DataFrame({"sam": {"<b>": 1.0}}), "<b>").to_html()


def test_blocks_without_data_are_left_out(gt):
    gt[:, 70, 3] = 0
    images = {"itself": gt, "off": gt + 2}
    found = by_block(known(gt), images, {"mean": lambda a, b: (b - a).mean()}, 32)["mean"]
    assert np.allclose(found["itself"], 0) and np.allclose(found["off"], 2)
    assert list(found.index) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 1)]  # of six


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


def test_groups_count_once():
    rng = np.random.default_rng(2)
    a = rng.normal(size=40)
    single = paired_difference(a, 0 * a)
    assert paired_difference(a, 0 * a, groups=range(40)) == single
    # Each block four times: as independent blocks they would seem surer than they are.
    fours, groups = np.repeat(a, 4), np.repeat(np.arange(40), 4)
    assert paired_difference(fours, 0 * fours, groups=groups) == pytest.approx(single)
    mean, low, high = paired_difference(fours, 0 * fours)
    assert high - low < 0.6 * (single[2] - single[1])
    assert paired_difference(fours, 0 * fours, groups=0 * groups) == pytest.approx((mean,) * 3)
    with pytest.raises(ValueError, match="a group for each"):
        paired_difference(a, a, groups=[0, 1])


def test_the_table_of_blocks(gt):
    gt[:, 70, 3] = 0
    blocks = by_block(known(gt), {"one": gt + 1, "five": gt + 5}, size=32)
    groups = [0, 0, 1, 1, 2]
    mean, low, high = paired_difference(blocks["sam"]["one"], blocks["sam"]["five"], groups=groups)
    expected = blocks["sam"]["one"].mean() - blocks["sam"]["five"].mean()
    assert low <= mean <= high < 0 and mean == pytest.approx(expected)
    page = styled_differences(blocks, "one", "<i>").to_html()
    assert f"{mean:+.3f}" in page and f"[{low:+.3f}, {high:+.3f}]" in page
    assert f"{blocks['sam']['one'].mean():.3f} ± " in page
    assert "<i>" not in page


ROWS = pd.DataFrame.from_dict(
    {
        "ours": {"sam": 2.0, "ergas": 2.0, "q2n": 0.9},
        "near": {"sam": 2.5, "ergas": 2.1, "q2n": 0.91},
        "far": {"sam": 3.0, "ergas": 1.0, "q2n": 0.8},
    },
    orient="index",
)


def test_gains_are_above_zero_where_a_method_is_better():
    found = gains(ROWS.assign(psnr=0.0), "ours")
    expected = {"sam": [0.5, 1.0], "ergas": [0.1, -1.0], "q2n": [-0.01, 0.1]}
    pd.testing.assert_frame_equal(found, pd.DataFrame(expected, ["near", "far"]))
