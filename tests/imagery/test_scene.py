import importlib.metadata
from importlib.util import find_spec

import numpy as np
import pytest
from affine import Affine

from dcfnet import WV2, WV3, DataError, Scene, load_scene
from dcfnet.imagery.catalogue import SCENES
from dcfnet.imagery.filters import exp_upsample
from dcfnet.imagery.scene import open_scene
from dcfnet.imagery.wald import full_resolution, reduce_resolution
from tests.support.rasters import write_pair, write_tif

imagery = pytest.mark.skipif(not find_spec("dgsamples"), reason="dgsamples is not installed")

PIXEL = 0.3
MS_SHAPE = (20, 24)


@pytest.fixture
def ms_image():
    return np.random.default_rng(0).integers(1, 2048, (8, *MS_SHAPE), np.uint16)


@pytest.fixture
def pan_image():
    h, w = MS_SHAPE
    return np.random.default_rng(1).integers(1, 2048, (1, 4 * h, 4 * w), np.uint16)


@pytest.fixture
def pair(tmp_path, ms_image, pan_image):
    return write_pair(tmp_path, ms_image, pan_image[0])


@imagery
def test_longmont_worldview_3():
    scene = load_scene("wv3-longmont")
    assert scene.ms.shape == (8, 835, 835)
    assert scene.pan.shape == (3340, 3340)
    assert scene.ms.dtype == scene.pan.dtype == np.uint16
    assert scene.sensor is WV3
    assert scene.crs == "EPSG:32613"
    assert scene.transform.a == pytest.approx(0.3)
    assert 0.002 < 1 - scene.mask.mean() < 0.003
    assert not scene.ms[:, (scene.ms == 0).all(axis=0)].any()
    assert "DigitalGlobe" in scene.attribution


@imagery
def test_longmont_worldview_2():
    scene = load_scene("wv2-longmont")
    assert scene.ms.shape == (8, 501, 500)
    assert scene.sensor is WV2
    sample = reduce_resolution(scene)
    assert sample.gt.shape == (8, 500, 500)  # 501 rows are cropped at the bottom


@imagery
def test_the_environment_chooses_the_scene(monkeypatch):
    monkeypatch.setenv("DCFNET_SCENE", "wv2-longmont")
    assert load_scene().sensor is WV2
    assert load_scene("wv3-longmont").sensor is WV3
    monkeypatch.setenv("DCFNET_SCENE", "mars")
    with pytest.raises(DataError, match="environment variable DCFNET_SCENE"):
        load_scene()


def test_an_unknown_scene_lists_the_known_ones():
    with pytest.raises(DataError, match=", ".join(SCENES)):
        load_scene("atlantis")


def test_without_dgsamples_the_message_says_how_to_get_it(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    with pytest.raises(DataError, match=r"pip install dgsamples.*DCFNET_SCENE=simulated"):
        load_scene("wv3-longmont")


def test_own_geotiffs_come_back_as_they_are(pair, ms_image, pan_image):
    scene = open_scene(*pair, WV3)
    np.testing.assert_array_equal(scene.ms, ms_image)
    np.testing.assert_array_equal(scene.pan, pan_image[0])
    assert scene.mask.all()
    assert scene.transform == Affine(PIXEL, 0, 487000, 0, -PIXEL, 4443000)
    assert scene.name == "ms"


@pytest.mark.parametrize("shift", [(0, 0), (7, 2), (-5, 3), (-4, -8)])
def test_a_pair_is_cropped_to_its_common_ground(tmp_path, pair, ms_image, pan_image, shift):
    """PAN's corner lies ``shift`` PAN pixels right of and below MS's corner."""
    right, down = shift
    shift = (PIXEL * right, -PIXEL * down)
    pan = write_tif(tmp_path / "moved.tif", pan_image, PIXEL, shift=shift)
    scene = open_scene(pair[0], pan, WV3)
    h, w = scene.ms.shape[1:]
    assert scene.pan.shape == (4 * h, 4 * w)
    # Where the first MS pixel of the scene lies in each file.
    first = ~Affine(4 * PIXEL, 0, 487000, 0, -4 * PIXEL, 4443000) @ (
        scene.transform.c,
        scene.transform.f,
    )
    col, row = round(first[0]), round(first[1])
    np.testing.assert_allclose(first, (col, row), atol=1e-6)
    np.testing.assert_array_equal(scene.ms, ms_image[:, row : row + h, col : col + w])
    np.testing.assert_array_equal(scene.pan[0, 0], pan_image[0, 4 * row - down, 4 * col - right])
    assert h >= MS_SHAPE[0] - 3 and w >= MS_SHAPE[1] - 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shift": (10_000, 0)}, "do not overlap.*expected two images of the same"),
        ({"pixel": 0.4}, "expected 4 x 4 on parallel grids"),
        ({"shift": (0.1, 0)}, "expected whole PAN pixels"),
        ({"crs": "EPSG:32614"}, "expected the same; reproject"),
    ],
)
def test_a_pair_that_does_not_fit_is_refused(tmp_path, pair, pan_image, change, message):
    pan = write_tif(tmp_path / "other.tif", pan_image, **({"pixel": PIXEL} | change))
    with pytest.raises(DataError, match=message):
        open_scene(pair[0], pan, WV3)


def test_files_in_the_wrong_order_or_of_another_sensor_are_refused(tmp_path, pair, ms_image):
    with pytest.raises(DataError, match="1 bands, expected 8.*order of the two files"):
        open_scene(pair[1], pair[0], WV3)
    four = write_tif(tmp_path / "four.tif", ms_image[:4], 4 * PIXEL)
    with pytest.raises(DataError, match="4 bands, expected 8"):
        open_scene(four, pair[1], WV3)


def test_an_image_without_data_is_refused(tmp_path, pair, ms_image):
    ms = write_tif(tmp_path / "bad.tif", 0 * ms_image, 4 * PIXEL)
    with pytest.raises(DataError, match="holds no data"):
        open_scene(ms, pair[1], WV3)


def test_a_missing_or_truncated_tif_is_refused(tmp_path, pair):
    with pytest.raises(DataError, match="cannot read.*nowhere.tif"):
        open_scene(tmp_path / "nowhere.tif", pair[1], WV3)
    cut = tmp_path / "cut.tif"
    cut.write_bytes(pair[0].read_bytes()[:3000])
    with pytest.raises(DataError, match="cannot read.*complete GeoTIFF"):
        open_scene(cut, pair[1], WV3)


def test_a_scene_checks_its_shapes(ms_image, pan_image):
    mask = np.ones(MS_SHAPE, bool)
    with pytest.raises(DataError, match="expected 80 x 96"):
        Scene(ms=ms_image, pan=pan_image[0, :-1], sensor=WV3, mask=mask)
    with pytest.raises(DataError, match="MS has 4 bands"):
        Scene(ms=ms_image[:4], pan=pan_image[0], sensor=WV3, mask=mask)


def test_a_crop_keeps_ms_and_pan_together(pair, ms_image, pan_image):
    scene = open_scene(*pair, WV3).crop(slice(2, 10), slice(4, 20))
    np.testing.assert_array_equal(scene.ms, ms_image[:, 2:10, 4:20])
    np.testing.assert_array_equal(scene.pan, pan_image[0, 8:40, 16:80])
    assert scene.transform @ (0, 0) == pytest.approx((487000 + 16 * PIXEL, 4443000 - 8 * PIXEL))


def test_full_resolution_has_no_truth(pair):
    scene = open_scene(*pair, WV3)
    sample = full_resolution(scene)
    assert sample.gt is None
    assert sample.lms.shape == (8, *scene.pan.shape)
    np.testing.assert_allclose(sample.lms, exp_upsample(scene.ms), rtol=1e-6)
    assert sample.crop(slice(0, 16), slice(8, 24)).ms.shape == (8, 4, 4)
