"""What `data/runs/exposure.csv` says of trainings with and without exposure is what they do."""

import numpy as np
import pandas as pd
import pytest

import dcfnet
from dcfnet.measure.metrics import evaluate
from dcfnet.paths import data_dir

pytest.importorskip("dgsamples", reason="the extra imagery is not installed")


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(data_dir() / "runs" / "exposure.csv", index_col=["run"])


@pytest.mark.parametrize("run", ["fusionnet-no-exposure/fold0", "narrow-no-exposure-1"])
def test_a_row_is_what_the_weights_give(table, run):
    row = table.loc[run]
    fold = int(run[-1]) if "fold" in run else 0
    scene = dcfnet.load_scene("wv3-longmont")
    test = dcfnet.reduce_resolution(scene).region("test", fold)
    fused = dcfnet.fuse(dcfnet.load_trained(run).fused_for_inference(), test)
    found = evaluate(test, fused)
    bright = test.pan > 0.5 * scene.sensor.max_value
    error = ((fused - test.gt) ** 2).mean(axis=0)
    assert found["sam"] == pytest.approx(row["SAM (°)"], abs=2e-3)
    assert found["ergas"] == pytest.approx(row["ERGAS"], abs=2e-3)
    assert np.sqrt(error[bright].mean()) == pytest.approx(row["error, bright (DN)"], abs=0.1)
    assert np.sqrt(error[~bright].mean()) == pytest.approx(row["error, others (DN)"], abs=0.1)


def test_every_training_without_exposure_has_one_with_it_beside_it(table):
    without = table[table["patches"] == "as they are"]
    beside = table[table["patches"] == "brightened"]
    key = ["network", "training"]
    assert set(map(tuple, without[key].values)) <= set(map(tuple, beside[key].values))
    assert without.groupby("network").size().to_dict() == {
        "DCFNet, quarter width": 3,
        "FusionNet": 3,
    }
