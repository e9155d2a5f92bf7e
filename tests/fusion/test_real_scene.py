"""What adapting brings on real imagery: one scale down, then measured at the scale above it.

The networks of the book were trained on WorldView-3. They are adapted to the WorldView-2 image of
the same town with nothing but a coarse pair, and measured where the truth, its MS, was not touched.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from dcfnet import (
    DataError,
    Scene,
    adapt,
    fuse,
    load_released,
    load_scene,
    load_trained,
    reduce_resolution,
)
from dcfnet.fusion.adapt import ADAPTING
from dcfnet.fusion.below import CroppedPatches
from dcfnet.measure import metrics
from dcfnet.training.evaluate import recompute_norms

pytestmark = pytest.mark.slow
RELEASED = os.environ.get("DCFNET_RELEASED_WEIGHTS", "")

BORDER = 16
"""Pixels at the border that are not measured."""


@pytest.fixture(scope="module")
def coarse():
    """The WorldView-2 chip one scale down, and that as a scene of its own."""
    pytest.importorskip("dgsamples", reason="the scene is one of dgsamples")
    sample = reduce_resolution(load_scene("wv2-longmont"))
    h, w = sample.ms.shape[1:]
    mask = sample.mask.reshape(h, 4, w, 4).all(axis=(1, 3))
    return sample, Scene(sample.ms, sample.pan, sample.sensor, mask)


def errors(model, sample):
    """SAM, ERGAS and Q8 off the border."""
    height, width = sample.shape
    inner = slice(BORDER, height - BORDER), slice(BORDER, width - BORDER)
    image = fuse(model.fused_for_inference(), sample)[:, *inner]
    found = metrics.evaluate(sample.crop(*inner), image, masked=True)
    return np.array([found["sam"], found["ergas"], -found["q2n"]])


@pytest.mark.parametrize(
    ("name", "bounds"),
    [("fusionnet", (3.7, 2.55, -0.905)), ("dcfnet-narrow", (3.1, 2.35, -0.915))],
)
def test_a_network_of_the_book_adapts_to_worldview_2(coarse, name, bounds):
    sample, scene = coarse
    model = load_trained(name)
    result = adapt(model, scene)
    before, after = errors(model, sample), errors(result.model, sample)
    assert result.better and (after < before).all()
    assert (after <= bounds).all(), after


def test_three_steps_help_the_dcfnet_of_the_papers_width(coarse):
    """All 80 take minutes: `tests.benchmarks.bench_adapt` measures what they bring."""
    _, scene = coarse
    result = adapt(load_trained("dcfnet"), scene, plan=replace(ADAPTING, epochs=1))
    assert result.better and result.after["sam"] < 0.8 * result.before["sam"]
    assert result.after["ergas"] < 0.9 * result.before["ergas"]


@pytest.mark.skipif(
    not (Path(RELEASED) / "wv2" / "fusionnet.pth").is_file(),
    reason="DCFNET_RELEASED_WEIGHTS names no folder with wv2/fusionnet.pth",
)
def test_the_released_fusionnet_adapts_to_its_own_sensor(coarse):
    sample, scene = coarse
    model = load_released("fusionnet", Path(RELEASED) / "wv2" / "fusionnet.pth")
    after = errors(adapt(model, scene).model, sample)
    assert (after <= (3.005, 2.2, -0.93)).all(), after


def test_statistics_of_the_scene_alone_bring_dcfnet_most_of_the_way(coarse):
    """The same weights; what normalises them is taken from windows all over what is fused."""
    sample, _ = coarse
    model = load_trained("dcfnet")
    ys, xs = (range(0, size - 127, (size - 128) // 12 * 4) for size in sample.shape)
    windows = [np.s_[y : y + 128, x : x + 128] for y in ys for x in xs]
    spread = CroppedPatches((sample, window) for window in windows)
    recompute_norms(model, DataLoader(spread, batch_size=4))
    after = errors(model, sample)
    assert (after <= (3.75, 2.7, -0.905)).all(), after


def test_where_adapting_would_do_harm_the_network_stays_as_it_is(coarse):
    """On 64 x 64 MS pixels of such a scene: refused, or not worse than before."""
    _, scene = coarse
    model = load_trained("fusionnet")
    with pytest.raises(DataError, match="too small"):
        adapt(model, scene.crop(slice(0, 64), slice(0, 64)))
    small = scene.crop(slice(0, 96), slice(0, 96))
    try:
        result = adapt(model, small)
    except DataError as error:
        assert "too small" in str(error)
    else:
        assert not result.better or result.after["loss"] < result.before["loss"]
