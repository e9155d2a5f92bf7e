"""What all tests of the trainer share: few patches, one thread."""

import pytest
import torch

from tests.support.training import patches


@pytest.fixture(scope="session")
def train():
    return patches(20)


@pytest.fixture(scope="session")
def valid():
    return patches(3, seed=1)


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
