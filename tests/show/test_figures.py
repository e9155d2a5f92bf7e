import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn

from dcfnet.imagery.simulated.camera import simulate_scene
from dcfnet.imagery.wald import reduce_resolution
from dcfnet.inside.cams import PatchCams
from dcfnet.networks import build_network
from dcfnet.show import figures


@pytest.fixture(scope="module")
def sample():
    return reduce_resolution(simulate_scene())


@pytest.fixture(scope="module")
def patch(sample):
    return sample.crop(slice(64, 128), slice(64, 128))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = build_network("dcfnet", 8, width=0.125).eval()
    nn.init.normal_(model.head.out.weight)
    return model


@pytest.fixture(scope="module")
def found(model, patch):
    return PatchCams(model, patch)


@pytest.mark.parametrize("shared", [True, False])
def test_figures_show_maps_at_their_own_size(model, found, patch, shared):
    for figure, count in (
        (figures.fusion_figure(model, found, patch, 3, shared=shared), 2 * 13),
        (figures.pcft_figure(model, found, patch, 3, shared=shared), 2 * 10),
    ):
        figure.canvas.draw()
        sizes = [a.images[0].get_array().shape for a in figure.axes if a.images]
        assert len(sizes) == count + 2  # and two composites
        assert {size[0] for size in sizes} == {16, 32, 64}
        plt.close(figure)
