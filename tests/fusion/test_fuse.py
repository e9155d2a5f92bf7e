import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from filelock import FileLock
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from rasterio._err import CPLE_AppDefinedError

from dcfnet import WV3, DataError, build_network, load_scene, load_trained
from dcfnet.cli import main
from dcfnet.fusion.fuse import OVERLAP, TILE, displacement, fuse_files, fuse_scene, tiles_along
from dcfnet.imagery.scene import Scene
from dcfnet.imagery.simulated.camera import simulate_scene
from dcfnet.imagery.wald import Sample, degrade, full_resolution, reduce_resolution
from dcfnet.networks import NETWORKS
from dcfnet.networks.one_pass import fuse_sample


@pytest.fixture
def sample():
    rng = np.random.default_rng(0)
    return Sample(
        gt=None,
        ms=rng.integers(1, 2048, (8, 12, 16), np.uint16),
        lms=rng.uniform(0, 2047, (8, 48, 64)).astype(np.float32),
        pan=rng.integers(1, 2048, (48, 64), np.uint16),
        mask=np.ones((48, 64), bool),
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_digital_numbers_in_and_out(name, sample):
    torch.manual_seed(0)
    model = build_network(name)
    fused = fuse_sample(model, sample, WV3)
    assert fused.shape == sample.lms.shape and fused.dtype == np.float32
    pan, ms, lms = (
        torch.from_numpy(np.asarray(image, np.float32) / 2047)[None]
        for image in (sample.pan[None], sample.ms, sample.lms)
    )
    with torch.no_grad():
        expected = model.eval()(pan, ms, lms)[0].numpy() * 2047
    np.testing.assert_allclose(fused, expected, rtol=1e-4, atol=0.05)


def test_the_networks_mode_is_restored_even_after_an_error(sample):
    model = build_network("fusionnet", bands=4).train()
    with pytest.raises(DataError):
        fuse_sample(model, sample, WV3)
    assert model.training
    model = build_network("fusionnet").train()
    fuse_sample(model, sample, WV3)
    assert model.training


@pytest.fixture(scope="module")
def network():
    """A small DCFNet whose details are not zero, so that tiles can differ."""
    torch.manual_seed(0)
    model = build_network("dcfnet", width=0.125)
    with torch.no_grad():
        model.head.out.weight.normal_(0, 0.003)
    return model.eval()


@pytest.fixture(scope="module")
def scene():
    return simulate_scene(128, seed=3).crop(slice(16, 112), slice(16, 112))


@given(st.integers(1, 400), st.integers(1, 64), st.integers(0, 31))
def test_tiles_cover_an_axis_once(size, tile, overlap):
    assume(2 * overlap < tile)
    tiles = tiles_along(size, tile, overlap)
    assert [t.keep_start for t in tiles] == [0, *(t.keep_stop for t in tiles[:-1])]
    assert tiles[-1].keep_stop == size
    assert len({t.stop - t.start for t in tiles}) == 1
    for t in tiles:
        assert 0 <= t.start <= t.keep_start < t.keep_stop <= t.stop <= size
        assert t.keep_start - t.start >= overlap or t.start == 0
        assert t.stop - t.keep_stop >= overlap or t.stop == size


@pytest.mark.parametrize("tile, overlap", [(64, 32), (0, 0), (64, -4)])
def test_tiles_that_keep_nothing_are_refused(network, scene, tile, overlap):
    with pytest.raises(ValueError, match="less than half"):
        fuse_scene(network, scene, tile=tile, overlap=overlap)


def test_tiles_through_ms_pixels_are_refused(network, scene):
    with pytest.raises(ValueError, match="multiples of 4"):
        fuse_scene(network, scene, tile=66)


def test_one_tile_is_one_pass_away_from_the_borders(network, scene):
    whole = fuse_scene(network, scene, tile=384, device="cpu")
    expected = fuse_sample(network, full_resolution(scene), scene.sensor)
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


class Local(torch.nn.Module):
    """Sees two pixels around each, and MS: a network whose tiles can be told from one pass."""

    bands = 8

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(17, 6, 3, padding=1), torch.nn.Tanh(),
            torch.nn.Conv2d(6, 8, 3, padding=1),
        )  # fmt: skip
        torch.manual_seed(0)
        for parameter in self.parameters():
            torch.nn.init.normal_(parameter, 0, 0.2)

    def forward(self, pan, ms, lms):
        near = ms.repeat_interleave(4, -1).repeat_interleave(4, -2)
        return lms + 0.1 * self.layers(torch.cat((pan, lms, near), 1))


# On a busy machine anything may be slow.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def jobs(draw):
    """A scene of noise with or without gaps, and tiles that fit each other."""
    h, w = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ms = chance.integers(1, 2048, (8, h, w), np.uint16)
    pan = chance.integers(1, 2048, (4 * h, 4 * w), np.uint16)
    ms[:, : draw(st.integers(0, 3))] = 0
    pan[:, : draw(st.integers(0, 9))] = 0
    overlap = draw(st.integers(1, 4))
    tile = draw(st.integers(2 * overlap + 1, 16))
    scene = Scene(ms=ms, pan=pan, sensor=WV3, mask=ms.any(axis=0))
    return scene, {"tile": 4 * tile, "overlap": 4 * overlap, "device": "cpu"}


@settings(unhurried, max_examples=20)
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
        one = fuse_sample(Local(), full_resolution(scene), WV3)
        np.testing.assert_allclose(tiled[far], one[far], atol=0.01)


@settings(unhurried, max_examples=10)
@given(jobs(), st.sampled_from((None, 0, 7, 2047, 65535)), st.sampled_from(("u2", "i4")))
def test_a_file_is_the_array_rounded_at_any_size(tmp_path_factory, job, nodata, kind):
    scene, tiles = job
    folder = tmp_path_factory.mktemp("any")
    ms = np.where(scene.mask, scene.ms, nodata or 0).astype(kind)
    files = (
        write(folder / "ms.tif", ms, 1.2, nodata=nodata),
        write(folder / "pan.tif", scene.pan[None], 0.3),
    )
    # A value that means no data is none in the array either.
    mask = (scene.ms != 0).any(axis=0) & (scene.ms != (nodata or 0)).any(axis=0)
    scene = dataclasses.replace(scene, ms=scene.ms * mask, mask=mask)
    expected = np.clip(np.rint(fuse_scene(Local(), scene, **tiles)), 1, 2047)
    if nodata and nodata <= 2047:
        expected[expected == nodata] = nodata - 1
    data = mask.repeat(4, 0).repeat(4, 1) & (scene.pan > 0)
    found = fuse_files(Local(), *files, folder / "out.tif", WV3, **tiles)
    with rasterio.open(found) as file:
        assert file.dtypes[0] == np.dtype(kind).name and file.nodata == (nodata or 0)
        np.testing.assert_array_equal(file.read(), np.where(data, expected, nodata or 0))
    assert leftovers(folder) == []


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


# --- files

CRS = "EPSG:32613"


def write(path, image, pixel, nodata=None, crs=CRS, names=(), shift=(0.0, 0.0)):
    transform = Affine(pixel, 0, 487000 + shift[0], 0, -pixel, 4445000 + shift[1])
    with rasterio.open(
        path, "w", driver="GTiff", count=len(image), height=image.shape[1], width=image.shape[2],
        dtype=image.dtype, transform=transform, crs=crs, nodata=nodata,
    ) as file:  # fmt: skip
        file.write(image)
        for i, name in enumerate(names, 1):
            file.set_band_description(i, name)
    return path


@pytest.fixture
def files(tmp_path, scene):
    ms = write(tmp_path / "ms.tif", scene.ms, 1.2, names=[f"band {b}" for b in WV3.bands])
    return ms, write(tmp_path / "pan.tif", scene.pan[None], 0.3)


def fuse(network, files, out, **options):
    options = {"tile": 128, "overlap": 16, "device": "cpu"} | options
    return fuse_files(network, *files, out, WV3, **options)


def read(path):
    with rasterio.open(path) as file:
        return file.read()


def leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_a_file_is_the_scene_rounded_with_everything_kept(network, scene, files, tmp_path):
    out = fuse(network, files, tmp_path / "new" / "out.tif")
    expected = fuse_scene(network, scene, tile=128, overlap=16, device="cpu")
    expected = np.where(scene.pan > 0, np.clip(np.rint(expected), 1, 2047), 0)
    with rasterio.open(out) as file, rasterio.open(files[1]) as pan:
        np.testing.assert_array_equal(file.read(), expected)
        assert (file.crs, file.transform, file.shape) == (pan.crs, pan.transform, pan.shape)
        assert file.descriptions == tuple(f"band {b}" for b in WV3.bands)
        assert set(file.dtypes) == {"uint16"} and file.nodata == 0
        assert file.profile["tiled"] and file.compression.name == "deflate"
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert leftovers(out.parent) == []


def test_gdalinfo_sees_the_georeferencing(network, files, tmp_path):
    if not shutil.which("gdalinfo"):
        pytest.skip("gdalinfo is not installed")
    out = fuse(network, files, tmp_path / "out.tif")

    def info(path):
        run = subprocess.run(["gdalinfo", "-json", path], capture_output=True, check=True)
        return json.loads(run.stdout)

    found, pan = info(out), info(files[1])
    assert found["geoTransform"] == pan["geoTransform"] and found["size"] == pan["size"]
    assert "UTM zone 13N" in found["coordinateSystem"]["wkt"]
    assert len(found["bands"]) == 8 and found["bands"][0]["noDataValue"] == 0


def test_degraded_back_it_agrees_with_ms_better_than_interpolation(tmp_path):
    pytest.importorskip("dgsamples", reason="the network was trained on a scene of dgsamples")
    scene = load_scene("wv3-longmont").crop(slice(300, 348), slice(540, 588))
    files = (
        write(tmp_path / "ms.tif", scene.ms, 1.2),
        write(tmp_path / "pan.tif", scene.pan[None], 0.3),
    )
    fused = read(fuse(load_trained("dcfnet"), files, tmp_path / "out.tif", overlap=32))
    inner = np.s_[:, 8:-8, 8:-8]
    errors = [
        np.sqrt(((degrade(image, WV3) - scene.ms)[inner] ** 2).mean())
        for image in (fused, full_resolution(scene).lms)
    ]
    assert errors[0] < errors[1]


def test_a_killed_process_is_resumed_to_the_same_file(network, files, tmp_path):
    expected = read(fuse(network, files, tmp_path / "expected.tif", tile=96))
    weights, out = tmp_path / "weights.pt", tmp_path / "out.tif"
    torch.save(network.state_dict(), weights)
    code = f"""
import os, signal, torch
from dcfnet import WV3, build_network
from dcfnet.fusion.fuse import fuse_files
model = build_network("dcfnet", width=0.125)
model.load_state_dict(torch.load({str(weights)!r}))
def kill(row, rows):
    if row == 2: os.kill(os.getpid(), signal.SIGKILL)
fuse_files(model, {str(files[0])!r}, {str(files[1])!r}, {str(out)!r}, WV3, tile=96, overlap=16,
           device="cpu", on_row=kill)
"""
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()
    assert not out.exists()
    rows = []
    fuse(network, files, out, tile=96, on_row=lambda row, _: rows.append(row))
    assert rows[0] == 3
    np.testing.assert_array_equal(read(out), expected)
    assert leftovers(tmp_path) == []


def test_work_of_other_settings_is_not_resumed(network, files, tmp_path):
    def stop(row, rows):
        raise KeyboardInterrupt

    out, rows = tmp_path / "out.tif", []
    with pytest.raises(KeyboardInterrupt):
        fuse(network, files, out, on_row=stop)
    fuse(network, files, out, overlap=32, on_row=lambda row, _: rows.append(row))
    assert rows[0] == 1


def test_a_file_that_cannot_be_written_says_so_and_leaves_nothing_half(network, files, tmp_path):
    out = tmp_path / "out.tif"
    with pytest.raises(OSError, match="GiB free"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
        fuse(network, files, out)
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        # Less than the work file needs.
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(OSError):
            fuse(network, files, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not out.exists()


def test_a_disk_that_fills_up_at_the_end_costs_no_work(network, files, tmp_path, monkeypatch):
    def fail(source, target, **_):
        Path(target).write_text("half")
        raise CPLE_AppDefinedError(3, 1, "An error occurred while writing a dirty block")

    out, rows = tmp_path / "out.tif", []
    with monkeypatch.context() as patch, pytest.raises(OSError, match="is the disk full"):
        patch.setattr(rasterio.shutil, "copy", fail)
        fuse(network, files, out)
    assert sorted(leftovers(tmp_path)) == [".out.tif.journal", ".out.tif.work"]
    fuse(network, files, out, on_row=lambda row, _: rows.append(row))
    assert read(out).shape == (8, 384, 384) and rows == [] == leftovers(tmp_path)


def test_another_no_data_value_is_kept(network, scene, tmp_path):
    ms = scene.ms.copy()
    ms[:, :8] = 65535
    files = (
        write(tmp_path / "ms.tif", ms, 1.2, nodata=65535),
        write(tmp_path / "pan.tif", scene.pan[None], 0.3),
    )
    with rasterio.open(fuse(network, files, tmp_path / "out.tif")) as file:
        image = file.read()
        assert file.nodata == 65535
    assert (image[:, :32] == 65535).all() and (image[:, 32:] <= 2047).all()


def test_sizes_that_do_not_fit_are_cropped_to_common_ground(network, scene, tmp_path):
    files = (
        write(tmp_path / "ms.tif", scene.ms[:, :, :61], 1.2),
        write(tmp_path / "pan.tif", scene.pan[None, 6:, :250], 0.3, shift=(0, -1.8)),
    )
    with rasterio.open(fuse(network, files, tmp_path / "out.tif")) as file:
        assert file.shape == (4 * 94, 4 * 61)
        assert file.transform.f == pytest.approx(4445000 - 2.4)


BAD = {
    "a fraction of a pixel": (lambda s: {"shift": (0.1, 0)}, "whole PAN pixels"),
    "elsewhere": (lambda s: {"shift": (5000, 0)}, "do not overlap"),
    "no coordinate system": (lambda s: {"crs": None}, "coordinate system"),
    "too many bands": (lambda s: {"image": np.stack([s.pan] * 2)}, "2 bands"),
    "reflectances": (lambda s: {"image": s.pan[None] / np.float32(2047)}, "whole digital"),
    "16 bits": (lambda s: {"image": s.pan[None] * np.uint16(30)}, "expected 0 to 2047"),
}


@pytest.mark.parametrize("what", BAD)
def test_pairs_that_do_not_fit_are_refused(network, scene, files, tmp_path, what):
    make, message = BAD[what]
    options = {"image": scene.pan[None], "pixel": 0.3} | make(scene)
    pan = write(tmp_path / "bad.tif", **options)
    with pytest.raises(DataError, match=message):
        fuse(network, (files[0], pan), tmp_path / "out.tif")
    assert not (tmp_path / "out.tif").exists() and leftovers(tmp_path) == []


def test_one_process_at_a_time_makes_a_result(network, files, tmp_path):
    out = tmp_path / "out.tif"
    with FileLock(tmp_path / ".out.tif.lock"), pytest.raises(DataError, match="another process"):
        fuse(network, files, out)
    assert not out.exists()


def test_files_are_not_overwritten_unasked(network, files, tmp_path):
    out = tmp_path / "out.tif"
    out.write_text("mine")
    with pytest.raises(DataError, match="exists already"):
        fuse(network, files, out)
    with pytest.raises(DataError, match="is an input"):
        fuse(network, files, files[0], overwrite=True)
    assert out.read_text() == "mine"
    fuse(network, files, out, overwrite=True)
    assert read(out).shape == (8, 384, 384)


@pytest.mark.parametrize("what", ["pipe", "link to itself", "folder", "nothing"])
def test_what_is_no_file_is_refused(network, files, tmp_path, what):
    files[1].unlink()
    if what == "pipe":
        os.mkfifo(files[1])  # to open it would wait for ever
    elif what == "link to itself":
        files[1].symlink_to(files[1].name)
    elif what == "folder":
        files[1].mkdir()
    with pytest.raises(DataError, match="cannot read"):
        fuse(network, files, tmp_path / "out.tif")
    assert leftovers(tmp_path) == []


def test_a_network_that_gives_nan_is_refused(files, tmp_path):
    class Broken(torch.nn.Conv2d):
        bands = 8

        def forward(self, pan, ms, lms):
            return lms * torch.nan

    with pytest.raises(DataError, match="NaN or infinity"):
        fuse(Broken(1, 1, 1), files, tmp_path / "out.tif")
    assert leftovers(tmp_path) == []


def test_pixel_types_that_numpy_lacks_are_refused(network, files, scene, tmp_path):
    with rasterio.open(files[1]) as file:
        profile = file.profile | {"dtype": "complex_int16"}
    with rasterio.open(files[1], "w", **profile) as file:
        file.write(scene.pan[None].astype("c8"))
    with pytest.raises(DataError, match="complex_int16 values, expected whole digital numbers"):
        fuse(network, files, tmp_path / "out.tif")


def test_a_result_replaces_files_alone_and_no_input_under_another_name(network, files, tmp_path):
    pipe, link, hard = (tmp_path / name for name in ("pipe", "link.tif", "hard.tif"))
    os.mkfifo(pipe)
    link.symlink_to(files[0])
    hard.hardlink_to(files[1])
    with pytest.raises(DataError, match="a folder or a device"):
        fuse(network, files, pipe, overwrite=True)
    for out in (link, hard):
        with pytest.raises(DataError, match="is an input"):
            fuse(network, files, out, overwrite=True)
    assert pipe.is_fifo() and link.is_symlink()


def test_what_a_process_killed_while_writing_left_is_cleared_away(network, files, tmp_path):
    out = tmp_path / "a [1] & b.tif"
    mine = tmp_path / ".a 1 & b.tif.9.part"  # of another result
    for left in (f".{out.name}.9.part", f".{out.name}.9.part.ovr.tmp", f".{out.name}.lock"):
        (tmp_path / left).touch()
    mine.touch()
    fuse(network, files, out, tile=384)
    assert leftovers(tmp_path) == [mine.name]


@pytest.mark.parametrize("damaged", [-2, 0, 1e999, 99, "nonsense"])
def test_a_damaged_journal_is_not_followed(network, scene, tmp_path, damaged):
    small = scene.crop(slice(0, 16), slice(0, 8))
    files = (
        write(tmp_path / "ms.tif", small.ms, 1.2),
        write(tmp_path / "pan.tif", small.pan[None], 0.3),
    )

    def stop(row, total):
        raise KeyboardInterrupt

    out, rows, journal = tmp_path / "out.tif", [], tmp_path / ".out.tif.journal"
    tiles = {"tile": 32, "overlap": 4}
    with pytest.raises(KeyboardInterrupt):
        fuse(network, files, out, on_row=stop, **tiles)
    journal.write_text(json.dumps(json.loads(journal.read_text()) | {"rows": damaged}))
    fuse(network, files, out, on_row=lambda row, total: rows.append(row), **tiles)
    assert rows == [1, 2, 3]


def test_a_truncated_file_is_a_data_error(network, files, tmp_path):
    data = files[1].read_bytes()
    files[1].write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="cannot read"):
        fuse(network, files, tmp_path / "out.tif")
    assert leftovers(tmp_path) == []


def test_the_command(files, tmp_path, capsys):
    args = ["fuse", "--ms", str(files[0]), "--pan", str(files[1]), "--sensor", "wv3"]
    args += ["--network", "pannet", "--device", "cpu", str(tmp_path / "out.tif")]
    assert main(args) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out.tif")
    assert main(args) == 2
    assert "exists already" in capsys.readouterr().err
