"""OpenVINO gives what torch gives."""

import sys

import numpy as np
import pytest
import torch

from dcfnet import WV3, DataError, build_network
from dcfnet.fusion.engine import WORTH_IT, engine_for
from dcfnet.fusion.files import fuse_files
from dcfnet.fusion.tiled import fuse_scene
from dcfnet.training.machine import gains_from_bf16

CPU = torch.device("cpu")
openvino = pytest.mark.skipif(
    "not __import__('importlib').util.find_spec('openvino')", reason="the extra fast is missing"
)


@openvino
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "name", [pytest.param("dcfnet", marks=pytest.mark.slow), "fusionnet", "pnn"]
)
def test_openvino_gives_what_torch_gives(network, scene, name):
    torch.manual_seed(0)
    model = network if name == "dcfnet" else build_network(name)
    part = scene.crop(slice(0, 40), slice(0, 56))
    ways = [("torch", "fp32"), ("openvino", "fp32"), ("openvino", "bf16")]
    one, other, short = (
        fuse_scene(model, part, tile=96, engine=engine, precision=precision, device="cpu")
        for engine, precision in ways
    )
    largest = np.abs(one).max()
    assert np.abs(other - one).max() < 4e-6 * largest
    off = np.abs(short - one).max()
    assert off < 0.05 * largest
    # Where a processor lacks bfloat16, OpenVINO may compute in float32 all the same.
    assert off > 0 or not gains_from_bf16(CPU)


@openvino
def test_a_file_says_what_computed_it(network, files, tmp_path):
    import rasterio

    out = fuse_files(network, *files, tmp_path / "out.tif", WV3, engine="openvino", device="cpu")
    with rasterio.open(out) as file:
        assert file.tags()["TIFFTAG_SOFTWARE"] == "dcfnet (openvino)"


def test_an_engine_is_chosen_by_what_is_there(network, quick, monkeypatch):
    meta, many = torch.device("meta"), WORTH_IT
    with pytest.raises(ValueError, match="unknown engine 'tensorrt'"):
        engine_for(network, CPU, "tensorrt", many)
    for model, device in ((quick, CPU), (network, meta)):
        assert engine_for(model, device, None, many) == "torch"
        with pytest.raises(ValueError, match="leave engine out"):
            engine_for(model, device, "openvino", many)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert engine_for(network, CPU, None, many) == "torch"
    with pytest.raises(DataError, match=r"dcfnet\[fast\]"):
        engine_for(network, CPU, "openvino", many)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: sys)
    assert engine_for(network, CPU, None, many) == "openvino"
    assert engine_for(network, CPU, None, many - 1) == "torch"
    assert engine_for(network, CPU, "torch", many) == "torch"
