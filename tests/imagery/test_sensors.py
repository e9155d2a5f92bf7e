"""Every sensor by name, from its numbers to an image made coarser with them."""

import pytest

from dcfnet import DataError
from dcfnet.imagery.composite import composite
from dcfnet.imagery.sensors import (
    SENSORS,
    WV3,
    Sensor,
    generic_sensor,
    get_sensor,
    sensor_from_table,
    sensor_table,
)
from dcfnet.imagery.simulated import simulate_scene
from dcfnet.imagery.wald import reduce_resolution

FOUR = {
    "name": "four",
    "title": "Four",
    "bands": ("B", "G", "R", "N"),
    "band_names": ("blue", "green", "red", "near infrared"),
    "wavelengths": ((450, 520), (520, 600), (630, 690), (760, 900)),
    "pan_wavelengths": (450, 900),
    "mtf_gains": (0.34, 0.32, 0.3, 0.22),
    "pan_mtf_gain": 0.15,
}
OWN = """
[mysat]
title = "My satellite"
bits = 12
pan = { nm = [450, 800] }
bands = [
    { short = "R", name = "red", nm = [630, 690], mtf = 0.3 },
    { short = "G", name = "green", nm = [510, 580] },
    { short = "B", name = "blue", nm = [450, 510], mtf = 0.25 },
]
"""


@pytest.mark.parametrize("name", SENSORS)
def test_numbers_of_a_sensor(name):
    sensor = get_sensor(name.upper())
    assert sensor is SENSORS[name] and sensor.name == name and sensor.source
    assert all(low < high for low, high in (*sensor.wavelengths, sensor.pan_wavelengths))
    red, green, blue = (sensor.centres[band] for band in sensor.rgb)
    assert blue < green < red
    assert [sensor.index(band) for band in sensor.bands] == list(range(sensor.n_bands))
    assert sensor_from_table(name, sensor_table(sensor), "a table") == sensor


def test_gains_of_the_toolbox():
    gains = {name: (*sensor.mtf_gains, sensor.pan_mtf_gain) for name, sensor in SENSORS.items()}
    assert gains["wv3"] == (0.325, 0.355, 0.360, 0.350, 0.365, 0.360, 0.335, 0.315, 0.14)
    assert gains["wv2"] == (*(0.35,) * 7, 0.27, 0.11)
    assert gains["qb"] == (0.34, 0.32, 0.30, 0.22, 0.15)
    assert gains["ikonos"] == (0.26, 0.28, 0.29, 0.28, 0.17)
    assert gains["ge1"] == gains["wv4"] == (0.23, 0.23, 0.23, 0.23, 0.16)
    for unknown in ("gf2", "pleiades"):
        assert gains[unknown] == (0.3, 0.3, 0.3, 0.3, 0.15)
        assert "not known" in SENSORS[unknown].source
    assert {name: s.bits for name, s in SENSORS.items() if s.bits != 11} == {
        "gf2": 10,
        "pleiades": 12,
    }


@pytest.mark.parametrize("name", ["wv2", "wv3"])
def test_a_bundle_of_four_bands_is_part_of_the_whole(name):
    bundle, part = SENSORS[f"{name}-bgrn"], SENSORS[name].select("B", "G", "R", "N")
    for key in ("bands", "wavelengths", "mtf_gains", "pan_mtf_gain", "pan_wavelengths", "rgb"):
        assert getattr(bundle, key) == getattr(part, key)


@pytest.mark.parametrize("name", ["wv2", "qb", "gf2"])
def test_its_scenes_are_made_coarser(name):
    sensor = SENSORS[name]
    scene = simulate_scene(size=128, sensor=sensor)
    assert max(scene.ms.max(), scene.pan.max()) <= sensor.max_value
    sample = reduce_resolution(scene)
    assert sample.ms.shape == (sensor.n_bands, 32, 32)
    assert sample.lms.shape == sample.gt.shape == (sensor.n_bands, 128, 128)
    assert composite(scene.ms, sensor).shape == (128, 128, 3)
    assert composite(scene.ms, sensor, sensor.rgb_135).shape == (128, 128, 3)


def test_colours_follow_the_bands_names():
    assert Sensor(**FOUR).rgb == Sensor(**FOUR).rgb_135 == (2, 1, 0)
    assert (WV3.rgb, WV3.rgb_135) == ((4, 2, 1), (4, 2, 0))
    assert WV3.select("RE", "B", "R", "G").rgb == (2, 3, 1)
    assert WV3.select("N", "C").rgb == (1, 1, 0)
    assert Sensor(**FOUR, rgb=(3, 2, 1)).rgb == (3, 2, 1)
    with pytest.raises(ValueError, match="indices of the 4 bands"):
        Sensor(**FOUR, rgb=(4, 2, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bands": ("B", "G")}, "one entry per band; got 2, 4, 4 and 4"),
        ({"mtf_gains": (0.3, 0.3, 0.3, 3.0)}, "between 0 and 1, got 3.0"),
        ({"wavelengths": ((520, 450), *FOUR["wavelengths"][1:])}, "lower and upper edge"),
        ({"bits": 24}, "bits must be 1 to 16"),
        ({"ratio": 2}, "ratio 4"),
    ],
)
def test_a_sensor_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Sensor(**(FOUR | change))


def test_a_file_describes_another_sensor(tmp_path):
    path = tmp_path / "mysat.toml"
    path.write_text(OWN)
    sensor = get_sensor(path)
    assert (sensor.name, sensor.title, sensor.max_value) == ("mysat", "My satellite", 4095)
    assert sensor.mtf_gains == (0.3, 0.3, 0.25) and sensor.pan_mtf_gain == 0.15
    assert sensor.rgb == (0, 1, 2) and sensor.centres[0] == 660


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("bits", "bitz"), "unknown key 'bitz' .did you mean 'bits'"),
        (("mtf = 0.25", "mft = 0.25"), "unknown key 'mft' .did you mean 'mtf'"),
        (("title = ", "# "), "lacks 'title'"),
        (('short = "R", ', ""), "lacks 'short'"),
        (("0.25", "25"), "between 0 and 1, got 25"),
        (("[630, 690]", "630"), "cannot be a sensor"),
        (("12", '"12"'), "bits must be 1 to 16"),
        (("[mysat]", "[mysat"), "cannot read .*expected a TOML file"),
        (("[mysat]", "[other]\n[mysat]"), "'other' cannot be a sensor"),
        ((OWN, ""), "describes 0 sensors"),
        ((OWN, OWN + OWN.replace("mysat", "other")), "2 sensors .mysat, other.: expected one"),
    ],
)
def test_a_file_that_describes_none_says_why(tmp_path, change, message):
    path = tmp_path / "mysat.toml"
    path.write_text(OWN.replace(*change))
    with pytest.raises(DataError, match=message):
        get_sensor(str(path))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot read .*nowhere.toml.*No such file"):
        get_sensor(tmp_path / "nowhere.toml")


def test_of_a_generic_sensor_nothing_but_the_bands_is_known():
    assert get_sensor("generic4").bands == ("B", "G", "R", "N")
    assert get_sensor("generic8").wavelengths == WV3.wavelengths
    five = get_sensor("generic5")
    assert five == generic_sensor(5) and five.mtf_gains == (0.3,) * 5
    assert five.rgb == (2, 1, 0) and sensor_from_table("generic5", sensor_table(five), "") == five
    with pytest.raises(DataError, match="wavelengths of a sensor of 5 bands are not known"):
        five.centres  # noqa: B018
    with pytest.raises(ValueError, match="without wavelengths"):
        simulate_scene(size=128, sensor=five)


def test_unknown_names():
    with pytest.raises(DataError, match="did you mean 'qb'.*generic4.*toml"):
        get_sensor("qb2")
    with pytest.raises(ValueError, match="band of WorldView-3"):
        WV3.index("SWIR")
