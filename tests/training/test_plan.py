"""The settings of a training."""

import json
from dataclasses import replace

import numpy as np
import pytest

import dcfnet
from dcfnet.paths import data_dir
from dcfnet.training.plan import Plan

RECORDS = sorted(data_dir().glob("runs/**/run.json"))


@pytest.mark.parametrize("exposure", [(3, 0.5), (0, 2), (-1, 2), (0.5, np.inf), (np.nan, 2)])
def test_exposure_that_cannot_be_is_refused(exposure):
    with pytest.raises(ValueError, match="exposure must be two factors, the smaller first"):
        Plan(exposure=exposure)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"epochs": -1}, "epochs must be at least 0, got -1"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"accumulate": 0}, "accumulate must be at least 1"),
        ({"norm_batches": 0}, "norm_batches must be at least 1"),
        ({"patience": -1}, "patience must be at least 0"),
        ({"seed": 2**63}, "seed must be at least 0"),
        ({"lr": np.nan}, "lr, the learning rate, must be a number from 0 on, got nan"),
        ({"lr": -1}, "lr, the learning rate"),
        ({"precision": "fp64"}, "unknown precision 'fp64': expected one of auto, fp32, bf16"),
        ({"schedule": "cosinus"}, r"unknown schedule 'cosinus' \(did you mean 'cosine'\?\)"),
        ({"average": 1.5}, "average must lie between 0 and 1"),
        ({"average": np.nan}, "average must lie between 0 and 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        Plan(**setting)


def test_a_trapezoid_is_constant_and_falls_over_the_last_fifth():
    plan = dcfnet.Plan(lr=1e-2, schedule="trapezoid")
    assert [plan.rate(done) for done in (0, 0.5, 0.79)] == [1e-2] * 3
    assert plan.rate(0.9) == pytest.approx(5e-3)
    assert plan.rate(1) == 0


def test_no_patience_has_one_spelling():
    assert Plan(patience=0) == Plan(patience=None)


def test_how_long_it_goes_on_is_no_setting_unless_the_schedule_depends_on_it():
    constant = Plan(epochs=10, patience=5)
    assert constant.settings() == replace(constant, epochs=20, patience=None).settings()
    falling = replace(constant, schedule="cosine")
    assert falling.settings() != replace(falling, epochs=20).settings()


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_published_runs_can_be_gone_on_with(path):
    """Their settings are those of a plan, under the same keys."""
    settings = json.loads(path.read_text())["settings"]
    plan = Plan.from_settings(settings)
    found = plan.settings()
    assert found == {key: settings[key] for key in found}
    assert (plan.epochs, plan.patience) == (settings["epochs"], settings["patience"])


def test_there_are_published_runs():
    assert RECORDS
