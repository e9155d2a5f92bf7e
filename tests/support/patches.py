"""Patches for tests: files in PanCollection's layout, and samples of any kind."""

import h5py
import numpy as np
from hypothesis import strategies as st

from dcfnet import WV3
from dcfnet.imagery.wald import Sample


def write_raw(path, datasets):
    with h5py.File(path, "w") as file:
        for key, values in datasets.items():
            file[key] = values
    return path


def noise(height, width):
    """A sample of noise, so that equal bits mean the same pixels."""
    chance = np.random.default_rng(0)

    def image(*shape):
        return chance.integers(1, 2048, shape, np.uint16)

    lms = chance.uniform(0, 2047, (8, height, width)).astype(np.float32)
    mask = np.ones((height, width), bool)
    images = image(8, height, width), image(8, height // 4, width // 4), lms, image(height, width)
    return Sample(*images, mask, WV3)


@st.composite
def samples(draw):
    """Small, of any type that holds digital numbers, with gaps anywhere."""
    h, w = (4 * draw(st.integers(1, 12)) for _ in range(2))
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = st.sampled_from(("u2", ">u2", "i4", "f4", "f8"))

    def image(*shape):
        return chance.integers(0, 2048, shape).astype(draw(kinds))

    lms = chance.uniform(-2047, 2 * 2047, (8, h, w)).astype(draw(st.sampled_from(("f4", "f8"))))
    mask = chance.random((h, w)) > draw(st.sampled_from((0, 0.001, 0.01)))
    return Sample(image(8, h, w), image(8, h // 4, w // 4), lms, image(h, w), mask, WV3)
