"""Two networks, patches to fuse, and regions to ask about."""

import numpy as np
import pytest
import torch

import dcfnet

RUNS = {"narrow": "narrow-whole-0", "paper": "dcfnet"}


@pytest.fixture(scope="session")
def models():
    """By width, the networks that pages offer."""
    return {name: dcfnet.load_trained(run) for name, run in RUNS.items()}


@pytest.fixture(scope="session")
def patches():
    """Patches (64, 64) of the simulated scene, as samples."""
    sample = dcfnet.reduce_resolution(dcfnet.load_scene("simulated"))
    corners = ((0, 0), (192, 200), (300, 40), (240, 340))
    return [sample.crop(slice(y, y + 64), slice(x, x + 64)) for y, x in corners]


@pytest.fixture(scope="session")
def noise():
    """Images of random numbers, one of them of another shape."""
    generator = torch.Generator().manual_seed(0)

    def image(height, width):
        sizes = ((1, height, width), (8, height // 4, width // 4), (8, height, width))
        return tuple(torch.rand(1, *size, generator=generator) for size in sizes)

    return [image(64, 64), image(32, 80)]


def regions(height: int, width: int) -> dict[str, np.ndarray]:
    """The whole image, a box, a pixel, and what a hand may draw."""
    y, x = np.mgrid[:height, :width]
    angle = np.arctan2(y - height / 2, x - width / 2)
    radius = height / 4 * (1 + 0.5 * np.sin(3 * angle))
    return {
        "whole": np.ones((height, width), bool),
        "box": (y >= 10) & (y < 20) & (x >= 30) & (x < 50),
        "pixel": (y == 5) & (x == 17),
        "freehand": np.hypot(y - height / 2, x - width / 2) < radius,
    }
