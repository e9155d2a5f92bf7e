import os
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from dcfnet import DataError, fuse, reduce_resolution
from dcfnet.imagery.classical import METHODS
from dcfnet.imagery.sensors import get_sensor
from dcfnet.imagery.simulated import simulate_scene
from dcfnet.measure.metrics import ergas
from dcfnet.networks import (
    NETWORKS,
    build_network,
    count_operations,
    count_parameters,
    load_released,
)
from tests.support import golden_networks as golden
from tests.support.networks import images

PARAMETERS = {
    "pnn": 104_360,
    "pannet": 83_024,
    "dicnn": 46_792,
    "msdcnn": 228_556,
    "fusionnet": 78_632,
    "dcfnet": 2_768_071,
}
RELEASED_FILES = {"dicnn": "dicnn1.pth"}


def inputs(height=32, width=48, bands=8):
    return images(height, width, bands=bands, batch=2)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name):
    assert count_parameters(build_network(name)) == PARAMETERS[name]


def test_all_networks_are_known():
    assert set(NETWORKS) == set(PARAMETERS)
    assert {name: network.name for name, network in NETWORKS.items()} == {n: n for n in NETWORKS}


@pytest.mark.parametrize("name", golden.RELEASED)
@torch.no_grad()
def test_released_golden(name):
    folder = os.environ.get("DCFNET_RELEASED_WEIGHTS")
    if not folder:
        pytest.skip("DCFNET_RELEASED_WEIGHTS does not name the folder of released .pth files")
    model = load_released(name, Path(folder) / RELEASED_FILES.get(name, f"{name}.pth"))
    assert not model.training
    # In float64, in which it does not matter in which order a processor sums.
    found = golden.summary(model.double()(*golden.inputs(64, 64, torch.float64)))
    assert found == pytest.approx(golden.RELEASED[name], abs=2e-6)


@pytest.mark.parametrize("sensor", ["qb", "wv2", "wv4"])
def test_released_for_other_sensors(sensor):
    """They do on a simulated scene of their sensor what no untrained network does."""
    folder = os.environ.get("DCFNET_RELEASED_WEIGHTS")
    if not folder:
        pytest.skip("DCFNET_RELEASED_WEIGHTS does not name the folder of released .pth files")
    sample = reduce_resolution(simulate_scene(size=128, sensor=get_sensor(sensor)))
    interpolated = ergas(sample.gt, METHODS["exp"](sample))
    for name in golden.RELEASED:
        path = Path(folder) / sensor / RELEASED_FILES.get(name, f"{name}.pth")
        model = load_released(name, path, sample.sensor.n_bands)
        assert ergas(sample.gt, fuse(model, sample)) < 1.2 * interpolated


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("bands", [1, 4, 8])
@pytest.mark.parametrize("size", [(32, 48), (33, 46)])
@torch.no_grad()
def test_sizes_and_bands(name, bands, size):
    options = {"width": 0.25} if name == "dcfnet" else {}
    pan, ms, lms = inputs(*size, bands)
    model = build_network(name, bands, **options).eval()
    assert model.bands == bands
    assert model(pan, ms, lms).shape == lms.shape


@pytest.mark.parametrize("name", NETWORKS)
def test_inputs_that_do_not_fit(name):
    pan, ms, lms = inputs()
    with pytest.raises(DataError, match=r"lms must have shape \(2, 8, 32, 48\)"):
        build_network(name)(pan, ms[:, :4], lms[:, :4])
    with pytest.raises(DataError, match="ms must have shape"):
        build_network(name)(pan, lms, lms)


def test_pannet_needs_three_ms_pixels():
    with pytest.raises(DataError, match="at least 3 x 3"):
        build_network("pannet")(*inputs(8, 48))


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "dcfnet"])
def test_gradients_reach_every_parameter(name):
    torch.manual_seed(0)
    model = build_network(name)
    model(*inputs()).square().mean().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@pytest.mark.parametrize("name", ["pannet", "dicnn", "fusionnet"])
@torch.no_grad()
def test_networks_that_add_to_lms(name):
    model = build_network(name)
    last = model.conv3 if name == "dicnn" else model.last
    last.weight.zero_()
    pan, ms, lms = inputs()
    assert_close(model(pan, ms, lms), lms, rtol=0, atol=0)


@torch.no_grad()
def test_pannet_sees_only_what_is_not_flat():
    torch.manual_seed(0)
    model = build_network("pannet")
    pan, ms, lms = inputs()
    details = model(pan, ms, lms) - lms
    assert_close(model(pan + 0.3, ms + 0.2, lms) - lms, details, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_high_pass_is_what_hides_the_level():
    pan, ms, lms = inputs()
    for name, given, hides in (("pannet", False, False), ("fusionnet", True, True)):
        torch.manual_seed(0)
        model = build_network(name, high_pass=given)
        assert build_network(name, **model.options).options == model.options != {}
        apart = model(pan + 0.3, ms + 0.2, lms + 0.2) - 0.2 - model(pan, ms, lms)
        assert (apart.abs().max() < 1e-3) == hides
        torch.manual_seed(0)
        usual = build_network(name)
        same = [
            torch.equal(*both) for both in zip(model.parameters(), usual.parameters(), strict=True)
        ]
        assert all(same), "the option moves no weight that a network starts with"


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "dcfnet"])
@torch.no_grad()
def test_copy_for_inference_equals_plain(name):
    torch.manual_seed(0)
    model = build_network(name)
    expected, found = model(*inputs()), model.fused_for_inference()(*inputs())
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    assert model.training


def test_unknown_network():
    with pytest.raises(ValueError, match=r"'fusionet' \(did you mean 'fusionnet'\?\).*pnn, pannet"):
        build_network("fusionet")


def test_options_are_those_of_the_network():
    with pytest.raises(TypeError, match="PNN has no options beside bands, got width"):
        build_network("pnn", width=0.5)
    with pytest.raises(TypeError, match="PanNet takes high_pass alone beside bands, got width"):
        build_network("pannet", width=0.5)
    with pytest.raises(TypeError, match="widht"):
        build_network("dcfnet", widht=0.5)
    with pytest.raises(ValueError, match="bands"):
        build_network("pnn", 0)


def test_operations_of_pnn_by_hand():
    layers = (72 * 72 * 9**2 * 9 * 64, 68 * 68 * 5**2 * 64 * 32, 64 * 64 * 5**2 * 32 * 8)
    macs = count_operations(build_network("pnn"))
    assert [macs[f"conv{i}"] for i in (1, 2, 3)] == list(layers)
    assert macs[""] == sum(layers)


def test_operations_of_dcfnet_add_up():
    macs = count_operations(build_network("dcfnet"), 96, 128)
    for name in ("stage1", "pcft2", "stage3.fusion.transfers.0_to_2", "head"):
        assert macs[name] == sum(v for k, v in macs.items() if k.rpartition(".")[0] == name) > 0
    steps = ("stem", "stage1", "to_branch0", "pcft1", "stage2.branches", "pcft2",
             "stage2.fusion", "stage3.branches", "stage3.fusion", "head")  # fmt: skip
    assert macs[""] == sum(macs[name] for name in steps)
    assert macs["head.out"] == 96 * 128 * 224 * 8
    assert macs["to_branch0"] == 96 * 128 * 256 * 32 * 9


def test_operations_of_an_odd_size():
    whole = count_operations(build_network("dcfnet", width=0.25), 64, 64)[""]
    assert count_operations(build_network("dcfnet", width=0.25), 61, 63)[""] == whole
