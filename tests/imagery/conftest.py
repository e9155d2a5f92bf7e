"""A sample, and a file's worth of patches."""

import numpy as np
import pytest

from dcfnet import WV3
from dcfnet.imagery.wald import Sample


@pytest.fixture(scope="module")
def sample():
    """As large as Longmont, of noise, so that equal bits mean the same pixels."""
    rng = np.random.default_rng(0)
    size = 832
    return Sample(
        gt=rng.integers(1, 2048, (8, size, size), np.uint16),
        ms=rng.integers(1, 2048, (8, size // 4, size // 4), np.uint16),
        lms=rng.uniform(0, 2047, (8, size, size)).astype(np.float32),
        pan=rng.integers(1, 2048, (size, size), np.uint16),
        mask=np.ones((size, size), bool),
        sensor=WV3,
    )


@pytest.fixture
def layout():
    """Datasets of a small file in PanCollection's layout, as released: float64."""
    rng = np.random.default_rng(1)
    shapes = {
        "gt": (3, 8, 64, 64), "ms": (3, 8, 16, 16), "lms": (3, 8, 64, 64), "pan": (3, 1, 64, 64)
    }  # fmt: skip
    return {key: rng.integers(1, 2048, shape).astype(np.float64) for key, shape in shapes.items()}
