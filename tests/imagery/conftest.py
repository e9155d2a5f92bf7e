"""A sample, and a file's worth of patches."""

import numpy as np
import pytest

from tests.support.patches import noise


@pytest.fixture(scope="module")
def sample():
    """As large as Longmont."""
    return noise(832, 832)


@pytest.fixture
def layout():
    """Datasets of a small file in PanCollection's layout, as released: float64."""
    rng = np.random.default_rng(1)
    shapes = {
        "gt": (3, 8, 64, 64), "ms": (3, 8, 16, 16), "lms": (3, 8, 64, 64), "pan": (3, 1, 64, 64)
    }  # fmt: skip
    return {key: rng.integers(1, 2048, shape).astype(np.float64) for key, shape in shapes.items()}
