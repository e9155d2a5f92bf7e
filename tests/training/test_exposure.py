"""What `data/runs/exposure.csv` says of trainings with and without exposure is what they do."""

import pandas as pd
import pytest

from dcfnet.paths import data_dir
from tests.benchmarks.exposure import RUNS, row

pytest.importorskip("dgsamples", reason="the extra imagery is not installed")


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(data_dir() / "runs" / "exposure.csv", index_col=["run"])


@pytest.mark.parametrize("run", ["fusionnet-no-exposure/fold0", "narrow-no-exposure-1"])
def test_a_row_is_what_the_weights_give(table, run):
    noted, found = table.loc[run], row(run)
    for what, bound in {"SAM (°)": 2e-3, "ERGAS": 2e-3, "Q8": 2e-4}.items():
        assert found[what] == pytest.approx(noted[what], abs=bound)
    for what in ("error, bright (DN)", "error, others (DN)"):
        assert found[what] == pytest.approx(noted[what], abs=0.1)
    assert found["bright pixels (%)"] == noted["bright pixels (%)"]


def test_every_training_without_exposure_has_one_with_it_beside_it(table):
    assert set(table.index) == set(RUNS)
    without = table[table["patches"] == "as they are"]
    beside = table[table["patches"] == "brightened"]
    key = ["network", "training"]
    assert set(map(tuple, without[key].values)) <= set(map(tuple, beside[key].values))
    assert without.groupby("network").size().to_dict() == {
        "DCFNet, quarter width": 3,
        "FusionNet": 3,
    }
