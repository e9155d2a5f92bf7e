"""What the tests of views show: a small image."""

import numpy as np
import pytest

NAMES = ["blue", "green", "red", "near infrared"]


@pytest.fixture
def bands():
    row, column = np.mgrid[:24, :32]
    waves = [127 + 120 * np.sin(column / (2 + k) + row / (3 + k)) for k in range(len(NAMES))]
    return np.stack(waves).astype(np.uint8)
