import numpy as np
import pytest
import torch

from dcfnet.imagery.sensors import WV3
from dcfnet.imagery.tensors import as_digital_numbers
from dcfnet.inside.claims.cooperation import TRANSFERS, WAYS, cooperation, errors, results
from dcfnet.inside.claims.features import shifted
from dcfnet.inside.claims.tail import in_chunks
from dcfnet.inside.claims.trained import Trained
from dcfnet.measure import metrics
from tests.inside.claims.conftest import network, patches


@pytest.mark.parametrize(("reading", "without"), WAYS.items())
def test_the_rest_of_the_network_is_the_network_with_the_part_taken_away(trained, reading, without):
    found = [values for key, values in cooperation(trained).items() if key[1] == reading]
    whole = errors(trained)
    assert len(found) == len(TRANSFERS) == 8
    for values, name in zip(found, TRANSFERS, strict=True):
        with without(trained.fast, name):
            expected = errors(trained) - whole
        assert values == pytest.approx(expected, abs=1e-3), name
        assert np.abs(expected).max() > 1e-3


def test_what_counts_is_the_same_for_networks_of_the_same_output(trained):
    """Switched off, a transfer counts for more the larger its mean, which can be anything."""
    same = Trained("same", shifted(trained.model, 1, 0, 1.0), trained.patches)
    one, two = cooperation(trained), cooperation(same)
    for key in one:
        alike = np.allclose(one[key], two[key], atol=1e-3)
        assert alike == (key[1] == "" or key[0] not in ("stage 3, T01", "stage 3, T02")), key


def test_results_are_those_of_the_metrics(trained):
    found = results(trained)
    assert found["ergas", "as trained"] == pytest.approx(errors(trained))
    fused = in_chunks(trained.fast, *trained.patches.inputs)
    for i, (truth, made) in enumerate(zip(trained.patches.gt, fused, strict=True)):
        pair = [as_digital_numbers(image[None], WV3)[0] for image in (truth, made)]
        assert found["sam", "as trained"][i] == pytest.approx(metrics.sam(*pair))
        assert found["q2n", "as trained"][i] == pytest.approx(metrics.q2n(*pair))


@pytest.mark.parametrize("inject_details", [True, False])
def test_a_transfer_that_does_nothing_makes_no_difference(inject_details):
    each = Trained("a", network(inject_details=inject_details), patches())
    idle = "stage3.fusion.transfers.1_to_0"
    with torch.no_grad():
        torch.nn.init.normal_(each.model.head.out.weight, std=0.1)
        each.model.stage3.fusion.weight[0, 1] = 0
    for values in cooperation(each, [idle]).values():
        assert values == pytest.approx(0, abs=1e-9)
