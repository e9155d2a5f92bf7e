"""A page on disk with a network in it, opened in Chromium or in Firefox, without network."""

import json
import shutil
from pathlib import Path

import pytest

HEAD = """<!doctype html>
<html lang="en" data-theme="light"><head><meta charset="utf-8"><title>A network in a page</title>
<meta name="viewport" content="width=device-width">
<style>html { color-scheme: light; --ground: #fff; --ink: #222;
    --pst-color-surface: #eee; --pst-color-primary: #0b6b74; }
  html[data-theme=dark] { color-scheme: dark; --ground: #111; --ink: #ddd;
    --pst-color-surface: #222; --pst-color-primary: #6bc5ce; }
  html { --pst-color-background: var(--ground); --pst-color-text-base: var(--ink);
    --pst-color-text-muted: var(--ink); --pst-color-border: var(--ink); }
  body { margin: 0.5rem; background: var(--ground); }</style>
<script>
  const added = []; // what is asked for by script
  const look = (change) => change.addedNodes.forEach((node) => node.src && added.push(node.src));
  new MutationObserver((changes) => changes.forEach(look))
    .observe(document, { childList: true, subtree: true });
  const engine = () => added.filter((address) => address.includes("/live/"));
</script>
<script src="_static/live.js"></script></head><body><main><h1>A page</h1>
PIECE</main>
<script>const piece = document.querySelector(".dcf-live-body");</script></body></html>
"""


class Chromium:
    """A page in Chromium, with the methods of `tests.show.live.firefox.Firefox`."""

    def __init__(self, open_page, address, inside, **options):
        self.tab = open_page(address, inside=inside, **options)
        self.wrong = self.tab.wrong
        self.evaluate = self.tab.page.evaluate

    def longest_task(self, work):
        """Of what the page does meanwhile, in milliseconds of its own thread's time.

        What other programs take of the machine at the same time does not count.
        """
        browser = self.tab.page.context.browser
        browser.start_tracing(page=self.tab.page, categories=["toplevel", "__metadata"])
        work()
        events = json.loads(browser.stop_tracing())["traceEvents"]
        pages = [
            (it["pid"], it["tid"])
            for it in events
            if it.get("args", {}).get("name") == "CrRendererMain"
        ]
        tasks = [it for it in events if (it["pid"], it["tid"]) in pages and "tdur" in it]
        return max(it["tdur"] for it in tasks) / 1000

    def faults(self):
        """What axe-core has against the piece, in both themes, with nothing folded away."""
        axe = pytest.importorskip("axe_playwright_python.sync_playwright")
        self.evaluate("document.querySelectorAll('details').forEach((it) => { it.open = true; })")
        faults = []
        for theme in ("dark", "light"):
            self.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
            found = axe.Axe().run(self.tab.page, context=".dcf-live").response["violations"]
            faults += [(theme, it["id"], [node["target"] for node in it["nodes"]]) for it in found]
        return faults


def usable(page, width):
    """Whether everybody can use a page of Chromium that is so wide."""
    assert page.faults() == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not page.wrong


def write_page(site, name, piece):
    """A page with a piece of HTML beside the networks of a site; its address."""
    path = Path(site) / f"{name}.html"
    path.write_text(HEAD.replace("PIECE", piece), "utf-8")
    return path.as_uri()


def find_firefox():
    """Where Firefox is; tests skip where it is not, or where its messenger is not installed."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("no Firefox is installed")
    pytest.importorskip("websocket", reason="the extra test is not installed")
    return program


def click(page, selector):
    """Clicks what a style sheet's selector finds first."""
    page.evaluate(f"document.querySelector({selector!r}).click()")


def shown(page, selector):
    """The text of what a selector finds first."""
    return page.evaluate(f"document.querySelector({selector!r}).textContent")


def wait_until(page, condition, seconds=120):
    """Waits until an expression of the page is true; an error of the page ends the waiting."""
    later = "new Promise((done) => setTimeout(done, 200))"
    for _ in range(5 * seconds):
        if page.evaluate(f"{later}.then(() => Boolean({condition}))"):
            return
        assert not page.wrong
    raise TimeoutError(condition)


def settled(page):
    """Waits until the view, which the page's script calls `piece`, has answered."""
    page.evaluate("new Promise((done) => setTimeout(done, 100))")
    wait_until(page, "!piece.hasAttribute('aria-busy')")


def choose(page, title, value):
    """Sets the control with a title, and waits for the view's answer."""
    page.evaluate(
        "((title, value) => { const label = [...document.querySelectorAll('.dcf-choice')]"
        ".find((it) => it.firstChild.textContent.trim() === title);"
        " const select = label.querySelector('select'); select.value = value;"
        f" select.dispatchEvent(new Event('change')); }})({title!r}, {value!r})"
    )
    settled(page)
