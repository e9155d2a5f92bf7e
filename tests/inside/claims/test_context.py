from dataclasses import replace

import numpy as np
import pytest
import torch

from dcfnet.inside.claims.context import CROSSING, DRAWS, radii, texture
from dcfnet.inside.claims.trained import LAST_PCFT, Trained
from tests.inside.claims.conftest import network


@pytest.mark.parametrize("main", [0, 1])
def test_texture_is_in_the_map_that_follows_it(trained, main):
    """One branch has a map that is PAN's local spread, the others have noise."""
    pan = trained.patches.pan[:, 0]
    mean, squares = (torch.nn.functional.avg_pool2d(x, 4) for x in (pan, pan**2))
    spread = (squares - mean**2).sqrt()
    each = Trained("a", trained.model, trained.patches)
    seen = {}
    for i, part in enumerate(LAST_PCFT):
        shown = spread if i == main else torch.rand(spread.shape)
        alpha = torch.ones(3, len(pan), 1)
        seen[part] = replace(trained.maps[part], activations=shown[:, None], alpha=alpha)
    each.__dict__["maps"] = trained.maps | seen
    effects = [np.median(values) for values in texture(each).values()]
    assert len(effects) == 2
    assert (effects[0] > 0.5) == (main == 0)
    assert (effects[0] < -0.5) == (main == 1)


def test_radii_without_a_part_are_those_of_a_network_built_without_it(trained):
    built = network(without=CROSSING)
    state = trained.model.state_dict()
    built.load_state_dict({key: state[key] for key in built.state_dict()})
    without = radii(trained, CROSSING)
    alone = radii(Trained("built", built, trained.patches))
    for where, value in alone.items():
        assert without[where] == pytest.approx(value, rel=1e-3)
    assert without != radii(trained)


def test_a_larger_share_needs_a_larger_disc(trained):
    found = radii(trained)
    for part in {part for part, _ in found}:
        half, most = (found[part, f"{share} % of the field"] for share in (50, 90))
        assert 0 < half[0] < most[0]


def test_fields_are_exact_where_there_are_few_channels(trained, monkeypatch):
    exact = radii(trained)
    assert radii(trained, seed=1) == exact
    order = Trained("another order", trained.model, trained.patches[[2, 0, 3, 1]])
    assert np.allclose([*radii(order).values()], [*exact.values()])
    monkeypatch.setattr("dcfnet.inside.claims.context.EXACT", max(trained.model.channels) - 1)
    few, more = radii(trained), radii(trained, draws=64)
    assert radii(trained, draws=DRAWS) == few != radii(trained, seed=1)
    off = [np.abs(np.subtract([*each.values()], [*exact.values()])).sum() for each in (few, more)]
    assert off[1] < off[0]
