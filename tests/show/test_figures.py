import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

from dcfnet.imagery.sensors import WV3
from dcfnet.imagery.simulated.camera import simulate_scene
from dcfnet.imagery.wald import reduce_resolution
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
    return figures.look(model, patch)


def test_every_part_has_a_map_of_its_own_size(model, found):
    parts = model.parts()
    assert set(parts) - set(found.parts) == {"pcft1.ms_up"}
    for name in found.parts:
        shape = parts[name].shape(64, 64)[1:]
        assert found.features(name).shape == found.map(name, 7).shape == shape
    assert found.fused.shape == (8, 64, 64)


def test_map_before_the_last_convolution_is_the_detail_itself(model, found, patch):
    detail = found.fused - patch.lms / WV3.max_value
    for band in (0, 4):
        expected = (detail[band] - model.head.out.bias[band].item()) / 64**2
        np.testing.assert_allclose(found.signed("head.mix", band), expected, atol=1e-7)


def test_patches_lie_in_the_test_region(sample):
    patches = figures.pictured(sample.region("test"))
    assert list(patches) == ["patch 1", "patch 2", "patch 3"]
    assert all(patch.pan.shape == (64, 64) for patch in patches.values())
    with pytest.raises(ValueError, match="holds no patch"):
        figures.pictured(sample.crop(slice(0, 32), slice(0, 64)))


def test_table_counts_zeros(model, found):
    (row,) = figures.part_table(found, {"all": "head.concat"}, 2)
    shown = found.map("head.concat", 2)
    assert row["zero"] == (shown == 0).mean()
    assert row["map"] == pytest.approx(1e6 * shown.mean())
    assert row["pixels"] == 64


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


def test_a_transfer_can_be_hooked_at_its_last_convolution(model, found):
    assert figures.transfer_part(1, 1, "last convolution").endswith("1_to_1")
    name = figures.transfer_part(2, 0, "last convolution")
    assert found.map(name, 0).shape == (16, 16)
    assert found.map(figures.transfer_part(2, 0), 0).shape == (64, 64)
    with pytest.raises(ValueError, match="hook must be"):
        figures.transfer_part(2, 0, "somewhere")


def test_a_network_without_pcft_has_no_figure_3():
    with pytest.raises(ValueError, match="without its second PCFT"):
        figures.pcft_parts(build_network("dcfnet", 8, width=0.125, without=("pcft2",)))
