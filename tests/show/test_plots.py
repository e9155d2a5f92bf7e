from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from dcfnet import WV3, DataError
from dcfnet.imagery.composite import band_limits, composite, stretch
from dcfnet.show import plots
from dcfnet.show.plots import show_images, show_maps
from dcfnet.show.style import STYLES, network_style


@pytest.fixture(autouse=True)
def closed():
    """Figures do not outlive their test."""
    yield
    plt.close("all")


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


def test_maps_in_rows_have_their_own_scales_and_pixels(image):
    maps = {"a": [image[0], image[1]], "b": [image[2], 2 * image[3, ::2, ::2]]}
    figure = show_maps(maps, rows=["above", "below"], pixels=True)
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "", ""]
    assert [axes.get_ylabel() for axes in figure.axes] == ["above", "", "below", ""]
    assert [axes.get_yticks()[-1] for axes in figure.axes] == [39, 39, 39, 19]
    tops = [axes.images[0].get_clim()[1] for axes in figure.axes]
    assert tops[3] == np.quantile(maps["b"][1], 0.995)
    assert len(set(tops)) == 4


def test_a_composite_of_maps_has_each_map_on_its_own_range(image):
    maps = [image[0], 1e-6 * image[1], np.zeros((40, 50))]  # a map may be 0 everywhere
    seen = plots.map_composite(maps)
    assert seen.shape == (40, 50, 3)
    for k in (0, 1):
        ends = np.quantile(maps[k], (0.01, 0.995))
        assert np.abs(seen[..., k] - np.interp(maps[k], ends, (0, 255))).max() <= 0.5001
    assert not seen[..., 2].any()


def test_a_grid_shows_every_image(image):
    rgb = composite(image, WV3)
    figure = show_images({"a": rgb, "b": rgb, "c": rgb[..., 0]}, columns=2)
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", "c", ""]


def test_curves_of_networks_have_their_style():
    x = np.arange(5)
    axes = plots.curves({"DCFNet": (x, x), "other": (x, x + 1)}, xlabel="x", ylabel="y", log="y")
    style = network_style("DCFNet")
    assert [line.get_label() for line in axes.lines] == ["DCFNet", "other"]
    assert axes.lines[0].get_color() == style.colour != axes.lines[1].get_color()
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    assert len(axes.get_legend().texts) == 2


def test_a_curve_may_have_a_band():
    x = np.arange(5)
    axes = plots.curves({"a": (x, [x - 1, x, x + 1])}, xlabel="x", ylabel="y", marks=True)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), x)
    assert axes.lines[0].get_marker() == "o"
    assert len(axes.collections) == 1


def test_points_of_networks():
    axes = plots.scatter({"PNN": (1, 2), "DCFNet": (10, 20)}, xlabel="x", ylabel="y", log="xy")
    assert [line.get_marker() for line in axes.lines] == ["o", "P"]
    assert axes.get_xscale() == "log"
    for told_apart in ("marker", "colour"):
        assert len({getattr(style, told_apart) for style in STYLES.values()}) == len(STYLES)


def test_bars_are_as_long_as_the_numbers():
    table = pd.DataFrame({"one": [1.0, 2.0], "two": [3.0, 4.0]}, index=["a", "PNN"])
    axes = plots.bars(table, xlabel="x", start=1, numbers=".1f")
    assert [bar.get_width() for bar in axes.patches] == [0, 1, 2, 3]
    assert [text.get_text() for text in axes.texts] == ["1.0", "2.0", "3.0", "4.0"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "PNN"]
    apart = sorted((bar.get_y(), bar.get_y() + bar.get_height()) for bar in axes.patches)
    assert all(end <= start for (_, end), (start, _) in pairwise(apart))


def test_intervals_show_the_middle_half():
    axes = plots.intervals({"a": np.arange(101.0), "b": [5.0]}, xlabel="x")
    _, half, middle = axes.lines[:3]
    assert (list(half.get_xdata()), list(middle.get_xdata())) == ([25, 75], [50])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]


def test_a_matrix_can_be_read_in_every_cell():
    table = pd.DataFrame([[0.0, 1.0], [0.5, 0.25]], index=["r", "s"], columns=["c", "d"])
    axes = plots.matrix(table)
    assert [text.get_text() for text in axes.texts] == ["0.00", "1.00", "0.50", "0.25"]
    assert [text.get_color() for text in axes.texts] == ["black", "white", "black", "black"]
