"""Small patches, small networks and quick trainings for the tests of the trainer."""

from dataclasses import fields

import h5py
import numpy as np
import torch
from torch import nn

from dcfnet.imagery.filters import exp_upsample
from dcfnet.networks import build_network
from dcfnet.training.history import History
from dcfnet.training.loop import fit
from dcfnet.training.plan import Plan
from dcfnet.training.runs import RunFolder

BANDS = 4
PLANNED = {each.name for each in fields(Plan)}


def quick_fit(model, train, valid, **given) -> History:
    """`fit` on the CPU in float32, in batches of four; settings of plan and call side by side."""
    plan = {key: value for key, value in given.items() if key in PLANNED}
    call = {key: value for key, value in given.items() if key not in PLANNED}
    plan = Plan(**{"precision": "fp32", "batch_size": 4, **plan})
    return fit(model, train, valid, plan, **{"device": "cpu", "progress": False, **call})


def patches(count, seed=0, size=16):
    """Patches as `PatchDataset` gives them: smooth noise, and details that all bands share."""
    chance = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        ms = chance.random((BANDS, size // 4, size // 4))
        lms = exp_upsample(ms)
        gt = lms + 0.1 * chance.standard_normal((size, size))  # a detail that PAN shows
        images = {"pan": gt.mean(0, keepdims=True), "ms": ms, "lms": lms, "gt": gt}
        made.append({key: torch.from_numpy(image).float() for key, image in images.items()})
    return made


def write_patches(path, count, seed=0):
    """A file in PanCollection's layout, of patches of 16 x 16 pixels and 8 bands."""
    ms = np.random.default_rng(seed).integers(0, 2000, (count, 8, 4, 4)).astype(np.float64)
    lms = np.stack([exp_upsample(image) for image in ms])
    gt = np.clip(lms, 0, 2047)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.update({"ms": ms, "lms": lms, "gt": gt, "pan": gt.mean(1, keepdims=True)})


class Small(nn.Module):
    """Somebody's own network, with what makes training hard to resume: norms and chance."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(BANDS + 1, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8, momentum=0.01),
            nn.ReLU(),
            nn.Dropout2d(0.1),
            nn.Conv2d(8, BANDS, 3, padding=1),
        )

    def forward(self, pan, ms, lms):
        return self.layers(torch.cat((pan, lms), 1))


def network(name="small", seed=0):
    torch.manual_seed(seed)
    if name == "small":
        return Small()
    # Narrow; and from its own prediction to the truth is a long way: much to learn in few steps.
    options = {"width": 0.05, "inject_details": False} if name == "dcfnet" else {}
    return build_network(name, BANDS, **options)


def same(one, other):
    """Equal to the last bit, through dictionaries and lists; but for time."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        keys = {k for k in one if "seconds" not in str(k)}
        return keys == {k for k in other if "seconds" not in str(k)} and all(
            same(one[k], other[k]) for k in keys
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def checkpoint(folder):
    return RunFolder(folder).load()
