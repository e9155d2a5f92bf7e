import torch
from hypothesis import given
from hypothesis import strategies as st

from dcfnet.training.batches import symmetry


@given(st.integers(1, 6), st.integers(0, 7), st.integers(0, 7), st.integers(0, 2**32 - 1))
def test_symmetries_are_a_group_and_keep_the_images_of_a_patch_together(size, one, other, seed):
    gt, lms = torch.rand((2, 8, 4 * size, 4 * size), generator=torch.Generator().manual_seed(seed))
    patch = {"gt": gt, "lms": lms, "ms": lms[:, 2::4, 2::4], "pan": gt[:1] * 0.5}

    def same(a, b):
        return all(torch.equal(a[key], b[key]) for key in patch)

    turned = symmetry(patch, one)
    assert torch.equal(turned["pan"], turned["gt"][:1] * 0.5)
    assert torch.equal(turned["ms"], turned["lms"][:, 2::4, 2::4])
    assert any(same(symmetry(turned, number), patch) for number in range(8))
    both = symmetry(turned, other)
    assert any(same(symmetry(patch, number), both) for number in range(8))
