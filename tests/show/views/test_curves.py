"""Training curves to choose from, as numbers and in a browser."""

import re
from urllib.parse import unquote

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the extra book is not installed")

from bokeh.models import CheckboxGroup

import dcfnet.show.views as ex
from dcfnet.show.style import network_style
from dcfnet.training.runs import read_run
from tests.support.views import answers, drive, open_view, picture
from tests.training.test_runs import written

# What the view shows: per run, line and dot, and per scale whether it is seen.
SHOWN = """() => {
  const plots = [...dcfnetViews.mounted[0].view.model.references()].filter(
    (model) => model.type === "Figure");
  return plots.map((plot) => ({
    visible: plot.visible,
    labels: [plot.below[0].axis_label, plot.left[0].axis_label],
    curves: plot.renderers.filter((it) => it.glyph.type === "Line").map((it) => ({
      x: [...it.data_source.data.x], y: [...it.data_source.data.y], visible: it.visible})),
    dots: plot.renderers.filter((it) => it.glyph.type === "Scatter").map((it) => ({
      x: [...it.data_source.data.x], y: [...it.data_source.data.y], visible: it.visible})),
  }));
}"""


@pytest.fixture
def runs(tmp_path):
    """Two runs of different length and cost; the second is best before its end."""
    written(tmp_path / "runs" / "dcfnet", "dcfnet", 9, {"width": 0.05})
    written(tmp_path / "runs" / "dicnn", "dicnn", 12)
    made = {name: read_run(name, tmp_path / "runs") for name in ("dcfnet", "dicnn")}
    for run, low in zip(made.values(), (8, 5), strict=True):
        for row in run.history.rows:
            row["valid_loss"] = 1e-4 * (1 + (row["epoch"] - 1 - low) ** 2)
            row["psnr"] = 30.0 + row["epoch"]
            row["sam"] = 5.0 / row["epoch"]
            row["ergas"] = 6.0 / row["epoch"]
    return {"DCFNet": made["dcfnet"], "DiCNN": made["dicnn"]}


def seen(view):
    """The curves of the scale that is shown, and that only one is."""
    visible = [plot for plot in view.evaluate(SHOWN) if plot["visible"]]
    assert len(visible) == 1
    return visible[0]


def test_curves_are_the_histories_or_their_means_and_can_be_left_out(runs, tmp_path, open_page):
    tab, view = open_view(ex.convergence(runs), tmp_path, open_page)
    smooths(view, runs)
    against, measure, scale = view.locator("select").all()
    expected = {
        "epoch": lambda run: run.history["epoch"],
        "step": lambda run: 11 * run.history["epoch"],
        "hours": lambda run: run.history["seconds"].cumsum() / 3600,
        "operations": lambda run: run.history["epoch"] * run.operations_per_epoch / 1e15,
    }
    for i, numbers in enumerate(expected.values()):
        against.select_option(index=i)
        for j, column in enumerate(("train_loss", "valid_loss", "sam", "ergas", "psnr")):
            measure.select_option(index=j)
            for curve, run in zip(seen(view)["curves"], runs.values(), strict=True):
                np.testing.assert_allclose(curve["x"], numbers(run))
                np.testing.assert_allclose(curve["y"], run.history[column])
    # The dot is where validation loss is lowest, whatever is drawn.
    for dot, run in zip(seen(view)["dots"], runs.values(), strict=True):
        best = run.history.best_epoch() - 1
        np.testing.assert_allclose(dot["x"], expected["operations"](run)[best])
        np.testing.assert_allclose(dot["y"], run.history["psnr"][best])
    assert "PSNR" in seen(view)["labels"][1] and "operations" in seen(view)["labels"][0]
    scale.select_option("linear")
    assert [plot["visible"] for plot in view.evaluate(SHOWN)].count(True) == 1

    box = view.locator("input[type=checkbox]").nth(1)
    box.uncheck()
    assert [curve["visible"] for curve in seen(view)["curves"]] == [True, False]
    assert [dot["visible"] for dot in seen(view)["dots"]] == [True, False]
    box.check()
    assert drive(view) == 3 + 1 + 2  # three choices, a slider, a box per network
    assert tab.wrong == []


def smooths(view, runs):
    """The slider draws centred means, and back at its start the curves themselves."""
    slider = view.get_by_role("slider")
    before = picture(view)
    slider.focus()
    slider.press("ArrowRight")
    assert answers(view, before)
    raw = runs["DCFNet"].history["valid_loss"]
    shown = np.array(seen(view)["curves"][0]["y"])
    np.testing.assert_allclose(shown[1:-1], np.convolve(raw, np.ones(3) / 3, "valid"))
    np.testing.assert_allclose([shown[0], shown[-1]], [raw[:2].mean(), raw[-2:].mean()])
    smooth = picture(view)
    slider.press("ArrowLeft")
    assert answers(view, smooth)


def test_each_name_stands_beside_its_line(runs):
    group = ex.convergence(runs).select_one({"type": CheckboxGroup})
    css = unquote("".join(sheet.css for sheet in group.stylesheets))
    for i, title in enumerate(runs, 1):
        assert re.search(rf"nth-child\({i}\).*stroke='{network_style(title).colour}'", css)


def test_the_dot_is_at_the_optimal_epoch_where_there_is_one(runs, tmp_path, open_page):
    run = runs["DiCNN"]
    rows = run.history.rows
    losses = [3.0, 2.0, *[2.5] * 100, 1.0]  # optimal by its definition, though not the lowest
    rows[:] = [{**rows[0], "epoch": e, "valid_loss": v} for e, v in enumerate(losses, 1)]
    assert (run.history.optimal_epoch(), run.history.best_epoch()) == (2, 103)
    _, view = open_view(ex.convergence({"DiCNN": run}), tmp_path, open_page)
    assert [(dot["x"], dot["y"]) for dot in seen(view)["dots"]] == [([2.0], [2.0])]


def test_no_run_is_refused():
    with pytest.raises(ValueError, match="at least one training run"):
        ex.convergence({})
