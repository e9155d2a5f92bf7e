"""The rendered book: every page, from disk and from a server, with no network at all."""

from functools import cache
from itertools import pairwise
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
import yaml

from tests.conftest import ROOT
from tests.support.views import drive

TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
PAGES = [TOC["root"]] + [
    chapter["file"] for part in TOC.get("parts", [TOC]) for chapter in part["chapters"]
]
EQUATIONS = """() => [...document.querySelectorAll(".math")].map((node) => {
  const box = node.querySelector("math")?.getBoundingClientRect();
  return box && box.width > 0 && box.height > 0 && !node.querySelector("merror, :not(mtext) > code")
    ? "drawn" : node.textContent;
})"""
# Contrast of text in views with the page behind it, as WCAG 2 defines it.
CONTRAST = """(view) => {
  const luminance = (colour) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
    const context = canvas.getContext("2d");
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const part = [...context.getImageData(0, 0, 1, 1).data].slice(0, 3).map((value) =>
      value <= 10 ? value / 3294 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
  };
  let ground = view;
  while (ground && getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") {
    ground = ground.parentElement;
  }
  const two = [getComputedStyle(view).color, getComputedStyle(ground).backgroundColor]
    .map(luminance).sort();
  return (two[1] + 0.05) / (two[0] + 0.05);
}"""


def wait_for_views(page):
    page.wait_for_function(
        "() => [...document.querySelectorAll('.dcf-view, .dcf-live')]"
        ".every((view) => ['ready', 'failed'].includes(view.dataset.state))",
        timeout=20_000,
    )
    views = page.locator(".dcf-view").all()
    for view in views:
        assert view.get_attribute("data-state") == "ready", view.get_attribute("data-view")
    return views


@pytest.mark.parametrize("name", PAGES)
def test_page_on_disk_needs_nothing_from_outside(name, book, open_page):
    tab = open_page(f"{book.as_uri()}/{name}.html", inside=book.as_uri())
    page = tab.page
    views = wait_for_views(page)
    assert set(page.evaluate(EQUATIONS)) <= {"drawn"}
    if page.locator("math").count():
        page.evaluate("() => document.fonts.ready")
        assert page.evaluate("() => document.fonts.check('16px \"STIX Two Math\"', '∑')")
    names = [view.get_attribute("data-view") for view in views]
    assert len(set(names)) == len(names)
    for view in views:
        drive(view)
    assert tab.wrong == []


@pytest.mark.parametrize("name", PAGES)
def test_served_page_is_small_without_a_view_and_fits_a_phone_in_both_themes(
    name, book_url, open_page
):
    tab = open_page(
        f"{book_url}/{name}.html",
        inside=book_url,
        theme="dark",
        viewport={"width": 360, "height": 740},
        device_scale_factor=2,
        is_mobile=True,
        has_touch=True,
    )
    page = tab.page
    views = wait_for_views(page)
    assert set(page.evaluate(EQUATIONS)) <= {"drawn"}
    page.evaluate("() => document.fonts.ready")
    size = page.evaluate(
        "() => [...performance.getEntriesByType('navigation'),"
        " ...performance.getEntriesByType('resource')]"
        ".reduce((sum, entry) => sum + entry.decodedBodySize, 0)"
    )
    # A view brings its data and BokehJS.
    assert 1e5 < size < (1e9 if views else 3e6), f"{size / 1e6:.1f} MB"
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"
    for theme in ("dark", "light"):
        page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
        page.evaluate("() => new Promise(requestAnimationFrame)")
        for view in views:
            assert view.evaluate(CONTRAST) >= 4.5
            box = view.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 360
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    assert tab.wrong == []


@pytest.mark.parametrize("place", ["file", "http"])
def test_search_finds_a_word(place, book, book_url, open_page):
    base = book.as_uri() if place == "file" else book_url
    tab = open_page(f"{base}/search.html?q=pansharpening", inside=base)
    found = tab.page.locator("#search-results a")
    found.first.wait_for()
    assert found.count() > 1
    tab.page.wait_for_timeout(500)
    assert tab.wrong == []


@pytest.mark.parametrize("name", PAGES)
def test_page_can_be_read_aloud(name, book):
    page = read(book / f"{name}.html")
    assert page.html["lang"]
    assert len(page.select("article h1")) == 1
    levels = [int(heading.name[1]) for heading in page.select("article :is(h1, h2, h3, h4)")]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all("alt" in image.attrs for image in page.select("img"))
    for image in page.select("article img"):
        # Without a text of its author, MyST-NB repeats the name of the file.
        assert image["alt"], image
        assert not image["alt"].endswith((".png", ".svg")), image
    for view in page.select(".dcf-view"):
        assert len(view["aria-label"]) > 20
    for figure in page.select("article figure"):
        assert figure.figcaption, figure.get("id")
    for control in page.select("article :is(button, summary)"):
        seen, name = control.get_text(" ", strip=True), control.get("aria-label")
        assert seen or name, control
        assert not name or seen in name, control
    for table in page.select("article table"):
        assert table.select("th"), table
    for entries in page.select("article [role=list]"):
        assert {entry.get("role") for entry in entries.find_all(recursive=False)} == {"listitem"}


@cache
def names(path):
    """What links to a page can name."""
    return {element["id"] for element in read(path).find_all(id=True)}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name, book):
    path = book / f"{name}.html"
    for link in read(path).select("a[href]"):
        address, anchor = urldefrag(link["href"])
        if urlsplit(address).scheme or address.startswith("#"):
            continue
        target = (path.parent / unquote(address)).resolve() if address else path
        assert target.exists(), link
        if anchor and target.suffix == ".html":
            assert unquote(anchor) in names(target), link


def test_notebooks_can_be_downloaded(book):
    notebooks = [name for name in PAGES if (ROOT / f"{name}.ipynb").exists()]
    assert notebooks
    for name in notebooks:
        hrefs = [link["href"] for link in read(book / f"{name}.html").select("a[href$='.ipynb']")]
        assert hrefs
        for href in hrefs:
            source = (book / f"{name}.html").parent / href
            assert '"outputs": []' in source.read_text()


def test_bokehjs_is_served_once(book):
    assert len(list((book / "_static").glob("bokeh-*.min.js"))) == 1
    for path in book.rglob("*.html"):
        text = path.read_text()
        assert "data-shared" not in text
        assert "Bokeh Contributors" not in text


@cache
def read(path):
    """A page's elements."""
    soup = pytest.importorskip("bs4")
    return soup.BeautifulSoup(path.read_text("utf-8"), "html.parser")
