import matplotlib.pyplot as plt
import numpy as np
import pytest

from dcfnet import WV3, DataError
from dcfnet.imagery.composite import band_limits, composite, stretch
from dcfnet.show.plots import radial_spectrum, show_images, show_maps


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(1, 2048, (8, 40, 50)).astype(float)


def test_limits_are_quantiles_of_the_pixels_with_data(image):
    expected = np.quantile(image.reshape(8, -1), (0.02, 0.98), axis=1).T
    np.testing.assert_allclose(band_limits(image), expected)
    with_border = np.pad(image, ((0, 0), (5, 5), (5, 5)))
    np.testing.assert_allclose(band_limits(with_border), expected)
    with pytest.raises(DataError, match="no data"):
        band_limits(np.zeros((8, 4, 4)))


def test_stretch_maps_limits_to_black_and_white():
    grey = stretch(np.array([[100.0, 150.0, 200.0, 300.0]]), np.array([[100, 200]]))
    np.testing.assert_array_equal(grey, [[0, 128, 255, 255]])
    assert stretch(np.ones((3, 2, 2))).dtype == np.uint8  # a constant image does not divide by 0


def test_composite_takes_red_green_blue_from_bands_5_3_2(image):
    limits = band_limits(image)
    rgb = composite(image, WV3, limits=limits)
    np.testing.assert_array_equal(rgb, stretch(image, limits)[[4, 2, 1]].transpose(1, 2, 0))
    other = composite(image, WV3, WV3.rgb_135)
    np.testing.assert_array_equal(other, stretch(image)[[4, 2, 0]].transpose(1, 2, 0))


def test_maps_share_one_scale(image):
    figure = show_maps({"a": image[0], "b": 2 * image[1]}, label="error", attribution="mine")
    shown = [axis.images[0] for axis in figure.axes[:2]]
    assert shown[0].get_clim() == shown[1].get_clim()
    assert "mine" in [text.get_text() for text in figure.texts]
    plt.close(figure)


def test_a_grid_shows_every_image(image):
    rgb = composite(image, WV3)
    figure = show_images({"a": rgb, "b": rgb, "c": rgb[..., 0]}, columns=2)
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", "c", ""]
    plt.close(figure)


def test_radial_spectrum_finds_a_wave():
    y, x = np.mgrid[:128, :128]
    frequency, power = radial_spectrum(np.sin(2 * np.pi * (0.06 * x + 0.08 * y)))
    assert frequency[power.argmax()] == pytest.approx(0.1, abs=1 / 128)
    assert frequency[-1] == 0.5
