"""Every sensor by name, from its numbers to an image made coarser with them."""

import pytest

from dcfnet import DataError
from dcfnet.imagery.sensors import SENSORS, WV3, Sensor, get_sensor
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


@pytest.mark.parametrize("name", SENSORS)
def test_numbers_of_a_sensor(name):
    sensor = get_sensor(name.upper())
    assert sensor is SENSORS[name] and sensor.name == name
    assert all(0 < gain < 1 for gain in (*sensor.mtf_gains, sensor.pan_mtf_gain))
    assert all(low < high for low, high in (*sensor.wavelengths, sensor.pan_wavelengths))
    red, green, blue = (sensor.centres[band] for band in sensor.rgb)
    assert blue < green < red
    assert [sensor.index(band) for band in sensor.bands] == list(range(sensor.n_bands))


@pytest.mark.parametrize("name", SENSORS)
def test_its_scenes_are_made_coarser(name):
    sample = reduce_resolution(simulate_scene(size=128, sensor=SENSORS[name]))
    assert sample.ms.shape == (SENSORS[name].n_bands, 32, 32)
    assert sample.lms.shape == sample.gt.shape == (SENSORS[name].n_bands, 128, 128)


def test_colours_are_bands_of_the_sensor():
    assert Sensor(**FOUR, rgb=(2, 1, 0), rgb_135=(2, 1, 0)).n_bands == 4
    with pytest.raises(ValueError, match="indices of the 4 bands"):
        Sensor(**FOUR)


def test_unknown_names():
    with pytest.raises(DataError, match="did you mean 'wv3'"):
        get_sensor("wv4")
    with pytest.raises(ValueError, match="band of WorldView-3"):
        WV3.index("SWIR")
