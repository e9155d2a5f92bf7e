import dataclasses
import threading

import numpy as np
import pytest
import torch
from hypothesis import given

from dcfnet import WV3, load_scene, load_trained
from dcfnet.fusion.tiled import fuse_scene
from dcfnet.fusion.tiles import OVERLAP, TILE, tiles_along
from dcfnet.imagery.scene import Scene
from dcfnet.imagery.wald import full_resolution, reduce_resolution
from dcfnet.networks.one_pass import fuse
from tests.benchmarks.bench_tiles import displacement
from tests.support.tiles import Local, jobs


def test_tiles_through_ms_pixels_are_refused(network, scene):
    with pytest.raises(ValueError, match="multiples of 4"):
        fuse_scene(network, scene, tile=66)


def test_one_tile_is_one_pass_away_from_the_borders(network, scene):
    whole = fuse_scene(network, scene, tile=384, device="cpu")
    expected = fuse(network, full_resolution(scene))
    inner = np.s_[:, 128:-128, 128:-128]
    difference = np.abs(whole - expected)[inner].max()
    assert difference < 0.5 < np.abs(expected - full_resolution(scene).lms)[inner].max()


def test_interpolation_of_tiles_is_that_of_the_whole(scene):
    class Interpolation(torch.nn.Module):
        """Gives lms back."""

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, pan, ms, lms):
            return lms * self.weight

    tiled = fuse_scene(Interpolation(), scene, tile=64, overlap=8, device="cpu")
    lms = full_resolution(scene).lms
    inner = np.s_[:, 36:-36, 36:-36]
    np.testing.assert_allclose(tiled[inner], lms[inner], rtol=1e-5, atol=1e-3)


def test_seams_are_no_worse_than_the_rest(network, scene):
    """Against one pass, pixels beside seams may differ little, and less with more overlap."""
    one = fuse_scene(network, scene, tile=384, device="cpu")
    details = np.abs(one - full_resolution(scene).lms).mean()
    seam = []
    for overlap in (0, 32):
        tiled = fuse_scene(network, scene, tile=128, overlap=overlap, device="cpu")
        beside = np.zeros(scene.pan.shape, bool)
        for tile in tiles_along(96, 32, overlap // 4)[1:]:
            y = 4 * tile.keep_start
            beside[y - 2 : y + 2] = beside[:, y - 2 : y + 2] = True
        seam.append(np.abs(tiled - one)[:, beside].mean())
    assert seam[1] < 0.5 * seam[0]
    assert seam[1] < 0.1 * details


@pytest.mark.slow
def test_tiles_change_no_more_than_their_overlap_predicts():
    """Against one pass over 512 x 512: by as much as aligned corners displace the branches there.

    How much a pixel of displacement changes is taken from another pair, one pass over a quarter.
    """
    pytest.importorskip("dgsamples", reason="the network was trained on a scene of dgsamples")
    sample = reduce_resolution(load_scene("wv3-longmont")).crop(slice(160, 672), slice(0, 512))
    scene = Scene(sample.ms, sample.pan, WV3, np.ones((128, 128), bool))
    model = load_trained("narrow-whole-0")
    one = fuse_scene(model, scene, tile=512, overlap=0)

    def per_pixel(tiled, tiles):
        """Change per pixel of displacement, where that is 1 to 1.5 and 1.5 to 2 pixels."""
        moved = displacement(tiles)
        inner = np.s_[48 : len(moved) - 48, 48 : len(moved) - 48]
        moved = moved - displacement(tiles_along(128, 128, 0))[: len(moved)]
        moved = np.hypot(moved[:, None], moved)[inner]
        change = np.square(tiled - one[:, : tiled.shape[1], : tiled.shape[2]]).mean(axis=0)[inner]
        bins = [(moved >= low) & (moved < low + 0.5) for low in (1, 1.5)]
        return [np.sqrt(change[b].mean() / np.square(moved[b]).mean()) for b in bins]

    quarter = fuse_scene(model, scene.crop(slice(0, 64), slice(0, 64)), tile=256, overlap=0)
    predicted = max(per_pixel(quarter, tiles_along(64, 64, 0)))
    for overlap, holds in ((OVERLAP, True), (0, False)):
        tiled = fuse_scene(model, scene, tile=TILE, overlap=overlap)
        found = max(per_pixel(tiled, tiles_along(128, TILE // 4, overlap // 4)))
        assert (found < 1.05 * predicted) == holds


@pytest.mark.slow
def test_devices_share_the_tiles_and_the_result_is_the_same(network, scene):
    tiles = {"tile": 96, "overlap": 16}
    one = fuse_scene(network, scene, device="cpu", **tiles)
    threads = set()

    class Watched(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, pan, ms, lms):
            threads.add(threading.get_ident())
            return self.network(pan, ms, lms)

    three = fuse_scene(Watched(), scene, device=["cpu", "cpu", "cpu"], **tiles)
    assert 1 < len(threads) <= 3
    np.testing.assert_allclose(three, one, atol=1e-2)


def test_a_device_that_fails_ends_the_work(scene):
    class Failing(torch.nn.Conv2d):
        def forward(self, pan, ms, lms):
            raise RuntimeError("out of memory")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="out of memory"):
        fuse_scene(Failing(1, 1, 1), scene, tile=64, overlap=8, device=["cpu", "cpu"])
    assert threading.active_count() == before


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "meta", []])
def test_a_device_that_is_not_there_is_refused(network, scene, device):
    with pytest.raises(ValueError, match="device|expected one of cpu"):
        fuse_scene(network, scene, device=device)


@given(jobs())
def test_tiles_of_a_local_network_are_one_pass_at_any_size(job):
    scene, tiles = job
    tiled = fuse_scene(Local(), scene, **tiles)
    whole = fuse_scene(Local(), scene, tile=96, overlap=4, device="cpu")  # one tile
    assert tiled.shape == (8, *scene.pan.shape)
    data = scene.mask.repeat(4, 0).repeat(4, 1) & (scene.pan > 0)
    assert not tiled[:, ~data].any() and not whole[:, ~data].any()
    # Pixels without data take the nearest value in their tile; a wider one may know a nearer.
    if data.all():
        np.testing.assert_allclose(tiled, whole, atol=0.01)
        far = np.s_[:, 36:-36, 36:-36]  # exp_upsample of the whole goes round at its borders
        one = fuse(Local(), full_resolution(scene))
        np.testing.assert_allclose(tiled[far], one[far], atol=0.01)


def test_no_data_stays_no_data_and_does_not_bleed(network, scene):
    mask = np.ones_like(scene.mask)
    mask[:, :10] = False
    ms, pan = scene.ms * mask, scene.pan.copy()
    pan[:, :40] = 0
    holed = dataclasses.replace(scene, ms=ms, pan=pan, mask=mask)
    fused = fuse_scene(network, holed, device="cpu")
    assert not fused[:, :, :40].any()
    beside = fused[:, :, 40:44].mean() / scene.ms[:, :, 10].mean()
    assert 0.7 < beside < 1.4  # zeros beyond the border would pull it down
