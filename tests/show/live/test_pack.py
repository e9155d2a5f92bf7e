"""The files that bring a network into a page: their sizes, their licences, and the rounding."""

import gzip
import hashlib
import re
from importlib.resources import files

import numpy as np
import pytest
import torch

import dcfnet
from dcfnet.show.live import rounded

pytestmark = pytest.mark.slow

VENDOR = files("dcfnet.show.live").joinpath("vendor")
CLICK = {"narrow": 7e6, "paper": 13e6}
"""The most bytes that a click may ask for."""


@pytest.fixture(scope="module")
def packed(written):
    folder, sizes = written
    return {name: (folder / "_static" / name).read_text() for name in sizes}


def scripts(packed, name):
    return [text for file, text in packed.items() if file.startswith(f"live/{name}-")]


@pytest.mark.parametrize("name", CLICK)
def test_a_click_asks_for_no_more_than_the_button_may_say(name, packed):
    bytes_ = sum(len(text) for text in scripts(packed, "runtime") + scripts(packed, name))
    assert bytes_ < CLICK[name]
    assert max(map(len, packed.values())) < 1.1e6  # so that progress can be shown
    for file in packed:
        assert file in packed["live.js"] or not file.startswith(f"live/{name}-")


def test_what_is_vendored_is_what_its_record_names_and_brings_its_licences(packed):
    said = dict(
        re.findall(r"^([0-9a-f]{64})  (\S+)$", VENDOR.joinpath("VERSION").read_text(), re.M)
    )
    compressed = VENDOR.joinpath("ort.wasm.gz").read_bytes()
    found = {
        "ort.js": VENDOR.joinpath("ort.js").read_bytes(),
        "ort.wasm.gz": compressed,
        "ort.wasm": gzip.decompress(compressed),
        "geotiff.js": VENDOR.joinpath("geotiff.js").read_bytes(),
    }
    assert {hashlib.sha256(content).hexdigest(): name for name, content in found.items()} == said
    assert "MIT License" in packed["live/LICENSE"]
    assert "THIRD PARTY" in packed["live/ThirdPartyNotices.txt"].upper()
    assert "=== geotiff 3" in packed["live/geotiff-LICENSES.txt"]


@pytest.mark.parametrize("name", CLICK)
def test_rounding_changes_the_image_by_hundredths_of_a_digital_number(name, models, patches):
    model = models[name]
    near = rounded(model)
    assert not torch.equal(near.stem[1].conv.weight, model.stem[1].conv.weight)
    for patch in patches:
        off = np.abs(dcfnet.fuse(near, patch) - dcfnet.fuse(model, patch)).max()
        assert 0 < off < 0.05


def test_a_rounded_network_is_not_rounded_further(models):
    once = rounded(models["narrow"])
    twice = rounded(once)
    for name, weight in once.state_dict().items():
        assert torch.allclose(weight, twice.state_dict()[name], rtol=1e-6, atol=0), name
