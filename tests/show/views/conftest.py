"""What the tests of views show: a small image, a small network and patches for it."""

import numpy as np
import pytest
import torch

from dcfnet import WV3, GradCAM
from dcfnet.imagery.wald import Sample
from dcfnet.networks import build_network

NAMES = ["blue", "green", "red", "near infrared"]
PARTS = [
    "pcft2",
    "stage3.fusion.transfers.2_to_0.last.conv",
    "stage3.fusion.transfers.2_to_0",
    "head.concat",
]
BOX = np.s_[4:20, 8:24]


def network(width=0.1):
    torch.manual_seed(0)
    return build_network("dcfnet", bands=8, width=width, inject_details=False).eval()


def patch(seed=0, size=32):
    random = np.random.default_rng(seed)
    ms = random.integers(100, 1500, (8, size // 4, size // 4)).astype(np.uint16)
    lms = np.kron(ms, np.ones((4, 4))).astype(np.float32)
    gt = (lms + random.normal(0, 40, lms.shape)).clip(0).astype(np.uint16)
    return Sample(
        gt, ms, lms, gt[:5].mean(axis=0).astype(np.uint16), np.ones(gt.shape[1:], bool), WV3
    )


def gradcam(sample, bands, box=np.s_[:, :]):
    """What the explorer has to show."""
    with GradCAM(network(), PARTS) as cam:
        cam(*sample.inputs())
        return cam.maps(bands, box)


@pytest.fixture
def bands():
    row, column = np.mgrid[:24, :32]
    waves = [127 + 120 * np.sin(column / (2 + k) + row / (3 + k)) for k in range(len(NAMES))]
    return np.stack(waves).astype(np.uint8)
