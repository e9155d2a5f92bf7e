"""Two results beside each other, in a browser."""

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the extra book is not installed")

import dcfnet.show.views as ex
from tests.support.views import drive, open_view

# The methods' images as the two panels show them, left and right, and the panels' x ranges.
SHOWN = """() => {
  const models = [...dcfnetViews.mounted[0].view.model.references()];
  return models.filter((model) => model.tags.includes("dcf-image")).map((plot) => {
    const image = plot.renderers[0].data_source.data.image[0];
    return [[...new Uint8Array(image.buffer).slice(0, 3)], plot.x_range.start, plot.x_range.end];
  });
}"""


def flat(value):
    return np.full((12, 16, 3), value, np.uint8)


def results(errors=None):
    pictures = {"truth": flat(10), "EXP": flat(20), "DCFNet": flat(30)}
    if errors is None:
        errors = {"EXP": np.full((12, 16), 80.0), "DCFNet": np.full((12, 16), 20.0)}
    return ex.two_results(pictures, errors, unit="DN", limit=100.0, first="truth")


def test_each_side_shows_what_is_chosen(tmp_path, open_page):
    tab, view = open_view(results(), tmp_path, open_page)
    (left, *_), (right, *_) = view.evaluate(SHOWN)
    assert (left, right) == ([10] * 3, [30] * 3)

    first, second = view.locator("select").all()
    labels = first.evaluate("(it) => [...it.options].map((option) => option.label)")
    assert labels == ["truth", "EXP", "DCFNet", "EXP, error", "DCFNet, error"]
    first.select_option(label="EXP, error")
    second.select_option(label="DCFNet, error")
    (left, *_), (right, *_) = view.evaluate(SHOWN)
    assert sum(left) > sum(right), "a larger error is not brighter"
    assert drive(view) == 2

    # Both sides zoom together.
    (_, *left), (_, *right) = view.evaluate(SHOWN)
    assert left == right
    view.locator("[role=group]").nth(1).press("+")
    (_, *zoomed), (_, *other) = view.evaluate(SHOWN)
    assert zoomed == other != left
    assert tab.wrong == []


def room(layout):
    """Letters of a page that a view takes for what it shows."""
    full, empty = (ex.View(it, name="x", alt="x").html() for it in (layout, ex.column()))
    return len(full) - len(empty)


def test_a_page_holds_each_image_once():
    rng = np.random.default_rng(0)
    pictures = {n: rng.integers(0, 255, (64, 64, 3), np.uint8) for n in "abcdefgh"}
    layout = ex.two_results(pictures, {"a": np.ones((64, 64))}, unit="DN")
    assert room(layout) < 1.8 * 9 * 64 * 64 * 3 + 60_000


# The first pixel of the picture that each panel has drawn, left and right.
PHOTOGRAPHED = """async () => {
  const models = [...dcfnetViews.mounted[0].view.model.references()];
  const found = [];
  for (const model of models.filter((it) => it.type === "Figure")) {
    const picture = new Image();
    picture.src = model.renderers[0].data_source.data.url[0];
    await picture.decode();
    const canvas = new OffscreenCanvas(picture.width, picture.height);
    const context = canvas.getContext("2d");
    context.drawImage(picture, 0, 0);
    found.push([picture.width, picture.height, context.getImageData(0, 0, 1, 1).data[0]]);
  }
  return found;
}"""


def test_photographs_are_chosen_and_zoom_together(tmp_path, open_page):
    greys = np.linspace(0, 255, 40, dtype=np.uint8)
    ramp = np.tile(greys, (30, 1))  # something that zooming changes
    pictures = {"EXP": np.dstack([ramp] * 3), "DCFNet": 255 - np.dstack([ramp] * 3), "PAN": ramp}
    tab, view = open_view(ex.photographs(pictures, second="DCFNet"), tmp_path, open_page)
    (*size, left), (*_, right) = view.evaluate(PHOTOGRAPHED)
    assert size == [40, 30] and left < 10 and right > 245
    assert drive(view) == 2
    view.locator("select").nth(1).select_option(label="PAN")
    (*_, left), (*_, right) = view.evaluate(PHOTOGRAPHED)
    assert right < 10
    assert tab.wrong == []


def test_a_photograph_takes_little_of_the_page():
    image = np.tile(np.arange(256, dtype=np.uint8), (512, 4))
    assert room(ex.photographs({"a": image})) < 0.2 * image.size + 20_000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ex.photographs({"a": flat(1), "b": flat(1)[:8]}), "of one size"),
        (lambda: ex.photographs({"a": flat(1) / 2}), "uint8"),
        (lambda: ex.photographs({"a": flat(1)}, first="b"), "no picture of 'b'"),
        (lambda: results({"EXP": np.ones((4, 4))}), "one size"),
        (lambda: results({"PNN": np.ones((12, 16))}), "no picture of 'PNN'"),
        (
            lambda: ex.two_results({"a": flat(1)}, {"a": np.ones((12, 16))}, unit="", first="b"),
            "no picture of 'b'",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("make", ["results", "photographs", "comparison"])
def test_large_images_open_where_they_differ(make):
    from bokeh.plotting import figure

    one = np.full((150, 180, 3), 90, np.uint8)
    other = one.copy()
    other[90:110, 20:40] = 200
    pictures = {"EXP": one, "DCFNet": other}
    if make == "results":
        layout = ex.two_results(pictures, {"EXP": np.ones((150, 180))}, unit="DN")
    elif make == "comparison":
        panel, (_, amount) = ex.comparison(one, other, labels=("EXP", "DCFNet"), title="Two")
        layout = panel.layout
        assert panel.figure.x_range.start < 1.8 * amount.value < panel.figure.x_range.end
    else:
        layout = ex.photographs(pictures)
    plot = next(it for it in layout.select({"type": figure}) if "dcf-image" in it.tags)
    assert plot.x_range.start <= 20 < 40 <= plot.x_range.end == plot.x_range.start + 60
    assert plot.y_range.end <= 90 < 110 <= plot.y_range.start == plot.y_range.end + 50
    assert (plot.x_range.reset_start, plot.x_range.reset_end) == (0, 180)
