"""Which figures follow the dark theme: plots do, and none with a picture."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from dcfnet.show import plots
from tests.conftest import ROOT

random = np.random.default_rng(0)
PLOTS = {
    "curves": lambda: plots.curves({"a": ([0, 1, 2], [3, 1, 2])}, xlabel="x", ylabel="y").figure,
    "bars": lambda: plots.bars(pd.Series([1.0, 2.0, 3.0], ["a", "b", "c"]), xlabel="x").figure,
}
PICTURES = {
    "map": lambda: plots.show_maps({"a": random.random((16, 16))}, label="unit"),
    "photograph": lambda: plots.show_images({"a": random.integers(0, 256, (64, 64, 3), np.uint8)}),
    "table in colour": lambda: plots.matrix(pd.DataFrame(random.random((3, 3)))).figure,
}


@pytest.mark.parametrize(
    ("draw", "expected"),
    [*((draw, True) for draw in PLOTS.values()), *((draw, False) for draw in PICTURES.values())],
    ids=[*PLOTS, *PICTURES],
)
def test_plots_and_pictures_are_told_apart(draw, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "book" / "_ext"), *sys.path])
    from themes import is_plot

    figure = draw()
    figure.savefig(tmp_path / "figure.png", bbox_inches="tight")
    plt.close(figure)
    assert is_plot(tmp_path / "figure.png") == expected
