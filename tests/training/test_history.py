"""What a run measured, and its CSV file."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcfnet import DataError
from dcfnet.training.history import COLUMNS, History


def history_of(losses):
    row = dict.fromkeys(COLUMNS, 0.0)
    return History([{**row, "epoch": i, "valid_loss": v} for i, v in enumerate(losses, 1)])


@settings(max_examples=100)
@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 6))
def test_optimal_epoch(losses, patience):
    history = history_of(losses)
    expected = None
    for epoch in range(1, len(losses) - patience + 1):
        after = losses[epoch : epoch + patience]
        if min(after) >= losses[epoch - 1]:
            expected = epoch
            break
    assert history.optimal_epoch(patience) == expected


@settings(max_examples=100)
@given(st.lists(st.integers(0, 5), max_size=20), st.lists(st.integers(0, 5), max_size=9))
def test_no_optimal_epoch_lies_before_the_earliest(losses, later):
    earliest = history_of(losses).earliest_optimum(4)
    for known in (history_of(losses), history_of(losses + later)):
        if optimal := known.optimal_epoch(4):
            assert earliest is None or earliest <= optimal
    if optimal := history_of(losses).optimal_epoch(4):
        assert earliest == optimal


def test_a_loss_that_is_hardly_lower_can_be_asked_to_count_for_nothing():
    history = history_of([4.0, 2.0, 1.99, 1.98, 1.97, 1.5])
    assert history.optimal_epoch(3) is None
    assert history.optimal_epoch(3, gain=0.1) == 2
    assert history.optimal_epoch(4, gain=0.1) is None  # the fourth is lower by a quarter
    assert history.earliest_optimum(4, gain=0.1) == 6


def test_what_is_no_history_is_refused(tmp_path):
    path = tmp_path / "history.csv"
    with pytest.raises(DataError, match=r"no file .*expected the history\.csv"):
        History.read(path)
    path.write_text("epoch,loss\n1,2\n")
    with pytest.raises(DataError, match="columns epoch, loss: expected epoch, train_loss"):
        History.read(path)
    path.write_text(",".join(COLUMNS) + "\n1,2,3\n")
    with pytest.raises(DataError, match="line 2"):
        History.read(path)
    with pytest.raises(KeyError, match="unknown column 'loss': expected one of epoch"):
        History()["loss"]
