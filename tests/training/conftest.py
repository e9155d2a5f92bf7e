"""What all tests of the trainer share: few patches."""

import pytest

from tests.support.training import patches


@pytest.fixture(scope="session")
def train():
    return patches(20)


@pytest.fixture(scope="session")
def valid():
    return patches(3, seed=1)
