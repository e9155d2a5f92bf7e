import math

import numpy as np
import pandas as pd
import pytest

from dcfnet.inside.claims.committed import (
    difference_by_fold,
    ended,
    histories,
    known,
    pairs,
    results_by_fold,
    results_by_high_pass,
    results_by_seed,
    trainings,
    worse_without,
)
from dcfnet.inside.claims.findings import FURTHER, findings
from dcfnet.inside.claims.measured import Measured
from dcfnet.measure.tables import OF_THE_CLAIMS
from dcfnet.training.history import COLUMNS, History
from tests.inside.claims.conftest import record

SHARES = ("50 % of the field", "90 % of the field")


def write(folder, *names, first=None, again=None):
    first = first or {("test", "here", metric): np.ones(1) for metric in ("sam", "ergas", "q2n")}
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        Measured(name, first, again or {}, "00").write(folder)


def seeing(r, off=None):
    """Radii of the three branches, of 50 % and of 90 %, as trained and without crossing."""
    return {
        (kind, f"branch {i}", share): np.array([x * (1 + k)])
        for kind, radii in (("radius", r), ("radius without crossing", off or r))
        for i, x in enumerate(radii)
        for k, share in enumerate(SHARES)
    }


def finding(folder, claim, group="quarter width"):
    (found,) = [it for it in findings(folder)[group] if it.claim == claim]
    return found


# --- Which runs count ---------------------------------------------------------------------------


def test_one_training_for_each_fold_and_seed(tmp_path):
    def names(group="quarter width"):
        return [each.name for each in trainings(group, tmp_path)]

    assert names() == names("paper's width") == []
    write(tmp_path, "dcfnet", "dcfnet/fold1", "narrow-whole-0", "parts/whole-seed0")
    assert names("paper's width") == ["dcfnet/fold1"]  # the other has more epochs
    assert names() == ["parts/whole-seed0"]  # the other has fewer
    write(tmp_path, "dcfnet/fold0", *(f"dcfnet-narrow/fold{k}" for k in range(3)))
    assert names("paper's width") == ["dcfnet/fold0", "dcfnet/fold1"]
    folds = [f"dcfnet-narrow/fold{k}" for k in range(3)]
    assert names() == folds
    # Seed 0 on fold 0 is there already; seed 2 on fold 0 is another training than on fold 2.
    write(tmp_path, "parts/whole-seed2")
    assert names() == [*folds, "parts/whole-seed2"]
    assert set(names()) <= set(known())


def test_pairs_have_one_seed(tmp_path):
    def names():
        return [(a.name, b.name) for a, b in pairs("without-pcft", tmp_path)]

    assert names() == []
    write(tmp_path, "parts/whole-seed2", "parts/without-pcft-seed1", "parts/depth-matched-seed1")
    assert names() == []
    for seed in range(2):
        write(tmp_path, f"parts/whole-seed{seed}", f"parts/without-pcft-seed{seed}")
    assert names() == [
        (f"parts/whole-seed{seed}", f"parts/without-pcft-seed{seed}") for seed in range(2)
    ]


def test_a_run_that_is_under_way_does_not_count(tmp_path):
    record(tmp_path, "pnn/fold0")
    record(tmp_path, "pnn/fold1", stopped=None)
    assert list(histories("pnn/fold{}", tmp_path)) == [0]
    assert list(ended(["pnn/fold0", "pnn/fold1", "pnn/fold2"], tmp_path)) == ["pnn/fold0"]


def test_results_are_those_of_the_folds(tmp_path):
    for name in ("pnn", "pnn/fold0", "dcfnet/fold1"):
        record(tmp_path, name)
        write(tmp_path, name)
    record(tmp_path, "pnn/fold1")  # not measured yet
    table = results_by_fold(tmp_path)
    assert table.index.tolist() == [("DCFNet", "here", 1), ("PNN", "here", 0)]


def test_results_of_other_seeds_lie_beside_that_of_the_fold(tmp_path):
    names = ("fusionnet/fold0", "fusionnet/fold1", "seeds/fusionnet-seed2", "parts/whole-seed1")
    for k, name in enumerate(names):
        write(tmp_path, name, first={("test", "here", m): np.ones(1) * k for m in OF_THE_CLAIMS})
    table = results_by_seed(tmp_path)["sam"]
    network = "DCFNet, quarter width"
    found = {("FusionNet", "here", 0): 0, ("FusionNet", "here", 2): 2, (network, "here", 1): 3}
    assert table.to_dict() == found
    assert table.index.names == ["network", "test set", "seed"]
    assert set(names) <= set(known())


def test_results_with_and_without_high_pass_lie_beside_one_another(tmp_path):
    names = ("pannet/fold0", "pannet-no-high-pass/fold0", "fusionnet-high-pass/fold2")
    for k, name in enumerate(names):
        write(tmp_path, name, first={("test", "here", m): np.ones(1) * k for m in OF_THE_CLAIMS})
    found = {("PanNet", "here", 0): 0, ("PanNet, not high-passed", "here", 0): 1}
    found |= {("FusionNet, high-passed", "here", 2): 2}
    assert results_by_high_pass(tmp_path)["sam"].to_dict() == found
    assert set(names) <= set(known())


def test_differences_are_of_the_same_folds_with_an_interval_over_them():
    rows = {("a", "here", fold): {"sam": 2.0 + fold} for fold in range(3)}
    rows |= {("b", "here", fold): {"sam": 1.0 + fold + d} for fold, d in enumerate((0, 0.3, 0.6))}
    rows |= {("a", "there", 0): {"sam": 1.0}, ("b", "there", 0): {"sam": 2.0}}
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(rows, names=["network", "test set", "fold"])
    found = difference_by_fold(table, "a", "b")
    three = found.loc["here", "sam"]
    assert three["mean"] == pytest.approx(0.7)
    # Standard deviation 0.3, Student's t with two degrees of freedom 4.303.
    half = 4.303 * 0.3 / math.sqrt(3)
    assert three[["low", "high"]].tolist() == pytest.approx([0.7 - half, 0.7 + half], abs=1e-3)
    assert found.loc["there", "sam"]["mean"] == -1
    assert math.isnan(found.loc["there", "sam"]["low"])


# --- Checks -------------------------------------------------------------------------------------


def test_without_runs_nothing_can_be_tested(tmp_path):
    found = findings(tmp_path)
    assert {it.verdict for of in found.values() for it in of} == {"cannot be tested here"}
    claims = {it.claim.split(",")[0] for it in found["quarter width"]}
    assert claims == {str(i) for i in range(1, 12)}


@pytest.mark.parametrize(
    ("radii", "outcomes"),
    [
        ((1, 2, 3), ["holds", "holds"]),
        ((1, 2, 2), ["holds", "fails"]),
        ((1, 1.04, 1.1), ["fails", "holds"]),  # further, but not by 5 %
    ],
)
def test_order_of_radii(radii, outcomes, tmp_path):
    values = seeing(radii)
    write(tmp_path, *(f"parts/whole-seed{i}" for i in range(3)), first=values, again=values)
    found = finding(tmp_path, "7")
    assert [check.outcome for check in found.checks] == outcomes * 2
    assert found.checks[0].of_trainings == pytest.approx(np.log(radii[1]) - FURTHER, abs=1e-3)
    assert "radius 1.0" in found.notes[0]


def test_another_draw_that_disagrees_leaves_a_check_open(tmp_path):
    names = [f"parts/whole-seed{i}" for i in range(3)]
    write(tmp_path, *names, first=seeing((1, 2, 3)), again=seeing((1, 2, 1)))
    outcomes = {check.outcome for check in finding(tmp_path, "7").checks if "2 sees" in check.what}
    assert outcomes == {"open"}


def test_context_is_a_ratio_of_radii(tmp_path):
    values = seeing((1, 3, 4), off=(1, 2, 4))
    write(tmp_path, *(f"parts/whole-seed{i}" for i in range(3)), first=values, again=values)
    used = finding(tmp_path, "9, used")
    assert used.checks[0].of_trainings == pytest.approx(np.log(1.5) - FURTHER, abs=1e-3)
    assert used.verdict == "mixed"
    for i in range(3):
        values = seeing((1, 2, 2))
        write(tmp_path, f"parts/without-pcft-seed{i}", first=values, again=values)
    needed = finding(tmp_path, "9, needed")
    assert needed.verdict == "cannot be tested here"
    less_deep = [check for check in needed.checks if check.reading]
    assert [check.outcome for check in less_deep] == ["holds"] * 4
    assert list(less_deep[0].effects) == ["seed 0", "seed 1", "seed 2"]


def test_retrained_without_transfers(tmp_path):
    key = "ergas", "as trained", ""
    radii = seeing((1, 2, 3))
    for i in range(3):
        for part, ergas in (("whole", [2.0, 3, 4]), ("without-transfers", [2.5, 2, 5])):
            first = {**radii, key: np.array(ergas)}
            write(tmp_path, f"parts/{part}-seed{i}", first=first, again=radii)
    found = finding(tmp_path, "10, needed")
    assert found.checks[0].effects["seed 1"].tolist() == [0.5, -1, 1]
    assert found.verdict == "supported"
    # Means over patches, 3 and 3.1667, and the share.
    assert found.readings().index.tolist() == ["ERGAS, patches"]
    assert found.checks[1].of_trainings == pytest.approx([0.5 / 9] * 3, abs=1e-3)


def test_worse_is_worse_in_every_measure(tmp_path):
    for part, sam, q2n, loss in (("whole", 2.0, 0.9, 1.0), ("without-pcft", 3.0, 0.45, 1.1)):
        name = f"parts/{part}-seed2"
        first = {("test", "here", "q2n"): np.array([q2n]), ("sam", "as trained", ""): np.ones(3)}
        first["sam", "as trained", ""] *= sam
        write(tmp_path, name, first=first)
        record(tmp_path, name)
        history = tmp_path / name / "history.csv"
        rows = History([dict.fromkeys(COLUMNS, 1.0) | {"epoch": 1, "valid_loss": loss}])
        rows.write(history)
    table = worse_without("without-pcft", tmp_path)
    assert table.columns.tolist() == ["seed 2"]
    assert table["seed 2"].to_dict() == {
        ("here, region", "Q2n"): pytest.approx(0.5),
        ("patches", "SAM"): pytest.approx(0.5),
        ("validation ground", "loss"): pytest.approx(0.1),
    }


def test_what_cannot_be_tested_as_written_stands_beside_what_is_tested(tmp_path):
    key, means = "branch 0 above branch 1", "means of branches"
    first = {**seeing((1, 2, 3)), ("5", key, ""): np.ones(2), ("5", key, means): -np.ones(2)}
    for place in ("early", "late"):
        first["5", "T10 above T01", place] = np.ones(2)
    write(tmp_path, *(f"parts/whole-seed{i}" for i in range(3)), first=first, again=first)
    written, spread = (finding(tmp_path, f"5, {of}") for of in ("means", "spread"))
    assert (written.verdict, spread.verdict) == ("cannot be tested here", "supported")
    # Those of the branches belong to either place of the transfers'.
    assert written.readings()["hold"].tolist() == ["1\xa0of\xa02"] * 2
    assert "not identifiable" in written.why
    assert finding(tmp_path, "6, content").verdict == "cannot be tested here"
