"""The book to take along: one PDF, with chapters as its outline, and its pages in one file."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed")


@pytest.fixture(scope="module")
def printed(book, chromium, tmp_path_factory):
    """A few pages of the book, which has been executed, in one PDF."""
    folder = tmp_path_factory.mktemp("print")
    toc = folder / "toc.yml"
    pages = ["book/08_convergence", "book/api", "book/glossary", "book/references"]
    toc.write_text(
        yaml.safe_dump(
            {
                "format": "jb-book",
                "root": "book/intro",
                "parts": [{"caption": "A part", "chapters": [{"file": page} for page in pages]}],
            }
        )
    )
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    build = [jupyter_book, "build", ROOT, "--builder", "singlehtml", "--toc", toc]
    subprocess.run([*build, "--path-output", folder, "--quiet"], check=True, capture_output=True)
    out = folder / "book.pdf"
    html = folder / "_build" / "singlehtml"
    subprocess.run([sys.executable, ROOT / "book" / "print.py", html, out], check=True)
    return pypdf.PdfReader(out)


def test_chapters_are_the_outline_and_the_package_is_left_out(printed):
    titles = [*_titles(printed.outline)]
    assert any("Convergence" in title for title in titles), titles
    assert not any("The package" in title for title in titles), titles
    text = "".join(page.extract_text() for page in printed.pages)
    assert "Convergence" in text
    assert "Show the code" not in text


def test_links_lead_into_the_pdf_or_to_the_web(printed):
    addresses, inside = [], 0
    for page in printed.pages:
        for link in page.get("/Annots", []):
            action = link.get_object().get("/A", {})
            if "/URI" in action:
                addresses.append(action["/URI"])
            elif link.get_object().get("/Dest") or action.get("/D"):
                inside += 1
    assert inside > 10
    assert all(address.startswith("http") for address in addresses), addresses


def test_pictures_are_in_it(printed):
    assert sum(len(page.images) for page in printed.pages) >= 2


def test_pages_are_packed_and_linked_and_can_be_packed_again(tmp_path):
    pages = tmp_path / "html"
    first = pages / "book" / "intro.html"
    first.parent.mkdir(parents=True)
    first.write_text('<p>Take it: <span class="as-zip"></span>.</p>')
    out = pages / "dcfnet-book.zip"
    for _ in range(2):
        subprocess.run([sys.executable, ROOT / "book" / "take_along.py", pages, out], check=True)
        with zipfile.ZipFile(out) as packed:
            assert [n for n in packed.namelist() if not n.endswith("/")] == ["book/intro.html"]
    assert first.read_text().count('<a href="../dcfnet-book.zip">') == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["html"]


def _titles(outline):
    for item in outline:
        if isinstance(item, list):
            yield from _titles(item)
        else:
            yield item.title
