import numpy as np
import pytest
import torch

from dcfnet.inside.claims.cooperation import TRANSFERS, cooperation, errors
from dcfnet.inside.claims.trained import Trained
from tests.inside.claims.conftest import network, patches


def test_the_rest_of_the_network_is_the_network_with_the_part_off(trained):
    found = cooperation(trained)
    whole = errors(trained)
    assert len(found) == len(TRANSFERS) == 8
    for values, name in zip(found.values(), TRANSFERS, strict=True):
        expected = errors(trained, [name]) - whole
        assert values == pytest.approx(expected, abs=1e-3), name
        assert np.abs(expected).max() > 1e-3


@pytest.mark.parametrize("inject_details", [True, False])
def test_a_transfer_that_does_nothing_makes_no_difference(inject_details):
    each = Trained("a", network(inject_details=inject_details), patches())
    idle = "stage3.fusion.transfers.1_to_0"
    with torch.no_grad():
        torch.nn.init.normal_(each.model.head.out.weight, std=0.1)
        each.model.stage3.fusion.weight[0, 1] = 0
    (values,) = cooperation(each, [idle]).values()
    assert values == pytest.approx(0, abs=1e-9)
