from xml.etree import ElementTree

import pytest

from dcfnet.networks import build_network
from dcfnet.networks.dcfnet import REMOVABLE
from dcfnet.show.diagram import architecture

SVG = "{http://www.w3.org/2000/svg}"


def build(**options):
    return build_network("dcfnet", width=0.1, **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bands": 4, "inject_details": False},
        {"without": "pcft1"},
        {"without": "pcft2"},
        {"without": ("pcft1.crossing", "pcft2.crossing")},
        {"without": ("stage3.fusion.transfers.2_to_0", "stage2.fusion.transfers.0_to_1")},
        {"without": REMOVABLE},
    ],
)
def test_every_part_is_drawn_once_and_says_what_it_is(options):
    model = build(**options)
    drawn = architecture(model)
    tree = ElementTree.fromstring(drawn.svg)
    groups = [group for group in tree.iter(f"{SVG}g") if group.get("data-part")]
    assert sorted(group.get("data-part") for group in groups) == sorted(model.parts())
    for group in groups:
        part = model.parts()[group.get("data-part")]
        shape = " × ".join(map(str, part.shape(64, 64)))
        assert group.find(f"{SVG}title").text == f"{part.label}: {shape}"
        assert len(group) > 1


@pytest.mark.parametrize(
    "options", [{}, {"without": REMOVABLE}, {"without": ("pcft1.crossing", "pcft2.crossing")}]
)
def test_boxes_lie_on_the_sheet_and_apart(options):
    tree = ElementTree.fromstring(architecture(build(**options)).svg)
    left, top, width, height = map(float, tree.get("viewBox").split())
    boxes = {}
    for group in tree.iter(f"{SVG}g"):
        for rect in group.findall(f"{SVG}rect[@class='shape']"):
            x, y, w, h = (float(rect.get(key)) for key in ("x", "y", "width", "height"))
            assert left <= x and x + w <= left + width and top <= y and y + h <= top + height
            boxes[group.get("data-part")] = (x, y, x + w, y + h)
    for one, (x0, y0, x1, y1) in boxes.items():
        for other, (a0, b0, a1, b1) in boxes.items():
            if one < other and not other.startswith(f"{one}."):
                assert x1 <= a0 or a1 <= x0 or y1 <= b0 or b1 <= y0, (one, other)


def test_text_is_that_of_the_network():
    svg = architecture(build(inject_details=False), 96, 128).svg
    assert "+ lms" not in svg and "+ lms" in architecture(build()).svg
    assert "9 × 96 × 128" in svg and "8 × 24 × 32" in svg
    assert "no PCFT" in architecture(build(without="pcft2")).svg


def test_a_drawing_has_a_name():
    drawn = architecture(build())
    tree = ElementTree.fromstring(drawn.svg)
    assert tree.get("role") == "img"
    assert tree.get("aria-label") == drawn.alt
    assert "pyramid" in drawn.alt
    assert "pyramid" not in architecture(build(without=("pcft1", "pcft2"))).alt
    assert drawn._repr_html_() == drawn.svg
