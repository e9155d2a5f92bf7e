import numpy as np
import pytest

from dcfnet import DataError
from dcfnet.imagery.classical import get_method
from dcfnet.imagery.regions import regions
from dcfnet.imagery.simulated.camera import simulate_scene
from dcfnet.imagery.wald import reduce_resolution
from dcfnet.inside.claims.__main__ import outdated
from dcfnet.inside.claims.measured import (
    FILE,
    Measured,
    classical,
    fold_of,
    hash_of_weights,
    look_into,
    measure,
    read_measured,
    without_ms,
)
from dcfnet.inside.claims.trained import Trained
from dcfnet.measure.metrics import evaluate
from dcfnet.networks import build_network, save_weights
from dcfnet.networks.one_pass import fuse
from tests.conftest import simulated
from tests.inside.claims.conftest import network, patches, record

PARTS = ("pcft1", "pcft2")
KEY = "test", "here", "sam"


def test_a_file_gives_back_what_was_measured(tmp_path):
    first = {
        ("4", "some, or many", ""): np.array([1.23456, -0.5, np.inf]),
        ("radius", "branch 0", "50 %"): np.array([2.0]),
    }
    again = {("4", "some, or many", ""): np.array([3.0, 1, 2])}
    (tmp_path / "a" / "fold1").mkdir(parents=True)
    Measured("a/fold1", first, again, "beef").write(tmp_path)
    found = read_measured("a/fold1", tmp_path)
    assert found.weights == "beef"
    assert list(found.first) == list(first)
    assert found.first["4", "some, or many", ""].tolist() == [1.235, -0.5, np.inf]
    assert found.first["radius", "branch 0", "50 %"].tolist() == [2]
    assert {key: value.tolist() for key, value in found.again.items()} == {
        ("4", "some, or many", ""): [2.0]
    }


def test_errors_are_compared_patch_by_patch():
    def measured(whole, rest):
        keys = ("ergas", "as trained", ""), ("ergas", "without ms", "")
        values = dict(zip(keys, (np.array(whole), np.array(rest)), strict=True))
        return Measured("", values, {}, "")

    one, two = measured([2.0, 4], [2.0, 4.6]), measured([3.0, 4], [3.0, 4])
    assert without_ms(one) == pytest.approx(0.1)
    assert without_ms(two) == 0


@pytest.mark.parametrize("text", ["", "# weights x\n", "# weights x\na,b\n1,2\n", None])
def test_a_damaged_file_is_refused(text, tmp_path):
    (tmp_path / "run").mkdir()
    if text is not None:
        (tmp_path / "run" / FILE).write_text(text)
    with pytest.raises(DataError, match=r"python -m dcfnet\.inside\.claims run"):
        read_measured("run", tmp_path)


def test_fold_of_a_run_is_in_its_name():
    names = ("dcfnet", "pnn/fold0", "dcfnet-narrow/fold2", "narrow-whole-2", "parts/whole-seed1")
    assert [fold_of(name) for name in names] == [0, 0, 2, 0, 0]


def test_a_network_without_parts_is_measured_for_what_it_has(trained):
    whole = look_into(trained)
    assert {key[0] for key in whole} == {
        *("sam", "ergas", "q2n", "radius", "radius without crossing"),
        *("4", "5", "6", "7", "8", "10", "11"),
    }
    part = look_into(Trained("part", network(without=PARTS), patches()))
    assert {key[0] for key in part} == {"sam", "ergas", "q2n", "radius"}
    one, two = (whole["ergas", title, ""] for title in ("as trained", "without ms"))
    assert one.shape == two.shape == (4,)
    assert not np.allclose(one, two)


def test_networks_are_measured_that_have_ended_and_are_not_what_was_measured(tmp_path):
    for kind, stopped in (("pnn", "epochs"), ("dicnn", "epochs"), ("pannet", None)):
        name = f"{kind}/fold0"
        record(tmp_path, name, stopped)
        save_weights(build_network(kind), tmp_path / name / "weights.safetensors")
    assert outdated(tmp_path) == ["dicnn/fold0", "pnn/fold0"]
    for name in ("dicnn/fold0", "pnn/fold0"):
        Measured(name, {KEY: np.ones(1)}, {}, hash_of_weights(name, tmp_path)).write(tmp_path)
    assert outdated(tmp_path) == []
    save_weights(build_network("pnn"), tmp_path / "pnn/fold0/weights.safetensors")  # trained on
    assert outdated(tmp_path) == ["pnn/fold0"]


@pytest.mark.slow
def test_results_are_those_of_the_folds_test_region(tmp_path):
    sample = reduce_resolution(simulate_scene(256))
    model = build_network("dicnn").eval()
    save_weights(model, tmp_path / "dicnn/fold2/weights.safetensors")
    found = measure("dicnn/fold2", {"one": sample, "two": sample}, tmp_path)
    test = sample.region("test", 2)
    sam = evaluate(test, fuse(model, test))["sam"]
    assert found.first["test", "one", "sam"] == pytest.approx(sam, rel=1e-4)
    assert len(found.first) == 6
    assert not found.again
    assert found.weights == hash_of_weights("dicnn/fold2", tmp_path)


@pytest.mark.slow
def test_classical_methods_are_measured_on_the_same_ground():
    sample = reduce_resolution(simulate_scene(256))
    table = classical({"here": sample}, ["mtf-glp-fs"])
    assert table["fold"].tolist() == [0, 1, 2]
    (window,) = regions(sample.shape, "test", 2)
    fused = get_method("mtf-glp-fs")(sample)[:, *window]
    sam = evaluate(sample.crop(*window), fused)["sam"]
    assert table["sam"].iloc[2] == pytest.approx(sam, abs=1e-4)


@pytest.mark.slow
def test_a_dcfnet_is_measured_twice(tmp_path):
    sample = reduce_resolution(simulated())
    save_weights(network(), tmp_path / "dcfnet/weights.safetensors")
    found = measure("dcfnet", {"one": sample}, tmp_path)
    assert found.again.keys() == {key for key in found.first if key[0] != "test"}
    shuffled, whole = (of["10", "stage 3, T01", ""] for of in (found.again, found.first))
    assert sorted(shuffled) == pytest.approx(sorted(whole), abs=1e-6)
