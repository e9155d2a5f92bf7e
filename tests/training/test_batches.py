"""Which patches make up a batch, how they are turned and exposed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcfnet.training.batches import BatchOrder, expose, symmetry
from dcfnet.training.plan import Plan
from tests.support.training import BANDS


def test_each_patch_comes_at_most_once_per_epoch_and_turns_all_ways():
    order = BatchOrder(203, Plan(batch_size=10, seed=3))
    order.epoch = 1
    first = list(order)
    order.epoch = 2
    assert first != list(order)
    assert len(first) == len(order) == 20
    seen = [drawn for batch in first for drawn in batch]
    assert len({index for index, _, _ in seen}) == 200
    assert {number for _, number, _ in seen} == set(range(8))
    assert {factor for _, _, factor in seen} == {1.0}
    order.epoch, order.first = 1, 17
    assert list(order) == first[17:]


@pytest.mark.parametrize(("processes", "accumulate"), [(2, 1), (2, 3), (1, 4)])
def test_processes_share_each_batch(processes, accumulate):
    plan = Plan(batch_size=12, exposure=(0.5, 3.0))
    whole = list(BatchOrder(50, plan))
    plan = replace(plan, accumulate=accumulate)
    shares = [list(BatchOrder(50, plan, rank, processes)) for rank in range(processes)]
    for step, batch in enumerate(whole):
        parts = [share[step * accumulate : (step + 1) * accumulate] for share in shares]
        assert sorted(batch) == sorted(p for share in parts for part in share for p in part)


def test_batches_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="batch_size 30 does not fit 20 training patches"):
        BatchOrder(20, Plan(batch_size=30))
    with pytest.raises(ValueError, match="divided by 2 processes times accumulate=3: .* of 6"):
        BatchOrder(20, Plan(batch_size=4, accumulate=3), processes=2)


@given(st.integers(1, 6), st.integers(0, 7), st.integers(0, 7), st.integers(0, 2**32 - 1))
def test_symmetries_are_a_group_and_keep_the_images_of_a_patch_together(size, one, other, seed):
    gt, lms = torch.rand((2, 8, 4 * size, 4 * size), generator=torch.Generator().manual_seed(seed))
    patch = {"gt": gt, "lms": lms, "ms": lms[:, 2::4, 2::4], "pan": gt[:1] * 0.5}
    views = [symmetry(patch, number) for number in range(8)]
    assert len({view["gt"].numpy().tobytes() for view in views}) == 8
    turned = views[one]
    assert torch.equal(turned["pan"], turned["gt"][:1] * 0.5)
    # MS pixels stay where the protocol takes them from.
    assert torch.equal(turned["ms"], turned["lms"][:, 2::4, 2::4])
    both = symmetry(turned, other)
    assert any(all(torch.equal(view[key], both[key]) for key in patch) for view in views)


def test_ms_that_lms_does_not_pass_through_is_turned_itself(train):
    patch = {**train[0], "ms": train[0]["ms"] + 0.1}
    assert torch.equal(symmetry(patch, 1)["ms"], patch["ms"].flip(-1))


def test_exposure_brightens_all_images_alike(train):
    patch = {key: image.abs() / 4 for key, image in train[0].items()}
    brighter = expose(patch, 1.5)
    assert all(torch.allclose(brighter[key], 1.5 * image) for key, image in patch.items())
    darker = expose(patch, 0.5)
    assert all(torch.allclose(darker[key], 0.5 * image) for key, image in patch.items())


@pytest.mark.parametrize("brightest", ["pan", "gt"])
def test_exposure_ends_where_the_sensor_saturates(train, brightest):
    patch = {key: image.abs() / 8 for key, image in train[0].items()}
    patch[brightest][0, 3, 5] = 0.8
    most = expose(patch, 3.0)
    assert max(most["pan"].max(), most["gt"].max()).item() == pytest.approx(1)
    assert torch.allclose(most["ms"], patch["ms"] / 0.8)  # one factor for all


def test_exposure_of_a_patch_without_data():
    black = {"pan": torch.zeros(1, 4, 4), "gt": torch.zeros(BANDS, 4, 4)}
    assert all(torch.equal(expose(black, 3.0)[key], image) for key, image in black.items())


def test_factors_come_from_seed_and_epoch_alone():
    def factors(seed, epoch, first=0, exposure=(0.5, 3.0)):
        order = BatchOrder(2000, Plan(batch_size=10, seed=seed, exposure=exposure))
        order.epoch, order.first = epoch, first
        return [drawn for batch in order for drawn in batch]

    drawn = factors(0, 1)
    assert drawn == factors(0, 1)
    assert factors(0, 1, first=150) == drawn[1500:]  # also when resumed within the epoch
    values = np.array([factor for _, _, factor in drawn])
    assert (values >= 0.5).all() and (values <= 3).all()
    # Even in the logarithm: as often halved as doubled, were the range (0.5, 2).
    assert np.log(values).mean() == pytest.approx(np.log(1.5) / 2, abs=0.05)
    for other in (factors(1, 1), factors(0, 2)):
        assert [factor for _, _, factor in other] != values.tolist()
    # Order and orientation are those of a run without exposure.
    assert [d[:2] for d in drawn] == [d[:2] for d in factors(0, 1, exposure=None)]
