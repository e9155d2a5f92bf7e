"""Adapting: blocks one scale down, and a network that is kept only where it is better."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dcfnet import DataError, build_network, load_scene, reduce_resolution
from dcfnet.fusion.adapt import ADAPTING, STEPS, adapt, with_fixed_norms
from dcfnet.fusion.below import HELD_BACK, below
from dcfnet.imagery.source import SceneSource
from dcfnet.networks import load_weights
from dcfnet.training.evaluate import evaluate_network


@pytest.fixture(scope="module")
def town():
    return load_scene("simulated")


@pytest.fixture(scope="module")
def scene(town):
    return town.crop(slice(0, 256), slice(0, 256))


class Spied(SceneSource):
    """Notes how much of the scene is read."""

    pixels = 0

    def read_ms(self, rows, cols):
        self.pixels += (rows.stop - rows.start) * (cols.stop - cols.start)
        return super().read_ms(rows, cols)


def test_a_block_is_the_scene_one_scale_down(scene):
    (block,) = below(scene).blocks
    expected = reduce_resolution(scene)
    for name in ("gt", "ms", "pan", "mask"):
        np.testing.assert_array_equal(getattr(block, name), getattr(expected, name))


def test_blocks_of_a_larger_scene_agree_with_the_whole(town, monkeypatch):
    monkeypatch.setattr("dcfnet.fusion.below.BLOCK", 128)
    whole = reduce_resolution(town)
    found = below(town, most=4, seed=1).blocks
    assert len(found) == 4
    for block in found:
        h, w = block.shape
        corners = (whole.gt[:, ::4, ::4] == block.gt[:, :1, :1]).all(axis=0)
        places = [
            (y, x)
            for y, x in 4 * np.argwhere(corners)
            if np.array_equal(whole.gt[:, y : y + h, x : x + w], block.gt)
        ]
        ((y, x),) = places
        # What lies beyond the margin reaches no pixel: the filters' borders do not show.
        np.testing.assert_array_equal(
            block.ms, whole.ms[:, y // 4 :][:, : h // 4, x // 4 :][..., : w // 4]
        )
        np.testing.assert_array_equal(block.pan, whole.pan[y : y + h, x : x + w])


def test_only_the_blocks_are_read(town):
    source = Spied(town)
    below(source, most=1)
    assert 0 < source.pixels < 0.7 * town.mask.size


def test_ground_without_data_or_without_contrast_is_left_out(scene):
    ms, pan, mask = scene.ms.copy(), scene.pan.copy(), scene.mask.copy()
    mask[:64, :64] = False
    pan[600:, 600:] = 500  # water
    found = below(replace(scene, ms=ms, pan=pan, mask=mask))
    patches = found.patches("train", size=32, stride=8).places
    assert patches
    for block, (rows, cols) in patches:
        assert block.mask[rows, cols].all() and np.ptp(block.pan[rows, cols]) > 0
        assert rows.start >= 64 or cols.start >= 64


def test_held_back_ground_is_never_learnt_from(scene):
    found = below(scene)
    train = found.patches("train", size=32, stride=8)
    valid = found.patches("valid", size=24, stride=12)
    border = round((1 - HELD_BACK) * 256 / 4) * 4
    assert max(window.cols.stop for _, window in train.places) <= border
    assert min(window.cols.start for _, window in valid.places) >= border
    assert found.held_back()[0].shape[1] == 256 - border
    few = found.patches("train", size=32, stride=8, most=20, seed=3)
    again = found.patches("train", size=32, stride=8, most=20, seed=3)
    assert len(few) == 20 and [w for _, w in few.places] == [w for _, w in again.places]


@pytest.fixture(scope="module")
def lost():
    """A network that has never seen anything: EXP with a little noise in it."""
    torch.manual_seed(0)
    model = build_network("fusionnet").eval()
    with torch.no_grad():
        model.last.weight.mul_(0.05)
    return model


@pytest.mark.slow
def test_adapting_helps_and_leaves_the_given_network_alone(scene, lost, tmp_path):
    weights = {name: value.clone() for name, value in lost.state_dict().items()}
    result = adapt(lost, scene, run_dir=tmp_path / "run")
    assert result.better and result.after["sam"] < 0.95 * result.before["sam"]
    assert all(torch.equal(value, lost.state_dict()[name]) for name, value in weights.items())
    record = json.loads((tmp_path / "run" / "adapted.json").read_text())
    assert record["better"] is True and record["after"] == result.after
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    steps = run["epochs"] * (result.patches // 32)
    assert STEPS <= steps < STEPS + result.patches // 32
    # The same call finds it done, and comes to the same.
    again = adapt(lost, scene, run_dir=tmp_path / "run")
    assert again.after == result.after


@pytest.mark.slow
def test_what_was_better_is_kept(scene, lost, tmp_path):
    bad = replace(ADAPTING, epochs=1, lr=0.05)
    result = adapt(lost, scene, plan=bad, run_dir=tmp_path / "run")
    assert not result.better and result.after["loss"] > result.before["loss"]
    for name, value in lost.state_dict().items():
        assert torch.equal(result.model.state_dict()[name], value)
    kept = load_weights(tmp_path / "run" / "weights.safetensors")
    assert torch.equal(kept.last.weight, lost.last.weight)
    assert "made it worse" in str(result)


def test_training_leaves_fixed_statistics_alone_and_the_state_fits(network, scene):
    def statistics(model):
        return {name: value for name, value in model.named_buffers() if "running" in name}

    model = copy.deepcopy(network)
    fixed = with_fixed_norms(model).train()
    inputs = below(scene).blocks[0].crop(slice(0, 32), slice(0, 32)).inputs()
    torch.testing.assert_close(fixed(*inputs), model(*inputs))
    optimiser = torch.optim.SGD(fixed.parameters(), lr=1e-3)
    fixed(*inputs).square().mean().backward()
    optimiser.step()
    for name, value in statistics(fixed).items():
        assert torch.equal(value, statistics(model)[name])
    given = model(*inputs).detach()
    model.load_state_dict(fixed.state_dict())
    torch.testing.assert_close(model(*inputs), fixed(*inputs))
    assert not torch.equal(model(*inputs), given)


def test_a_scene_too_small_is_refused(scene, lost):
    with pytest.raises(DataError, match=r"too small to adapt to: \d+ patches.*at least 64"):
        adapt(lost, scene.crop(slice(0, 64), slice(0, 64)))
    with pytest.raises(DataError, match="for 4 bands"):
        adapt(build_network("fusionnet", 4), scene)
    empty = replace(scene, mask=np.zeros_like(scene.mask))
    with pytest.raises(DataError, match="hardly any data"):
        adapt(lost, empty)


@pytest.mark.slow
def test_minutes_decide_how_long(scene, lost):
    result = adapt(lost, scene, minutes=0.05)
    assert result.seconds < 60 and result.after["loss"] < result.before["loss"]


@pytest.mark.slow
def test_measured_on_what_is_held_back(scene, lost):
    blocks = below(scene)
    result = adapt(lost, blocks, plan=replace(ADAPTING, epochs=1))
    valid = blocks.patches("valid", size=24, stride=12, most=64)
    assert evaluate_network(lost, valid) == result.before
