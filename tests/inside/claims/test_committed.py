"""The verdicts of committed trainings do not hang on the order of patches or the draw of probes."""

import numpy as np
import pytest

from dcfnet import DataError, load_scene
from dcfnet.imagery.wald import reduce_resolution
from dcfnet.inside import claims
from dcfnet.inside.claims.committed import GROUPS, known
from dcfnet.inside.claims.measured import FILE, WHOLE, Measured, hash_of_weights, look_into
from dcfnet.measure.tables import OF_THE_CLAIMS
from dcfnet.networks import load_trained
from tests.conftest import ROOT

RUNS = ROOT / "data" / "runs"
MEASURED = [name for name in known() if (RUNS / name / FILE).is_file()]


def verdicts(directory):
    return {
        (group, it.claim): it.verdict
        for group, of in claims.findings(directory).items()
        for it in of
    }


@pytest.mark.parametrize("name", MEASURED)
def test_measures_belong_to_the_weights_that_are_there(name):
    if not (RUNS / name / "weights.safetensors").is_file():
        pytest.skip("no weights are committed")
    assert claims.read_measured(name, RUNS).weights == hash_of_weights(name, RUNS)


@pytest.mark.slow
@pytest.mark.parametrize("measuring", ["first", "again"])
def test_verdicts_are_those_of_either_measuring_alone(measuring, tmp_path):
    """The second one has the patches shuffled, and other probes."""
    for path in RUNS.glob("**/*.*"):
        if path.suffix in (".csv", ".json") and path.name != FILE:
            copy = tmp_path / path.relative_to(RUNS)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    for name in MEASURED:
        one = claims.read_measured(name, RUNS)
        # What does not depend on order or draw was measured once; whole and retrained networks
        # are compared patch by patch.
        alone = {k: v for k, v in getattr(one, measuring).items() if k[0] not in OF_THE_CLAIMS}
        values = {**one.first, **alone}
        Measured(name, values, {key: values[key] for key in one.again}, one.weights).write(tmp_path)
    found = verdicts(tmp_path)
    assert "supported" in found.values()
    assert found == verdicts(RUNS)


def test_of_two_trainings_that_share_a_seed_either_gives_the_same_verdicts(monkeypatch):
    """The page says so, and that two checks turn."""

    def outcomes():
        of = claims.findings(RUNS)["quarter width"]
        checks = {(it.claim, c.what): c.outcome for it in of for c in it.counted}
        return [it.verdict for it in of], checks

    one, before = outcomes()
    names = GROUPS["quarter width"]
    monkeypatch.setitem(GROUPS, "quarter width", (*names[3:], *names[:3]))
    other, after = outcomes()
    assert one == other
    assert sum(before[check] != after[check] for check in before) == 2


@pytest.mark.slow
def test_committed_values_are_what_is_measured():
    """With a third order of patches and third draws medians stay, and signs do."""
    try:
        sample = reduce_resolution(load_scene("wv3-longmont"))
    except DataError as error:
        pytest.skip(str(error))
    patches = claims.take_patches(sample)
    order = np.random.default_rng(7).permutation(len(patches)).tolist()
    model = load_trained("parts/whole-seed0", RUNS)
    found = look_into(claims.Trained("again", model, patches[order]), seed=7)
    kept = claims.read_measured("parts/whole-seed0", RUNS)
    assert found.keys() == {key for key in kept.first if key[0] != "test"}
    for key, values in found.items():
        first = kept.first[key]
        drawn = key[0] in ("4", "6", "11") or key[0].startswith("radius")
        if not drawn:
            assert np.sort(values) == pytest.approx(np.sort(first), rel=2e-2, abs=2e-3), key
        once, kept_once = np.median(values), np.median(first)
        assert once == pytest.approx(kept_once, rel=0.3, abs=0.1 if drawn else 0.02), key
        # Claim 6 fits on half of the patches: which half can turn a network, and opens the check.
        if key[0] in {*WHOLE, "11"} - {"6"} and not key[2]:
            assert np.sign(once) == np.sign(kept_once), key
