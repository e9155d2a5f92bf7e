"""Training runs as they are read from their folders."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcfnet import DataError
from dcfnet.networks import build_network, count_operations
from dcfnet.training.history import COLUMNS, History
from dcfnet.training.runs import read_run, read_runs


def written(folder, network="dicnn", epochs=5, options=None, **record):
    """A run's folder with made-up numbers."""
    folder.mkdir(parents=True)
    row = dict.fromkeys(COLUMNS, 0.5)
    rows = [
        {**row, "epoch": e, "train_loss": 1 / e, "valid_loss": 2 / e, "seconds": 3.0}
        for e in range(1, epochs + 1)
    ]
    History(rows).write(folder / "history.csv")
    settings = {
        "network": network,
        "options": options or {},
        "batch_size": 32,
        "lr": 1e-3,
        "train": {"patches": 361},
    }
    record = {"settings": settings, "device": "a test", **record}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def test_a_run_is_read_back(tmp_path):
    written(tmp_path / "mine", epochs=4)
    run = read_run("mine", tmp_path)
    assert run.network == "dicnn"
    assert run.history["epoch"].tolist() == [1, 2, 3, 4]
    assert run.history.best_epoch() == 4
    assert run.record["device"] == "a test"


numbers = st.floats(width=64)
losses = st.floats(allow_nan=False)


@settings(max_examples=30)
@given(st.lists(st.tuples(losses, losses, *[numbers] * 5), max_size=6))
def test_any_history_survives_its_file_to_the_last_bit(tmp_path_factory, values):
    rows = [dict(zip(COLUMNS, (i, *row), strict=True)) for i, row in enumerate(values, 1)]
    path = tmp_path_factory.mktemp("any") / "history.csv"
    History(rows).write(path)
    found = History.read(path)
    for column in COLUMNS:
        np.testing.assert_array_equal(found[column], History(rows)[column])


def test_an_epoch_counts_whole_batches_forward_and_backward(tmp_path):
    written(tmp_path / "a", "dcfnet", options={"width": 0.1})
    run = read_run("a", tmp_path)
    assert (run.network, len(run.history)) == ("dcfnet", 5)
    assert run.steps_per_epoch == 11  # 361 patches in batches of 32: 9 sit out
    forward = count_operations(build_network("dcfnet", width=0.1), 64, 64)[""]
    assert run.operations_per_epoch == 3 * 11 * 32 * forward


def test_runs_that_are_not_there_are_left_out(tmp_path):
    written(tmp_path / "pnn", "pnn")
    written(tmp_path / "dicnn")
    (tmp_path / "pannet").mkdir()  # begun, but no epoch is done
    found = read_runs(["dicnn", "pannet", "fusionnet", "pnn"], tmp_path)
    assert list(found) == ["dicnn", "pnn"]  # in the order asked for
    assert read_runs(["dicnn"], tmp_path / "nowhere") == {}


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"expected the history\.csv of a training run"):
        read_run("nothing", tmp_path)
    folder = written(tmp_path / "damaged")
    for text in ("{", "{}", '{"settings": {"network": "dicnn"}}', "[]"):
        (folder / "run.json").write_text(text)
        with pytest.raises(DataError, match=r"run\.json is no record of a training run"):
            read_run("damaged", tmp_path)
    (folder / "run.json").unlink()
    with pytest.raises(DataError, match="copy the folder"):
        read_run("damaged", tmp_path)


def test_the_books_runs_are_whole():
    """Every run of the six networks that is there agrees with its own record."""
    others = (f"{name}/fold0" for name in ("pannet", "dicnn", "msdcnn", "pnn"))
    runs = read_runs(["dcfnet", "fusionnet", *others])
    assert len(runs) == 6
    for name, run in runs.items():
        assert run.network == name.split("/")[0]
        assert run.history["epoch"].tolist() == list(range(1, len(run.history) + 1))
        assert run.record["epochs"] == len(run.history)
        assert run.record["best_epoch"] == run.history.best_epoch()
        assert run.record["optimal_epoch"] == run.history.optimal_epoch()
    # What makes their curves comparable.
    shared = ("train", "valid", "batch_size", "loss", "exposure", "augment", "average", "seed")
    for key in shared:
        values = [run.record["settings"][key] for run in runs.values()]
        assert all(value == values[0] for value in values), key
