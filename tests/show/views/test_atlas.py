"""The maps behind the explorer of class activation maps."""

import json
import time
from dataclasses import replace
from statistics import median

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the extra book is not installed")

from dcfnet import GradCAM
from dcfnet.show.views.atlas import CamAtlas
from tests.show.views.conftest import BOX, PARTS, gradcam, network, patch

EDGES = [4, 20, 8, 24]  # of BOX


def key(part, kind, bands):
    return json.dumps([0, PARTS.index(part), kind, bands, EDGES])


@pytest.mark.parametrize("part", PARTS)
def test_maps_are_those_of_gradcam(part):
    atlas = CamAtlas(network(), {"a": patch()}, PARTS)
    wanted = gradcam(patch(), {2: 1.0, 6: 1.0}, BOX)[part]
    for kind, values in {
        "before": wanted.map("before"),
        "signed": wanted.signed,
        "feature": wanted.features,
    }.items():
        found = atlas.map(key(part, kind, [2, 6]))
        scale = float(values.abs().max())
        assert np.allclose(found, values[0], rtol=1e-4, atol=1e-5 * scale), kind


def test_a_patch_without_truth_has_a_picture():
    sample = replace(patch(), gt=None)
    pictures = CamAtlas(network(), {"a": sample, "b": patch()}, PARTS).pictures()
    assert [images.shape for images in pictures.values()] == 2 * [(2, 32, 32, 3)]


def test_nothing_is_computed_twice(monkeypatch):
    passes = []
    maps = GradCAM.maps
    monkeypatch.setattr(
        GradCAM, "maps", lambda self, *args: passes.append(args) or maps(self, *args)
    )
    atlas = CamAtlas(network(), {"a": patch()}, PARTS)
    for part in PARTS:
        for kind in ("signed", "before"):
            for bands in ([5], [6], [5, 6]):
                atlas.map(key(part, kind, bands))
    assert [band for band, _ in passes] == [5, 6]  # one pass of a band serves all


def test_a_band_or_part_is_computed_soon():
    atlas = CamAtlas(network(1.0), {"a": patch(size=64)}, PARTS)
    seconds = []
    for band in range(8):
        start = time.perf_counter()
        atlas.map(key("pcft2", "signed", [band]))
        seconds.append(time.perf_counter() - start)
    start = time.perf_counter()
    atlas.map(key("head.concat", "signed", [7]))
    part = time.perf_counter() - start
    print(f"a band: {median(seconds):.3f} s, a part: {part:.3f} s")
    # Wanted below 0.3 s on two idle cores: three times that where others work too.
    assert median(seconds) < 0.9
    assert part < 0.9
