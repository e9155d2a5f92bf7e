"""What GDAL knows of a file is heeded: masks, no data, grids, types, files behind files."""

import os
import re
import shlex
import shutil
import subprocess
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from dcfnet import WV3, DataError
from dcfnet.imagery.geotiff import Pair, Raster
from dcfnet.imagery.scene import open_scene
from tests.support.rasters import CORNER, RPCS, hide, write_pair, write_tif

H, W = 12, 16
ROWS, COLS = slice(0, H), slice(0, W)


@pytest.fixture
def ms():
    return np.random.default_rng(0).integers(1, 2048, (8, H, W), np.uint16)


@pytest.fixture
def pan():
    return np.random.default_rng(1).integers(1, 2048, (1, 4 * H, 4 * W), np.uint16)


def read(path, bands=8, sensor=WV3):
    with Raster(path, bands, sensor) as raster:
        return raster.read(ROWS, COLS)


def write_vrt(path, source, bands=8, of_band="", of_dataset=""):
    """A VRT of a file; ``{band}`` in ``of_band`` is the band's number."""
    inner = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{b}">{of_band.format(band=b)}<SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{source.name}</SourceFilename>'
        f"<SourceBand>{b}</SourceBand></SimpleSource></VRTRasterBand>"
        for b in range(1, bands + 1)
    )
    path.write_text(
        f'<VRTDataset rasterXSize="{W}" rasterYSize="{H}">{of_dataset}{inner}</VRTDataset>'
    )
    return path


# --- What is no data


@pytest.mark.parametrize("internal", [True, False], ids=["in the file", "beside the file"])
@pytest.mark.parametrize("nodata", [None, 0, 65535])
def test_a_mask_of_the_dataset_hides_what_lies_under_it(tmp_path, ms, internal, nodata):
    ms[:, :5] = 40000  # fill that no sensor of 11 bits sees
    path = write_tif(tmp_path / "ms.tif", ms, 1.2, nodata=nodata)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        seen = hide(path, np.s_[:5])
    image, valid = read(path)
    np.testing.assert_array_equal(valid, seen)
    np.testing.assert_array_equal(image, ms * valid)


def test_a_mask_and_a_no_data_value_both_count(tmp_path, ms):
    ms[3, 7, 7] = 9999
    path = write_tif(tmp_path / "ms.tif", ms, 1.2, nodata=9999)
    hide(path, np.s_[:1])
    valid = read(path)[1]
    assert not valid[0].any() and not valid[7, 7] and valid.sum() == (H - 1) * W - 1


def test_masks_that_differ_by_band_leave_what_all_bands_see(tmp_path, ms):
    path = write_tif(tmp_path / "ms.tif", ms, 1.2)
    masks = np.full((8, H, W), 255, np.uint8)
    for band in range(8):
        masks[band, band] = 0
    write_tif(tmp_path / "masks.tif", masks, 1.2, photometric="minisblack")
    band_mask = (
        '<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource><SourceFilename relativeToVRT="1">'
        "masks.tif</SourceFilename><SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        "</MaskBand>"
    )
    valid = read(write_vrt(tmp_path / "ms.vrt", path, of_band=band_mask))[1]
    assert not valid[:8].any() and valid[8:].all()


@pytest.mark.parametrize("full", [1, 255, 65535])
def test_an_alpha_band_behind_the_image_is_its_mask(tmp_path, ms, pan, full):
    alpha = np.full((1, H, W), full, np.uint16)
    alpha[:, :5] = 0
    path = write_tif(tmp_path / "ms.tif", np.concatenate([ms, alpha]), 1.2)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [*[ColorInterp.gray] * 8, ColorInterp.alpha]
    image, valid = read(path)
    assert image.shape == ms.shape and not valid[:5].any() and valid[5:].all()
    # PAN too.
    both = np.concatenate([pan, np.full_like(pan, full)])
    both[1, 20:] = 0
    path = write_tif(tmp_path / "pan.tif", both, 0.3, alpha="yes")
    with Raster(path, 1, WV3) as raster:
        valid = raster.read(slice(0, 4 * H), slice(0, 4 * W))[1]
    assert valid[:20].all() and not valid[20:].any()


def test_an_alpha_band_elsewhere_or_unmarked_is_asked_about(tmp_path, ms):
    nine = np.concatenate([ms, np.full((1, H, W), 255, np.uint16)])
    # GDAL marks the second band then.
    path = write_tif(tmp_path / "ms.tif", nine, 1.2, alpha="yes", photometric="minisblack")
    with pytest.raises(DataError, match="band 2 is marked as alpha.*gdal_translate") as error:
        read(path)
    run_cure(error, path, tmp_path / "marked.tif")
    assert read(tmp_path / "marked.tif")[1].all()
    path = write_tif(tmp_path / "unmarked.tif", nine, 1.2, photometric="minisblack")
    with pytest.raises(DataError, match="9 bands, expected 8.*none is marked as alpha"):
        read(path)


def test_the_fourth_band_of_8_bits_is_image_though_gdal_takes_it_for_alpha(tmp_path):
    four = replace(WV3.select("B", "G", "R", "N"), name="own", bits=8)
    image = np.random.default_rng(2).integers(1, 256, (4, H, W)).astype(np.uint8)
    image[3, 2:4] = 0  # water
    path = write_tif(tmp_path / "ms.tif", image, 1.2)
    with rasterio.open(path) as file:
        assert file.colorinterp[3] == ColorInterp.alpha
    found, valid = read(path, 4, four)
    np.testing.assert_array_equal(found, image)
    assert valid.all()


@pytest.mark.parametrize("nodata", [0, 7, 65535])
def test_bands_that_end_at_different_rows_are_data_where_all_are(tmp_path, ms, nodata):
    ms[ms == nodata] = 8
    for band in range(8):
        ms[band, : band % 4] = nodata
    image, valid = read(write_tif(tmp_path / "ms.tif", ms, 1.2, nodata=nodata))
    assert not valid[:3].any() and valid[3:].all()
    assert not image[:, :3].any()


def test_no_data_values_that_differ_by_band(tmp_path, ms):
    ms[0, 0], ms[7, 1] = 1001, 1008
    ms[:, 2:][(ms[:, 2:] > 1000) & (ms[:, 2:] < 1009)] = 1
    path = write_tif(tmp_path / "ms.tif", ms, 1.2)
    vrt = write_vrt(tmp_path / "ms.vrt", path, of_band="<NoDataValue>100{band}</NoDataValue>")
    valid = read(vrt)[1]
    assert not valid[0].any() and not valid[1].any() and valid[2:].all()


def test_without_a_no_data_value_0_in_every_band_is_none(tmp_path, ms):
    ms[:, 0] = 0
    ms[:5, 1] = 0  # dark in some bands
    valid = read(write_tif(tmp_path / "ms.tif", ms, 1.2))[1]
    assert not valid[0].any() and valid[1:].all()


def test_a_scene_has_data_where_the_masks_of_both_files_say_so(tmp_path, ms, pan):
    ms[:, :3], pan[:, :, :8] = 1500, 1500
    files = write_pair(tmp_path, ms, pan[0])
    hide(files[0], np.s_[:3])
    hide(files[1], np.s_[:, :8])
    scene = open_scene(*files, WV3)
    assert not scene.mask[:3].any() and not scene.mask[:, :2].any() and scene.mask[3:, 2:].all()
    assert not scene.ms[:, :3].any() and not scene.pan[:, :8].any()


# --- Which values are digital numbers


def possible(nodata, kind):
    return nodata is None or kind[0] == "f" or nodata == np.clip(nodata, *limits(kind))


def limits(kind):
    return np.iinfo(kind).min, np.iinfo(kind).max


@pytest.mark.parametrize(
    ("kind", "nodata"),
    [
        (kind, nodata)
        for kind in ("f4", "f8", "i2", "u4", "i4", "i8", "u8")
        for nodata in (None, 0, -9999, np.nan, np.finfo("f4").min)
        if possible(nodata, kind)
    ],
)
def test_whole_numbers_of_any_type_are_digital_numbers(tmp_path, ms, kind, nodata):
    image = ms.astype(kind)
    image[:, :2] = 0 if nodata is None else nodata
    found, valid = read(write_tif(tmp_path / "ms.tif", image, 1.2, nodata=nodata))
    assert found.dtype == np.uint16 and not valid[:2].any() and valid[2:].all()
    np.testing.assert_array_equal(found[:, 2:], ms[:, 2:])
    assert not found[:, :2].any()


def test_what_rounding_left_is_rounded_away_and_not_a_number_is_no_data(tmp_path, ms):
    image = ms + np.random.default_rng(3).uniform(-5e-4, 5e-4, ms.shape)
    image[0, 0, 0] = np.nan
    image[:, 1] = -1e-9
    found, valid = read(write_tif(tmp_path / "ms.tif", image, 1.2))
    assert not valid[0, 0] and not valid[1].any() and valid[2:].all()
    np.testing.assert_array_equal(found[:, 2:], ms[:, 2:])


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("f4", 0.25, "float32 values, expected whole digital numbers.*found 0.25 in"),
        ("f8", np.inf, "float64 values, expected whole digital numbers.*found inf in"),
        ("f4", 2048, "holds 2048 in"),
        ("i2", -3, "holds -3 in"),
        ("u2", 61000, "holds 61000 in"),
    ],
)
def test_a_value_that_is_none_is_named_with_file_band_and_pixel(tmp_path, ms, kind, value, message):
    image = ms.astype(kind)
    image[4, 9, 11] = value
    path = write_tif(tmp_path / "ms.tif", image, 1.2)
    where = "band 5, row 9, column 11.*expected 0 to 2047|0 to 2047.*band 5, row 9, column 11"
    with Raster(path, 8, WV3) as raster:
        with pytest.raises(DataError, match=message) as error:
            raster.read(slice(8, 12), slice(4, 16))
        assert re.search(where, str(error.value)) and str(path) in str(error.value)
        raster.read(slice(0, 8), COLS)  # elsewhere all is well


# --- Where files lie


def test_files_behind_a_vrt_are_known_and_missed_by_name(tmp_path, ms):
    path = write_tif(tmp_path / "ms.tif", ms, 1.2)
    vrt = write_vrt(tmp_path / "ms.vrt", path)
    with Raster(vrt, 8, WV3) as raster:
        assert {os.path.realpath(name) for name in raster.files} == {str(vrt), str(path)}
        np.testing.assert_array_equal(raster.read(ROWS, COLS)[0], ms)
    path.unlink()
    with pytest.raises(DataError, match=r"ms\.vrt.*ms\.tif: No such file"):
        read(vrt)


def test_files_in_an_archive_are_read(tmp_path, ms, pan):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name, image, pixel in (("ms.tif", ms, 1.2), ("pan.tif", pan, 0.3)):
            archive.write(write_tif(tmp_path / name, image, pixel), f"deep/{name}")
    scene = open_scene(
        f"/vsizip/{tmp_path}/all.zip/deep/ms.tif", f"zip://{tmp_path}/all.zip!deep/pan.tif", WV3
    )
    np.testing.assert_array_equal(scene.ms, ms)
    np.testing.assert_array_equal(scene.pan, pan[0])
    assert scene.name == "ms"


@pytest.mark.parametrize("name", ["/vsizip//no/where.zip/ms.tif", "https://127.0.0.1:9/ms.tif"])
def test_what_cannot_be_reached_is_named_as_it_was_given(name):
    with pytest.raises(DataError, match=f"cannot read {re.escape(name)} "):
        Raster(name, 8, WV3)


def test_a_name_that_is_no_text_is_refused(tmp_path, ms):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/sc\xe8ne.tif")
    write_tif(tmp_path / "ms.tif", ms, 1.2).rename(name)
    with pytest.raises(DataError, match="no UTF-8 text.*rename the file"):
        Raster(name, 8, WV3)


def test_rpcs_and_control_points_are_those_of_common_ground(tmp_path, ms, pan):
    files = (
        write_tif(tmp_path / "ms.tif", ms, 1.2, shift=(1.2, -2.4)),
        write_tif(tmp_path / "pan.tif", pan, 0.3, rpcs=RPCS),
    )
    with Pair(*files, WV3) as pair:
        assert pair.shape == (H - 2, W - 1)
        assert (pair.rpcs.line_off, pair.rpcs.samp_off) == (24.5 - 8, 32.25 - 4)
        assert pair.rpcs.line_num_coeff == RPCS.line_num_coeff and pair.gcps == ([], None)
    bare = {"crs": None, "transform": Affine.identity()}
    point = GroundControlPoint(row=1, col=2, x=-105, y=40, z=3)
    write_tif(files[0], ms, 1.2, **bare)
    write_tif(files[1], pan, 0.3, **bare | {"crs": "EPSG:4326"}, gcps=[point])
    with Pair(*files, WV3) as pair:
        (found,), crs = pair.gcps
        assert crs == "EPSG:4326"
        assert (found.row, found.col, found.x, found.y, found.z) == (1, 2, -105, 40, 3)


def test_rpcs_that_make_no_sense_are_refused(tmp_path, ms, pan):
    files = write_pair(tmp_path, ms, pan[0])
    files[1].with_name("pan.tif.aux.xml").write_text(
        '<PAMDataset><Metadata domain="RPC"><MDI key="LINE_OFF">x</MDI></Metadata></PAMDataset>'
    )
    with Pair(*files, WV3) as pair, pytest.raises(DataError, match=r"RPCs of .*pan\.tif"):
        _ = pair.rpcs


# --- Cures that errors name


def run_cure(error, old, new):
    """What the message says to type, with the new file's name."""
    command = re.search(r"`(gdal\w+ [^`]+)`", str(error.value))[1]
    if not shutil.which("gdalwarp"):
        pytest.skip("GDAL's programs are not installed")
    words = shlex.split(command.replace("NEW.tif", str(new)))
    words += [] if str(new) in words else [str(old), str(new)]
    subprocess.run(words, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("pixel", "shift"),
    [(1.2, (0.1, 0.0)), (1.2, (-0.5, 0.13)), (1.2401, (0.0, 0.0)), (0.9, (-0.5, 0.13))],
)
def test_pixels_that_do_not_fit_are_resampled_as_the_error_says(tmp_path, ms, pixel, shift):
    pan = np.full((1, 6 * H, 6 * W), 500, np.uint16)
    files = (
        write_tif(tmp_path / "ms.tif", ms, pixel, shift=shift),
        write_tif(tmp_path / "pan.tif", pan, 0.3),
    )
    with pytest.raises(DataError, match="whole PAN pixels|on parallel grids") as error:
        open_scene(*files, WV3)
    run_cure(error, files[1], tmp_path / "new.tif")
    scene = open_scene(files[0], tmp_path / "new.tif", WV3)
    assert scene.pan[4:-4, 4:-4].min() == scene.pan.max() == 500


def test_a_file_that_lies_nowhere_is_told_from_one_that_does(tmp_path, ms, pan):
    bare = {"transform": Affine.identity()}
    files = write_pair(tmp_path, ms, pan[0])
    for k, image in ((0, ms), (1, pan)):
        other = write_tif(tmp_path / "bare.tif", image, 1, **bare)
        pair = [other, files[1]] if k == 0 else [files[0], other]
        with pytest.raises(DataError, match=r"bare\.tif is not georeferenced, .* is") as error:
            open_scene(*pair, WV3)
        run_cure(error, other, tmp_path / f"new{k}.tif")
        pair[k] = tmp_path / f"new{k}.tif"
        assert open_scene(*pair, WV3).transform.c == CORNER[0]


@pytest.mark.parametrize(("rows", "cols"), [(1, 0), (-1, 3), (0, -5)])
def test_two_files_that_lie_nowhere_are_cropped_as_the_error_says(tmp_path, ms, pan, rows, cols):
    bare = {"crs": None, "transform": Affine.identity()}
    pan = np.pad(pan, ((0, 0), (0, 4), (0, 4)))[:, : 4 * H + rows, : 4 * W + cols]
    files = [
        write_tif(tmp_path / "ms.tif", ms, 1, **bare),
        write_tif(tmp_path / "pan.tif", pan, 1, **bare),
    ]
    with pytest.raises(DataError, match="neither .* is georeferenced.*crop with") as error:
        open_scene(*files, WV3)
    for command in re.findall(r"`(gdal[^`]+)`", str(error.value)):
        if not shutil.which("gdal_translate"):
            pytest.skip("GDAL's programs are not installed")
        k = 0 if "ms.tif" in command else 1
        new = tmp_path / f"new{k}.tif"
        subprocess.run(shlex.split(command.replace("NEW.tif", str(new))), check=True)
        files[k] = new
    scene = open_scene(*files, WV3)
    assert scene.mask.shape == (H - (rows < 0), W - (cols < 0) - (cols < -4))
