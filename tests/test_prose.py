"""Numbers in the text of a page are those that it prints."""

import importlib
import os

import pytest

pytest.importorskip("bs4")

from docutils.core import publish_doctree

from tests.conftest import ROOT
from tests.support.prose import unprinted
from tests.test_book import PAGES

PAGE = """<section><h2>A</h2>
<div class="cell"><div class="cell_output"><table><tr><th>ERGAS</th><td>-0.0314</td>
<td>1,234</td></tr></table></div></div>
<p>{}</p>
<section><h2>Below</h2><div class="cell"><div class="cell_output">7.5 %</div></div></section>
</section>
<section><h2>B</h2><div class="cell"><div class="cell_output">99</div></div></section>"""


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("lower by 0.031<!-- printed --> than", []),
        ("lower by 0.03<!--printed--> than", []),
        ("lower by 0.032<!-- printed --> than", ["0.032"]),
        ("lower by 0.032 than", []),
        ("of 1,234<!-- printed --> and 1234<!-- printed -->", []),
        ("about 8 %<!-- printed -->, that is 7.5 %<!-- printed -->", []),
        ("in another section: 99<!-- printed -->", ["99"]),
        ("none<!-- printed -->", ["no number before a mark: none"]),
        ("one word<!-- printed: ERGAS -0.0314 --> and <!-- printed: SAM -->", ["SAM"]),
        ("a remark <!-- not for the test -->", []),
    ],
)
def test_a_marked_number_must_be_printed_in_its_section(text, wrong):
    found, count = unprinted(PAGE.format(text))
    assert found == wrong
    assert count == text.replace(" ", "").count("<!--printed")


@pytest.mark.parametrize("name", PAGES)
def test_numbers_in_the_text_are_those_of_the_page(name, book):
    if os.environ.get("DCFNET_SCENE", "wv3-longmont") != "wv3-longmont":
        pytest.skip("numbers in the text are those of the Longmont scene")
    wrong, _ = unprinted((book / f"{name}.html").read_text("utf-8"))
    assert wrong == []


def test_a_number_stays_with_its_unit(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    page = publish_doctree("3 % of 5 × 5 in 2 more places, not ``7 % 4``")
    importlib.import_module("access").tie(None, page, "")
    assert page.astext() == "3\u00a0% of 5\u00a0×\u00a05 in 2 more places, not 7 % 4"


def test_in_tables_a_hyphen_before_a_number_becomes_a_minus(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    cells = "<td>-0.35 [-1.2, 3]</td><td>1e-4 WorldView-3</td>"
    context = {"body": f"<p>-1</p>{cells}<td><code>-2</code></td>"}
    importlib.import_module("access").correct(None, "", "", context, None)
    minus = cells.replace("-0", "\u22120").replace("-1", "\u22121")
    assert context["body"] == f"<p>-1</p>{minus}<td><code>-2</code></td>"
