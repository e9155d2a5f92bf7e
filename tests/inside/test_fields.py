import numpy as np
import pytest
import torch
from torch import nn

from dcfnet.inside.fields import effective_fields, field_radius, mean_field
from dcfnet.networks import build_network
from dcfnet.networks.base import PansharpeningNetwork
from tests.support.networks import images


class Linear(PansharpeningNetwork):
    """A network whose derivatives are its weights."""

    name = "linear"
    title = "Linear"

    def __init__(self):
        super().__init__(bands=2)
        self.of_pan = nn.Conv2d(1, 3, 5, padding=2, bias=False)
        self.of_lms = nn.Conv2d(2, 3, 1, bias=False)
        self.of_ms = nn.Conv2d(2, 3, 1, bias=False)
        self.mix = nn.Identity()
        self.out = nn.Conv2d(3, 2, 1)

    def forward(self, pan, ms, lms):
        up = nn.functional.interpolate(ms, scale_factor=4)
        return self.out(self.mix(self.of_pan(pan) + self.of_lms(lms) + self.of_ms(up)))


def test_field_of_a_linear_network_is_its_squared_weights():
    torch.manual_seed(0)
    model = Linear().eval()
    inputs = images(16, bands=2)
    exact = effective_fields(model, ["mix"], *inputs, draws=None)["mix"][0]
    found = effective_fields(model, ["mix"], *inputs, draws=500)["mix"][0]
    expected = np.zeros((16, 16))
    expected[6:11, 6:11] = model.of_pan.weight.detach().square().sum((0, 1))
    expected[8, 8] += model.of_lms.weight.detach().square().sum()
    expected[8:12, 8:12] += model.of_ms.weight.detach().square().sum().item() / 16
    np.testing.assert_allclose(exact, expected, rtol=1e-5)
    assert found.sum() == pytest.approx(expected.sum(), rel=0.05)
    np.testing.assert_allclose(found, expected, atol=0.1 * expected.max())
    assert ((found > 0) == (expected > 0)).all()


def test_random_signs_are_seeded_and_patches_independent():
    model = build_network("dcfnet", width=0.1).eval()
    inputs = images(32, batch=2)
    both, again, other = (
        effective_fields(model, ["stage1"], *inputs, draws=1, seed=seed)["stage1"]
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(both, again)
    assert not np.allclose(both, other)
    changed = [image.clone() for image in inputs]
    for image in changed:
        image[1] += 1
    after = effective_fields(model, ["stage1"], *changed, draws=1, seed=0)["stage1"]
    np.testing.assert_allclose(after[0], both[0], rtol=1e-5)


def test_field_reaches_as_far_as_the_kernels_add_up_to():
    torch.manual_seed(0)
    model = build_network("dcfnet", width=0.1).eval()
    found = effective_fields(model, ["stem", "stage1", "stage2.branches.1"], *images(64), draws=1)
    for name, side in (("stem", 5), ("stage1", 13), ("stage2.branches.1", 47)):
        seen = np.flatnonzero(found[name][0].any(axis=1))
        assert (seen.min(), seen.max()) == (32 - side // 2, 32 + side // 2), name


def test_radius_of_known_fields():
    y, x = np.mgrid[:101, :101]
    field = np.exp(-((y - 40) ** 2 + (x - 60) ** 2) / (2 * 6.0**2))
    # Of a Gaussian in two dimensions a share p lies within sigma sqrt(-2 ln(1 - p)).
    for share in (0.5, 0.9):
        assert field_radius(field, share) == pytest.approx(
            6 * np.sqrt(-2 * np.log(1 - share)), rel=0.02
        )
    one = np.zeros((9, 9))
    one[2, 3] = 4
    assert field_radius(one, 0.9) == 0
    with pytest.raises(ValueError, match="0 everywhere"):
        field_radius(np.zeros((4, 4)))


def test_patches_count_alike_in_the_mean_field():
    fields = np.zeros((2, 5, 5))
    fields[0, 2, 2] = 1000
    fields[1, 0, 0] = fields[1, 4, 4] = 0.5
    mean = mean_field(fields)
    assert mean.sum() == pytest.approx(1)
    assert mean[2, 2] == pytest.approx(0.5)
    assert field_radius(mean, 0.9) == pytest.approx(np.sqrt(8), rel=0.2)
    fields[1] = 0
    with pytest.raises(ValueError, match="0 everywhere"):
        mean_field(fields)
