"""A tiny network that was not trained, whose output depends on all of its parts, and patches."""

import json

import pytest
import torch

from dcfnet.imagery.sensors import WV3
from dcfnet.inside.claims.trained import Patches, Trained
from dcfnet.networks import build_network
from dcfnet.training.history import COLUMNS, History


def patches(count=4, size=32):
    generator = torch.Generator().manual_seed(0)
    shapes = (1, size), (8, size // 4), (8, size), (8, size)
    return Patches(*(torch.rand(count, c, n, n, generator=generator) for c, n in shapes), WV3)


def network(seed=0, **options):
    torch.manual_seed(seed)
    model = build_network("dcfnet", **{"width": 0.1, "inject_details": False} | options)
    for name, value in model.named_buffers():  # statistics as after training
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
    return model.eval()


def record(folder, name, stopped="epochs"):
    """A run of one epoch."""
    settings = {"network": "pnn", "options": {}, "batch_size": 1, "train": {"patches": 9}}
    (folder / name).mkdir(parents=True, exist_ok=True)
    History([dict.fromkeys(COLUMNS, 1.0) | {"epoch": 1}]).write(folder / name / "history.csv")
    text = json.dumps({"settings": settings, "stopped": stopped})
    (folder / name / "run.json").write_text(text)


@pytest.fixture(scope="session")
def trained():
    """Looked at, never changed."""
    return Trained("tiny", network(), patches())


@pytest.fixture
def fresh():
    """To be changed."""
    return Trained("fresh", network(), patches())
