"""Training curves to choose from, as numbers and in a browser."""

import numpy as np
import pytest

import dcfnet.show.views as ex
from dcfnet.show.style import network_style
from dcfnet.training.runs import read_run
from tests.support.views import drive, open_view
from tests.training.test_runs import written

LINES = "(view) => view.querySelector('.dcf-live-body').lines"


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


def drawn(view):
    """How many curves and dots there are."""
    chart = view.locator(".dcf-chart")
    return chart.locator("path[stroke-dasharray]").count(), chart.locator("circle").count()


def test_curves_are_the_histories_or_their_means_and_can_be_left_out(runs, tmp_path, open_page):
    tab, view = open_view(ex.convergence(runs), tmp_path, open_page)
    smooths(view, runs)
    against, measure, _ = view.locator("select").all()
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
            for line, run in zip(view.evaluate(LINES), runs.values(), strict=True):
                np.testing.assert_allclose(line["x"], numbers(run))
                np.testing.assert_allclose(line["y"], run.history[column])
                # The dot is where validation loss is lowest, whatever is drawn.
                assert line["dots"] == [run.history.best_epoch() - 1]
    chart = view.locator(".dcf-chart")
    assert {"validation PSNR (dB)", "operations (10¹⁵)"} <= set(texts(chart))

    # Lines of networks have their style, in the chart and beside their names.
    for run, line in zip(runs.values(), view.locator(".dcf-names path").all(), strict=True):
        assert line.get_attribute("stroke") == network_style(run.network).colour
        assert chart.locator(f"path[stroke='{network_style(run.network).colour}']").count() == 1
    assert drawn(view) == (2, 2)
    box = view.locator("input[type=checkbox]").nth(1)
    box.uncheck()
    assert drawn(view) == (1, 1)
    view.locator("input[type=checkbox]").nth(0).uncheck()
    assert drawn(view) == (0, 0)
    view.locator("input[type=checkbox]").nth(0).check()
    box.check()
    assert drive(view) == 3 + 1 + 2  # three choices, a slider, a box per network
    assert tab.wrong == []


def texts(chart):
    return chart.evaluate("(it) => [...it.querySelectorAll('text')].map((it) => it.textContent)")


def test_axes_are_logarithmic_or_linear_and_points_can_be_read(runs, tmp_path, open_page):
    tab, view = open_view(ex.convergence(runs), tmp_path, open_page)
    chart = view.locator(".dcf-chart")

    def heights(run):
        points = chart.locator("path[stroke-dasharray]").nth(run).get_attribute("d")[1:].split("L")
        return np.array([float(point.split()[1]) for point in points])

    loss = runs["DCFNet"].history["valid_loss"]
    for scale, along in (("log", np.log), ("linear", np.asarray)):
        view.get_by_label("Scale").select_option(scale)
        numbers = [float(text) for text in texts(chart) if text[0].isdigit()]
        assert len(numbers) > 4
        assert np.corrcoef(heights(0), along(loss))[0, 1] == pytest.approx(-1)
    dot = chart.locator("circle").first.bounding_box()
    tab.page.mouse.move(dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2)
    said = view.locator(".dcf-readout").inner_text()
    best = runs["DCFNet"].history.best_epoch()
    assert said == f"DCFNet, epoch {best}: {loss[best - 1]:.8f}"
    assert tab.wrong == []


def smooths(view, runs):
    """The slider draws centred means, and back at its start the curves themselves."""
    slider = view.get_by_role("slider")
    slider.press("ArrowRight")
    raw = runs["DCFNet"].history["valid_loss"]
    shown = np.array(view.evaluate(LINES)[0]["y"])
    np.testing.assert_allclose(shown[1:-1], np.convolve(raw, np.ones(3) / 3, "valid"))
    np.testing.assert_allclose([shown[0], shown[-1]], [raw[:2].mean(), raw[-2:].mean()])
    slider.press("ArrowLeft")
    np.testing.assert_allclose(view.evaluate(LINES)[0]["y"], raw)


def test_the_dot_is_at_the_optimal_epoch_where_there_is_one(runs):
    run = runs["DiCNN"]
    rows = run.history.rows
    losses = [3.0, 2.0, *[2.5] * 100, 1.0]  # optimal by its definition, though not the lowest
    rows[:] = [{**rows[0], "epoch": e, "valid_loss": v} for e, v in enumerate(losses, 1)]
    assert (run.history.optimal_epoch(), run.history.best_epoch()) == (2, 103)
    assert ex.convergence({"DiCNN": run}).data["runs"][0]["best"] == 1


def test_no_run_is_refused():
    with pytest.raises(ValueError, match="at least one training run"):
        ex.convergence({})
