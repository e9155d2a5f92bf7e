"""A small network that tiles cannot change, and scenes of noise to cut into them."""

import numpy as np
import torch
from hypothesis import strategies as st

from dcfnet import WV3
from dcfnet.imagery.scene import Scene


class Local(torch.nn.Module):
    """Sees two pixels around each, and MS: a network whose tiles can be told from one pass."""

    bands = 8

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(17, 6, 3, padding=1), torch.nn.Tanh(),
            torch.nn.Conv2d(6, 8, 3, padding=1),
        )  # fmt: skip
        torch.manual_seed(0)
        for parameter in self.parameters():
            torch.nn.init.normal_(parameter, 0, 0.2)

    def forward(self, pan, ms, lms):
        near = ms.repeat_interleave(4, -1).repeat_interleave(4, -2)
        return lms + 0.1 * self.layers(torch.cat((pan, lms, near), 1))


@st.composite
def jobs(draw):
    """A scene of noise with or without gaps, and tiles that fit each other."""
    h, w = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ms = chance.integers(1, 2048, (8, h, w), np.uint16)
    pan = chance.integers(1, 2048, (4 * h, 4 * w), np.uint16)
    ms[:, : draw(st.integers(0, 3))] = 0
    pan[:, : draw(st.integers(0, 9))] = 0
    overlap = draw(st.integers(1, 4))
    tile = draw(st.integers(2 * overlap + 1, 16))
    scene = Scene(ms=ms, pan=pan, sensor=WV3, mask=ms.any(axis=0))
    return scene, {"tile": 4 * tile, "overlap": 4 * overlap, "device": "cpu"}
