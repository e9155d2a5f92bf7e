"""Images and maps in panels, in a browser."""

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the extra book is not installed")

import dcfnet.show.views as ex
from dcfnet.show.views.panels import map_panel
from dcfnet.show.views.store import map_store
from dcfnet.show.views.view import call, when_shown
from tests.support.views import open_view

# Shows another map, and reads it off.
CHOSEN = """(node, key) => {
  const { model } = dcfnetViews.mounted[0].view;
  const models = [...model.references()];
  const store = models.find((it) => it.data?.keys);
  const source = models.find((it) => it.data?.image && it.data.image[0].shape[0] > 1);
  const mapper = models.find((it) => it.type === "LinearColorMapper");
  const ticker = models.find((it) => it.type === "FixedTicker");
  const scale = models.find((it) => it.type === "Figure" && it !== model && it.height === 36);
  dcfnetViews.showMap({ store, source, mapper, scale, key });
  const [image] = source.data.image;
  return [[...image], image.shape, mapper.low, mapper.high, ticker.ticks,
    scale.html_attributes["aria-label"]];
}"""


def test_each_map_has_its_own_size_and_scale(tmp_path, open_page):
    y, x = np.mgrid[:12, :16]
    maps = {"a": y * 1e-3 + x, "b": -50.0 - x[:3, :4], "c": np.full((6, 8), 0.25)}
    panel = map_panel(map_store(maps), (12, 16), title="Maps")
    when_shown(panel.figure, call("showMap", **panel.models, key="a"))
    _, view = open_view(panel.layout, tmp_path, open_page)
    for key in ("b", "c", "a"):
        values, shape, low, high, ticks, words = view.evaluate(CHOSEN, key)
        expected = maps[key]
        assert tuple(shape) == expected.shape
        assert low == expected.min()
        np.testing.assert_allclose(values, expected.ravel(), atol=(high - low) / 500)
        assert high == pytest.approx(expected.max() if np.ptp(expected) else low + 1)
        assert 1 < len(ticks) < 8 and low < ticks[0] < ticks[-1] < high
        assert words.startswith(f"Colour scale from {low:.3g}"[:21])


@pytest.mark.parametrize("kind", ["numbers", "colour"])
def test_the_first_row_of_an_image_is_at_its_top(kind, tmp_path, open_page):
    image = np.zeros((16, 16), np.uint8)
    image[:4] = 255
    panel = ex.image_panel(
        image if kind == "numbers" else np.dstack([image] * 3), title="Top", **GREY[kind]
    )
    _, view = open_view(panel.layout, tmp_path, open_page)
    tones = view.page.evaluate(TONES)
    assert tones["top"] > 200 > 50 > tones["bottom"]


GREY = {"numbers": {"palette": "grey"}, "colour": {}}
# Mean brightness of the upper and the lower eighth of the largest canvas.
TONES = """() => {
  const canvases = [];
  const walk = (node) => {
    for (const child of node.querySelectorAll("*")) {
      if (child.tagName === "CANVAS") canvases.push(child);
      if (child.shadowRoot) walk(child.shadowRoot);
    }
  };
  walk(document);
  const canvas = canvases.reduce((a, b) => (a.width * a.height >= b.width * b.height ? a : b));
  const {width, height} = canvas;
  const tone = (y) => {
    const data = canvas.getContext("2d").getImageData(width / 4, y, width / 2, height / 8).data;
    return data.filter((_, i) => i % 4 === 0).reduce((a, b) => a + b, 0) / (data.length / 4);
  };
  return {top: tone(height / 16), bottom: tone((13 * height) / 16)};
}"""


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ex.image_panel(np.zeros(3), title="x"), r"\(h, w\)"),
        (lambda: ex.image_panel(np.zeros((2, 2, 3)), title="x"), "uint8"),
        (lambda: ex.image_panel(np.full((2, 2), np.nan), title="x"), "finite"),
        (lambda: map_store({}), "none"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
