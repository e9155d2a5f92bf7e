import pytest
import torch

from dcfnet import WV3, build_network
from dcfnet.imagery.simulated.camera import simulate_scene
from tests.support.rasters import write_pair
from tests.support.tiles import Local


@pytest.fixture(scope="session")
def network():
    """A small DCFNet whose details are not zero, so that tiles can differ."""
    torch.manual_seed(0)
    model = build_network("dcfnet", width=0.125)
    with torch.no_grad():
        model.head.out.weight.normal_(0, 0.003)
    return model.eval()


@pytest.fixture
def quick():
    """A network of two layers, where it does not matter which one it is."""
    return Local()


@pytest.fixture(scope="session")
def scene():
    return simulate_scene(128, seed=3).crop(slice(16, 112), slice(16, 112))


@pytest.fixture
def files(tmp_path, scene):
    """The scene as MS and PAN files."""
    names = [f"band {band}" for band in WV3.bands]
    return write_pair(tmp_path, scene.ms, scene.pan, names=names)
