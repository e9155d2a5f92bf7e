import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.env import getenv

from dcfnet import WV3, DataError, load_scene, load_trained
from dcfnet.fusion.files import fuse_files
from dcfnet.fusion.tiled import fuse_scene
from dcfnet.imagery.classical import METHODS
from dcfnet.imagery.filters import degrade
from dcfnet.imagery.simulated.camera import simulate_scene
from dcfnet.imagery.wald import full_resolution
from tests.support.rasters import CORNER, RPCS, hide, write_pair, write_tif
from tests.support.tiles import Local, jobs


@settings(max_examples=10)
@given(jobs(), st.sampled_from((None, 0, 7, 2047, 65535)), st.sampled_from(("u2", "i4")))
def test_a_file_is_the_array_rounded_at_any_size(tmp_path_factory, job, nodata, kind):
    scene, tiles = job
    folder = tmp_path_factory.mktemp("any")
    ms = np.where(scene.mask, scene.ms, nodata or 0).astype(kind)
    files = write_pair(folder, ms, scene.pan, nodata=nodata)
    # A value that means no data, in any band, is none in the array either.
    mask = (scene.ms != 0).any(axis=0) & (scene.ms != (nodata or 0)).all(axis=0)
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


def fuse(quick, files, out, **options):
    options = {"tile": 128, "overlap": 16, "device": "cpu"} | options
    return fuse_files(quick, *files, out, WV3, **options)


def read(path):
    with rasterio.open(path) as file:
        return file.read()


def rows_fused(quick, files, out, **options):
    """The rows of tiles that a call fuses."""
    rows = []
    fuse(quick, files, out, on_row=lambda row, _: rows.append(row), **options)
    return rows


def interrupt(quick, files, out, **options):
    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fuse(quick, files, out, on_row=stop, **options)


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


def test_the_bytes_of_a_result_are_those_of_any_number_of_threads(tmp_path, monkeypatch):
    scene, asked, copy = simulate_scene(192, seed=3), [], rasterio.shutil.copy  # 4 blocks and more

    def observed(*names, **options):
        asked.append(options.get("NUM_THREADS"))
        copy(*names, **options)

    monkeypatch.setattr(rasterio.shutil, "copy", observed)
    files = write_pair(tmp_path, scene.ms, scene.pan)
    results = []
    for threads in (1, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        out = fuse(METHODS["exp"], files, tmp_path / f"{threads}.tif")
        results.append(out.read_bytes())
    assert results[0] == results[1] and asked == [None, "1", None, "2"]


def test_gdal_keeps_little_and_at_the_end_a_row_of_blocks_of_a_wide_result(tmp_path, monkeypatch):
    pan = np.full((4, 10_000), 800, np.uint16)
    files = write_pair(tmp_path, np.full((8, 1, 2500), 500, np.uint16), pan)
    fusing, copying, copy = [], [], rasterio.shutil.copy

    def observed(*names, **options):
        copying.append(getenv()["GDAL_CACHEMAX"])
        copy(*names, **options)

    monkeypatch.setattr(rasterio.shutil, "copy", observed)
    out = tmp_path / "out.tif"
    fuse(METHODS["exp"], files, out, on_row=lambda *_: fusing.append(getenv()["GDAL_CACHEMAX"]))
    row_of_blocks = 8 * 512 * 10_000 * 2
    assert max(fusing) < row_of_blocks <= copying[-1]  # bytes, not MiB


@pytest.mark.slow
def test_degraded_back_it_agrees_with_ms_better_than_interpolation(tmp_path):
    pytest.importorskip("dgsamples", reason="the network was trained on a scene of dgsamples")
    scene = load_scene("wv3-longmont").crop(slice(300, 348), slice(540, 588))
    files = write_pair(tmp_path, scene.ms, scene.pan)
    fused = read(fuse(load_trained("dcfnet"), files, tmp_path / "out.tif", overlap=32))
    inner = np.s_[:, 8:-8, 8:-8]
    errors = [
        np.sqrt(((degrade(image, WV3) - scene.ms)[inner] ** 2).mean())
        for image in (fused, full_resolution(scene).lms)
    ]
    assert errors[0] < errors[1]


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
@pytest.mark.slow
def test_a_killed_process_is_resumed_to_the_same_file(network, files, tmp_path, name):
    expected = read(fuse(network, files, tmp_path / "expected.tif", tile=96))
    weights, out = tmp_path / "weights.pt", tmp_path / "out.tif"
    torch.save(network.state_dict(), weights)
    code = f"""
import os, signal, torch
from dcfnet import WV3, build_network
from dcfnet.fusion.files import fuse_files
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
model = build_network("dcfnet", width=0.125)
model.load_state_dict(torch.load({str(weights)!r}))
def kill(row, rows):
    if row == 2: os.kill(os.getpid(), signal.{name})
fuse_files(model, {str(files[0])!r}, {str(files[1])!r}, {str(out)!r}, WV3, tile=96, overlap=16,
           device="cpu", on_row=kill)
"""
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert killed.returncode == -getattr(signal, name), killed.stderr.decode()
    assert not out.exists()
    assert rows_fused(network, files, out, tile=96)[0] == 3
    np.testing.assert_array_equal(read(out), expected)
    assert leftovers(tmp_path) == []


def test_a_disk_with_too_little_room_is_told(quick, files, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    with pytest.raises(OSError, match="GiB free"):
        fuse(quick, files, tmp_path / "out.tif")


@pytest.fixture
def file_size():
    """Sets the size in bytes that no file may exceed; what would, fails as on a full disk."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.slow
@pytest.mark.parametrize("row", [1, 4], ids=["on the way", "at the end"])
def test_a_disk_that_fills_up_costs_no_finished_row(quick, files, tmp_path, file_size, row):
    """Row 4 is the last; then the result itself finds no room."""
    out = tmp_path / "out.tif"
    with pytest.raises(OSError, match="cannot write .*out.tif.*is the disk full"):
        fuse(quick, files, out, on_row=lambda number, _: number == row and file_size(200_000))
    assert sorted(leftovers(tmp_path)) == [".out.tif.journal", ".out.tif.work", ".out.tif.work.hdr"]
    file_size(-1)
    assert rows_fused(quick, files, out) == [*range(row + 1, 5)] and leftovers(tmp_path) == []
    np.testing.assert_array_equal(read(out), read(fuse(quick, files, tmp_path / "whole.tif")))


class GdalError(Exception):
    """Like GDAL's own errors, some of which rasterio lets through."""


def test_an_error_of_gdals_own_at_the_end_costs_no_work(quick, files, tmp_path, monkeypatch):
    copy = rasterio.shutil.copy

    def fail(source, target, driver, **options):
        if driver != "COG":
            return copy(source, target, driver=driver, **options)
        Path(target).write_text("half")
        raise GdalError("An error occurred while writing a dirty block")

    out = tmp_path / "out.tif"
    with monkeypatch.context() as patch, pytest.raises(OSError, match="is the disk full"):
        patch.setattr(rasterio.shutil, "copy", fail)
        fuse(quick, files, out)
    assert sorted(leftovers(tmp_path)) == [".out.tif.journal", ".out.tif.work", ".out.tif.work.hdr"]
    assert rows_fused(quick, files, out) == [] == leftovers(tmp_path)
    assert read(out).shape == (8, 384, 384)


def test_what_a_mask_hides_is_no_data_of_the_result(quick, files, tmp_path):
    hide(files[0], np.s_[:10])
    hide(files[1], np.s_[:40])
    with rasterio.open(fuse(quick, files, tmp_path / "out.tif")) as file:
        assert not file.dataset_mask()[:40].any() and file.dataset_mask()[40:].all()
        assert file.files == [str(tmp_path / "out.tif")]


@pytest.mark.parametrize("nodata", [None, np.nan, -1e30])
def test_whole_numbers_in_floats_give_the_same_result(quick, scene, files, tmp_path, nodata):
    ms = scene.ms.astype(np.float32)
    ms[:, :5] = 0 if nodata is None else nodata
    floats = write_tif(tmp_path / "floats.tif", ms, 1.2, nodata=nodata)
    cut = scene.ms.copy()
    cut[:, :5] = 0
    whole = write_tif(tmp_path / "whole.tif", cut, 1.2)
    with rasterio.open(fuse(quick, (floats, files[1]), tmp_path / "out.tif")) as file:
        assert set(file.dtypes) == {"uint16"} and file.nodata == 0
        expected = read(fuse(quick, (whole, files[1]), tmp_path / "expected.tif"))
        np.testing.assert_array_equal(file.read(), expected)


def test_tags_scales_and_units_of_ms_describe_the_result(quick, files, tmp_path):
    with rasterio.open(files[0], "r+") as file:
        file.update_tags(TIFFTAG_COPYRIGHT="(c) someone", NODATA_VALUES="1 " * 8, mission="own")
        file.update_tags(TIFFTAG_SOFTWARE="another")
        file.update_tags(2, wavelength="480", STATISTICS_MEAN="3")
        file.scales, file.offsets = (0.01,) * 8, (1.0,) * 8
        file.units = ("W",) * 8
    with rasterio.open(files[1], "r+") as file:
        file.update_tags(AREA_OR_POINT="Point")
    with rasterio.open(fuse(quick, files, tmp_path / "out.tif")) as file:
        tags = {"TIFFTAG_COPYRIGHT": "(c) someone", "mission": "own", "AREA_OR_POINT": "Point"}
        tags["TIFFTAG_SOFTWARE"] = "dcfnet (torch)"
        assert file.tags() == tags
        assert file.tags(2)["wavelength"] == "480" and "STATISTICS_MEAN" not in file.tags(2)
        assert file.scales == (0.01,) * 8 and file.offsets == (1.0,) * 8
        assert file.units == ("W",) * 8
        with rasterio.open(files[1]) as pan:
            assert file.transform == pan.transform


def test_rpcs_and_control_points_are_handed_on(quick, scene, files, tmp_path):
    cut = tmp_path / "cut.tif"
    write_tif(cut, scene.pan[None, 8:], 0.3, shift=(0, -2.4), rpcs=RPCS)
    with rasterio.open(fuse(quick, (files[0], cut), tmp_path / "out.tif")) as file:
        assert file.rpcs == RPCS and file.transform.f == pytest.approx(CORNER[1] - 2.4)
    bare = {"transform": Affine.identity(), "crs": "EPSG:4326"}
    points = [
        GroundControlPoint(row=384 * i, col=384 * j, x=-105 + j, y=40 - i, z=5)
        for i in (0, 1)
        for j in (0, 1)
    ]
    pair = (
        write_tif(tmp_path / "bare_ms.tif", scene.ms, 1, **bare | {"crs": None}),
        write_tif(tmp_path / "bare_pan.tif", scene.pan[None], 1, **bare, gcps=points),
    )
    with rasterio.open(fuse(quick, pair, tmp_path / "points.tif")) as file:
        found, crs = file.gcps
        assert crs == "EPSG:4326" and file.transform.is_identity
        assert [(p.row, p.col, p.x, p.y, p.z) for p in found] == [
            (p.row, p.col, p.x, p.y, p.z) for p in points
        ]


def test_values_that_a_sensor_cannot_have_leave_nothing(quick, scene, files, tmp_path):
    pan = write_tif(tmp_path / "bad.tif", scene.pan[None] * np.uint16(30), 0.3)
    with pytest.raises(DataError, match="expected 0 to 2047"):
        fuse(quick, (files[0], pan), tmp_path / "out.tif")
    assert not (tmp_path / "out.tif").exists() and leftovers(tmp_path) == []


def test_one_process_at_a_time_makes_a_result(quick, files, tmp_path):
    out = tmp_path / "out.tif"
    with FileLock(tmp_path / ".out.tif.lock"), pytest.raises(DataError, match="another process"):
        fuse(quick, files, out)
    assert not out.exists()


def test_files_are_not_overwritten_unasked(quick, files, tmp_path):
    out = tmp_path / "out.tif"
    out.write_text("mine")
    with pytest.raises(DataError, match="exists already"):
        fuse(quick, files, out)
    assert out.read_text() == "mine"
    fuse(quick, files, out, overwrite=True)
    assert read(out).shape == (8, 384, 384)


def test_a_file_behind_an_input_is_an_input(quick, files, tmp_path):
    """It is not overwritten; with it or a setting changed interrupted work does not go on."""
    vrt, out = tmp_path / "ms.vrt", tmp_path / "out.tif"
    rasterio.shutil.copy(files[0], vrt, driver="VRT")
    with pytest.raises(DataError, match="is an input"):
        fuse(quick, (vrt, files[1]), files[0], overwrite=True)

    for touched, overlap, first in ((False, 16, 2), (False, 32, 1), (True, 16, 1)):
        interrupt(quick, (vrt, files[1]), out)
        if touched:
            os.utime(files[0], (1, 1))
        assert rows_fused(quick, (vrt, files[1]), out, overlap=overlap)[0] == first
        out.unlink()


def test_files_in_an_archive_are_fused(quick, files, tmp_path):
    archive, out = tmp_path / "both.zip", tmp_path / "out.tif"
    with zipfile.ZipFile(archive, "w") as file:
        for path in files:
            file.write(path, path.name)
    pair = f"/vsizip/{archive}/ms.tif", f"zip://{archive}!pan.tif"
    with pytest.raises(DataError, match="is an input"):
        fuse(quick, pair, archive, overwrite=True)
    expected = read(fuse(quick, files, tmp_path / "expected.tif"))
    np.testing.assert_array_equal(read(fuse(quick, pair, out)), expected)


@pytest.mark.parametrize("name", ["/vsimem/out.tif", "https://example.org/out.tif", "out.png"])
def test_a_name_that_no_geotiff_on_disk_has_is_refused(quick, files, tmp_path, name):
    if name == "out.png":
        name = tmp_path / name
    with pytest.raises(DataError, match=r"no file on a disk|name it .*out\.tif"):
        fuse(quick, files, name)


def test_a_result_may_have_a_name_that_is_no_text_and_its_folder_may_not(quick, files, tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/r\xe9sultat")
    with pytest.raises(DataError, match="no UTF-8 text"):
        fuse(quick, files, f"{name}/out.tif", on_row=lambda *_: pytest.fail("it was fused"))
    Path(tmp_path, ".r\\xe9sultat.tif.9.part").touch()  # of a process that was killed
    out = fuse(quick, files, f"{name}.tif")
    assert out.is_file() and leftovers(tmp_path) == []
    expected = read(fuse(quick, files, tmp_path / "expected.tif"))
    np.testing.assert_array_equal(read(out.rename(tmp_path / "out.tif")), expected)


def test_what_lay_beside_an_older_result_does_not_spoil_the_new_one(quick, files, tmp_path):
    out = fuse(quick, files, tmp_path / "out.tif")
    with rasterio.open(out) as file:
        assert file.dataset_mask().any()
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False),
        rasterio.open(out, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file,
    ):
        file.write_mask(np.zeros(file.shape, np.uint8))
    (tmp_path / "out.tif.aux.xml").write_text("<PAMDataset/>")
    fuse(quick, files, out, overwrite=True)
    with rasterio.open(out) as file:
        assert file.dataset_mask().any() and file.files == [str(out)]
    out.unlink()
    (tmp_path / "out.tif.msk").touch()
    with pytest.raises(DataError, match=r"out\.tif\.msk exists already"):
        fuse(quick, files, out)


def test_a_network_that_gives_nan_is_refused(files, tmp_path):
    class Broken(torch.nn.Conv2d):
        bands = 8

        def forward(self, pan, ms, lms):
            return lms * torch.nan

    with pytest.raises(DataError, match="NaN or infinity"):
        fuse(Broken(1, 1, 1), files, tmp_path / "out.tif")
    assert leftovers(tmp_path) == []


def test_pixel_types_that_numpy_lacks_are_refused(quick, files, scene, tmp_path):
    with rasterio.open(files[1]) as file:
        profile = file.profile | {"dtype": "complex_int16"}
    with rasterio.open(files[1], "w", **profile) as file:
        file.write(scene.pan[None].astype("c8"))
    with pytest.raises(DataError, match="complex_int16 values, expected whole digital numbers"):
        fuse(quick, files, tmp_path / "out.tif")


def test_a_result_replaces_files_alone_and_no_input_under_another_name(quick, files, tmp_path):
    pipe, link, hard = (tmp_path / name for name in ("pipe", "link.tif", "hard.tif"))
    os.mkfifo(pipe)
    link.symlink_to(files[0])
    hard.hardlink_to(files[1])
    with pytest.raises(DataError, match="a folder or a device"):
        fuse(quick, files, pipe, overwrite=True)
    for out in (link, hard):
        with pytest.raises(DataError, match="is an input"):
            fuse(quick, files, out, overwrite=True)
    assert pipe.is_fifo() and link.is_symlink()


def test_what_a_process_killed_while_writing_left_is_cleared_away(quick, files, tmp_path):
    out = tmp_path / "a [1] & b.tif"
    mine = tmp_path / ".a 1 & b.tif.9.part"  # of another result
    for left in (f".{out.name}.9.part", f".{out.name}.9.part.ovr.tmp", f".{out.name}.lock"):
        (tmp_path / left).touch()
    mine.touch()
    fuse(quick, files, out, tile=384)
    assert leftovers(tmp_path) == [mine.name]


@pytest.mark.parametrize("damaged", [-2, 0, 1e999, 99, "nonsense"])
def test_a_damaged_journal_is_not_followed(quick, scene, tmp_path, damaged):
    small = scene.crop(slice(0, 16), slice(0, 8))
    files = write_pair(tmp_path, small.ms, small.pan)

    out, journal = tmp_path / "out.tif", tmp_path / ".out.tif.journal"
    tiles = {"tile": 32, "overlap": 4}
    interrupt(quick, files, out, **tiles)
    journal.write_text(json.dumps(json.loads(journal.read_text()) | {"rows": damaged}))
    assert rows_fused(quick, files, out, **tiles) == [1, 2, 3]
