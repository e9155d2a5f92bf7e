"""Prints the book, built as one page, into one PDF: `make pdf`.

    python book/print.py FOLDER OUT.pdf

Chromium prints what a reader sees: views stand as they are before anybody touches them, and one
that is higher than a sheet is made smaller. Links lead to places in the PDF, and the chapters are
its outline. Code that a reader would have to open is left out, and so is the page on the package.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from take_along import link

PREPARE = """() => {
  document.getElementById("document-book/api")?.nextElementSibling.remove();
  for (const code of document.querySelectorAll("details.above-input")) code.remove();
  for (const box of document.querySelectorAll("details:not(.dcf-live *)")) box.open = true;
  for (const box of document.querySelectorAll("details.below-input")) {
    box.querySelector("summary").remove();
    box.replaceWith(...box.childNodes);
  }
  // Chapters have names of their own inside; in one page each needs to be the only one.
  const taken = new Set();
  for (const [i, chapter] of document.querySelectorAll("article section").entries()) {
    if (chapter.parentElement.closest("section")) continue;
    for (const node of [chapter, ...chapter.querySelectorAll("[id]")]) {
      if (taken.has(node.id)) {
        const own = `${node.id}-${i}`;
        for (const link of chapter.querySelectorAll(`a[href="#${CSS.escape(node.id)}"]`)) {
          link.setAttribute("href", `#${own}`);
        }
        node.id = own;
      }
      taken.add(node.id);
    }
  }
  for (const link of document.querySelectorAll("article a[href]")) {
    const here = link.getAttribute("href").match(/^(?:[\\w./-]+\\.html)?(#.+)$/);
    if (here && document.getElementById(decodeURIComponent(here[1].slice(1)))) {
      link.setAttribute("href", here[1]);
    } else if (!/^https?:/.test(link.getAttribute("href"))) {
      link.removeAttribute("href");
    }
  }
}"""
READY = """() => [...document.querySelectorAll(".dcf-view, .dcf-live")]
  .every((view) => ["ready", "failed"].includes(view.dataset.state))"""
DRAWN = """() => new Promise((done) =>
  requestAnimationFrame(() => requestAnimationFrame(done)))"""
# A view that is higher than a sheet is laid out as on a wide screen, and made smaller.
WIDEN = """(height) => {
  for (const view of document.querySelectorAll(".dcf-view, .dcf-live")) {
    if (view.offsetHeight > height) view.style.width = "1100px";
  }
}"""
FIT = """([width, height]) => {
  for (const view of document.querySelectorAll(".dcf-view, .dcf-live")) {
    const scale = Math.min(width / view.offsetWidth, height / view.offsetHeight);
    if (scale >= 1) continue;
    const sheet = document.createElement("div");
    // Size containment keeps it in one piece.
    sheet.style = `contain: size; height: ${scale * view.offsetHeight}px`;
    view.replaceWith(sheet);
    sheet.append(view);
    view.style.transform = `scale(${scale})`;
    view.style.transformOrigin = "0 0";
  }
}"""
WIDTH = 673  # of A4 less its margins, in pixels
HEIGHT = 880  # the same, less a caption
FOOTER = """<div style="font: 8px sans-serif; width: 100%; text-align: center">
  <span class="pageNumber"></span></div>"""


def main(folder: str, out: str) -> None:
    """Prints the page of a ``singlehtml`` build."""
    (page,) = Path(folder).glob("book/*.html")
    # Sphinx names what a page needs as if it lay beside the folder book.
    whole = Path(folder) / "book.html"
    whole.write_text(
        page.read_text("utf-8").replace('"../_static/', '"_static/'), "utf-8"
    )
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=path, args=["--no-sandbox"]
        )
        tab = browser.new_page(color_scheme="light")
        tab.goto(whole.resolve().as_uri())
        tab.wait_for_function(READY, timeout=600_000)
        tab.evaluate(PREPARE)
        # Views lay themselves out anew for the width of A4 less its margins.
        tab.emulate_media(media="print")
        tab.set_viewport_size({"width": WIDTH, "height": 1000})
        tab.evaluate(DRAWN)
        tab.evaluate(WIDEN, HEIGHT)
        tab.evaluate(DRAWN)
        tab.evaluate(FIT, [WIDTH, HEIGHT])
        tab.pdf(
            path=out,
            format="A4",
            outline=True,
            tagged=True,
            print_background=True,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOTER,
            margin={
                "top": "16mm",
                "bottom": "18mm",
                "left": "16mm",
                "right": "16mm",
            },
        )
        browser.close()
    print(out)
    link("as-pdf", Path(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
