"""Pictures that are chosen, compared and moved together, in a browser."""

import numpy as np
import pytest

import dcfnet.show.views as ex
from tests.support.views import drive, open_view

NAMES = ["blue", "green", "red", "near infrared"]
# Of each picture that is seen, its size and its first and its last pixel.
SEEN = """(view) => Promise.all([...view.querySelectorAll("img")].map(async (image) => {
  await image.decode();
  const { naturalWidth: width, naturalHeight: height } = image;
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixel = (x, y) => [...context.getImageData(x, y, 1, 1).data].slice(0, 3);
  return [[height, width], pixel(0, 0), pixel(width - 1, height - 1)];
}))"""
LIES = "(view) => [...view.querySelectorAll('.dcf-layer')].map((it) => it.style.transform)"


def flat(value):
    return np.full((12, 16, 3), value, np.uint8)


def pixels(view):
    return [first for _, first, _ in view.evaluate(SEEN)]


def test_a_frame_is_chosen_and_a_coarse_one_lies_on_the_same_ground(tmp_path, open_page):
    stack = np.stack([flat(10 * i) for i in range(4)])
    drawing = ex.frame_panels({"Frames": stack, "Coarse": flat(7)[::4, ::4]}, {"Band": NAMES})
    tab, view = open_view(drawing, tmp_path, open_page)
    assert drive(view) == 1
    view.locator("select").select_option(label="red")
    assert view.evaluate(SEEN) == [
        [[12, 16], [20] * 3, [20] * 3],
        [[3, 4], [7] * 3, [7] * 3],
    ]
    one, other = (image.bounding_box() for image in view.locator("img").all())
    assert one["width"] == pytest.approx(other["width"], abs=1)
    assert one["height"] == pytest.approx(0.75 * one["width"], abs=1)
    assert one["height"] == pytest.approx(other["height"], abs=1)
    assert tab.wrong == []


def test_frames_follow_several_choices(tmp_path, open_page):
    stack = np.stack([[flat(10 * i + j) for j in range(3)] for i in range(2)])
    choices = {"First": "ab", "Second": "cde"}
    tab, view = open_view(ex.frame_panels({"Frames": stack}, choices), tmp_path, open_page)
    first, second = view.locator("select").all()
    first.select_option(label="b")
    second.select_option(label="e")
    assert pixels(view) == [[12] * 3]
    assert tab.wrong == []


def test_the_first_image_is_left_of_the_curtain(tmp_path, open_page):
    drawing = ex.comparison(flat(30), flat(200), labels=("true", "infrared"), title="Two images")
    tab, view = open_view(drawing, tmp_path, open_page)
    shot = tmp_path / "shot.png"
    view.locator(".dcf-frame").screenshot(path=shot)
    seen = np.asarray(pytest.importorskip("PIL.Image").open(shot).convert("L"))
    middle = seen[seen.shape[0] // 2]
    assert (middle[len(middle) // 4], middle[3 * len(middle) // 4]) == (30, 200)
    assert drive(view) == 2
    assert view.locator(".dcf-line").is_hidden()  # by now they are blended
    assert tab.wrong == []


def results(errors=None):
    pictures = {"truth": flat(10), "EXP": flat(20), "DCFNet": flat(30)}
    if errors is None:
        errors = {"EXP": np.full((12, 16), 80.0), "DCFNet": np.full((12, 16), 20.0)}
    return ex.two_results(pictures, errors, unit="DN", limit=100.0, first="truth")


def test_each_side_shows_what_is_chosen_and_both_move_together(tmp_path, open_page):
    tab, view = open_view(results(), tmp_path, open_page)
    assert pixels(view) == [[10] * 3, [30] * 3]
    first, second = view.locator("select").all()
    labels = first.evaluate("(it) => [...it.options].map((option) => option.label)")
    assert labels == ["truth", "EXP", "DCFNet", "EXP, error", "DCFNet, error"]
    first.select_option(label="EXP, error")
    second.select_option(label="DCFNet, error")
    left, right = pixels(view)
    assert sum(left) > sum(right), "a larger error is not brighter"
    assert view.locator(".dcf-scale", has_text="100 DN").is_visible()
    assert drive(view) == 2

    def moved(act):
        before = view.evaluate(LIES)
        act()
        after = view.evaluate(LIES)
        assert after[0] == after[1] != before[0]

    # By keys, by dragging, and by the wheel with Ctrl alone.
    image = view.locator("[role=group]").nth(1)
    moved(lambda: image.press("+"))
    moved(lambda: image.press("ArrowRight"))
    box = image.bounding_box()
    mouse = tab.page.mouse
    mouse.move(box["x"] + 60, box["y"] + 60)

    def drag():
        mouse.down()
        mouse.move(box["x"] + 20, box["y"] + 40, steps=4)
        mouse.up()

    moved(drag)
    before = view.evaluate(LIES)
    mouse.wheel(0, -10)
    assert view.evaluate(LIES) == before
    tab.page.keyboard.down("Control")
    moved(lambda: (mouse.wheel(0, -50), tab.page.wait_for_timeout(100)))
    tab.page.keyboard.up("Control")
    image.press("0")
    assert view.evaluate(LIES) == ["scale(1) translate(0%, 0%)"] * 2
    assert tab.wrong == []


def test_photographs_are_chosen_and_zoom_together(tmp_path, open_page):
    ramp = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (30, 1))
    pictures = {"EXP": np.dstack([ramp] * 3), "DCFNet": 255 - np.dstack([ramp] * 3), "PAN": ramp}
    tab, view = open_view(ex.photographs(pictures, second="DCFNet"), tmp_path, open_page)
    (size, left, _), (_, right, _) = view.evaluate(SEEN)
    assert size == [30, 40] and left[0] < 10 and right[0] > 245
    assert drive(view) == 2
    view.locator("select").nth(1).select_option(label="PAN")
    assert pixels(view)[1][0] < 10
    assert tab.wrong == []


def room(drawing):
    """Letters of a page that a view takes for what it shows."""
    return len(ex.View(drawing, name="x", alt="x").around(""))


def test_a_page_holds_each_image_once():
    rng = np.random.default_rng(0)
    pictures = {n: rng.integers(0, 255, (64, 64, 3), np.uint8) for n in "abcdefgh"}
    drawing = ex.two_results(pictures, {"a": np.ones((64, 64))}, unit="DN")
    assert room(drawing) < 1.8 * 9 * 64 * 64 * 3 + 60_000


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
        (lambda: ex.comparison(flat(1), flat(1)[:4], labels=("a", "b"), title="x"), "one size"),
        (lambda: ex.frame_panels({"x": np.zeros((2, 4, 4, 3))}, {"a": "bc"}), "of uint8"),
        (lambda: ex.frame_panels({"x": np.stack([flat(1)] * 3)}, {"a": "bc"}), "'x' must be"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("make", ["results", "photographs", "comparison"])
def test_large_images_open_where_they_differ(make):
    one = np.full((150, 180, 3), 90, np.uint8)
    other = one.copy()
    other[90:110, 20:40] = 200
    pictures = {"EXP": one, "DCFNet": other}
    if make == "results":
        _, data = ex.two_results(pictures, {"EXP": np.ones((150, 180))}, unit="DN")
    elif make == "comparison":
        _, data = ex.comparison(one, other, labels=("EXP", "DCFNet"), title="Two")
    else:
        _, data = ex.photographs(pictures)
    top, left = (data["open"][axis] for axis in "yx")
    assert data["open"]["zoom"] == 3
    assert left <= 20 / 180 < 40 / 180 <= left + 1 / 3
    assert top <= 90 / 150 < 110 / 150 <= top + 1 / 3
    if make == "comparison":
        assert left < data["amount"] / 100 < left + 1 / 3


def test_small_images_are_shown_whole():
    assert results().data["open"] is None
