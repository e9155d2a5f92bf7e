"""Fixtures for tests that open pages: a built book and a browser without network."""

import contextlib
import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import pytest
import torch
from filelock import FileLock

from dcfnet.imagery.simulated.camera import simulate_scene

ROOT = Path(__file__).parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SHARED = "PYTEST_XDIST_WORKER" in os.environ

# Tensors are small here: threads would mostly wait for one another.
torch.set_num_threads(1)
# On a busy machine an example may take long and be right.
hypothesis.settings.register_profile(
    "patient",
    deadline=None,
    max_examples=20,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("patient")
if SHARED:
    # Workers share the cores, and must not fill each with threads of all.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what needs the rendered book or a browser, so that `-m "not pages"` leaves it out."""
    for item in items:
        if {"book", "chromium", "opened_at", "page"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("pages")
    if SHARED:
        # One worker begins with building the book, that is with its chapters, as many at once as
        # there are cores; the others take its further tests from it.
        items.sort(key=lambda item: "book" not in getattr(item, "fixturenames", ()))


@functools.cache
def simulated():
    """The simulated scene, which takes seconds to make, once in each process."""
    scene = simulate_scene()
    for image in (scene.ms, scene.pan, scene.truth, scene.mask):
        image.flags.writeable = False  # it is also everybody else's
    return scene


@pytest.fixture(scope="session", autouse=True)
def one_simulated_scene() -> Iterator[None]:
    """`load_scene("simulated")` makes no other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dcfnet.imagery.catalogue.simulate_scene", simulated)
        yield


@pytest.fixture(scope="session")
def book(tmp_path_factory) -> Path:
    """The folder of the rendered book, built once for all workers, with warnings as errors.

    Notebooks are executed only where no earlier build of this code has done so (see
    book/_ext/offline.py).
    """
    pytest.importorskip("jupyter_book", reason="the extra book is not installed")
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if SHARED else base) / "book"
    built = folder / "built"
    with FileLock(f"{folder}.lock"):
        if not built.exists():
            command = Path(sys.executable).with_name("jupyter-book")
            build = subprocess.run(
                [
                    command,
                    "build",
                    ROOT,
                    "--path-output",
                    folder,
                    "--warningiserror",
                    "--keep-going",
                ],
                capture_output=True,
                text=True,
            )
            if build.returncode:
                pytest.fail(f"No book:\n{build.stdout[-4000:]}\n{build.stderr[-8000:]}")
            built.touch()
    return folder / "_build" / "html"


@pytest.fixture(scope="session")
def book_url(book) -> Iterator[str]:
    """The address of the rendered book on a plain static server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=book)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium; tests skip where there is none, unless DCFNET_REQUIRE_BROWSER is set."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    with playwright.sync_playwright() as driver:
        if path is None and not Path(driver.chromium.executable_path).exists():
            missing = "no Chromium is installed"
            pytest.fail(missing) if os.environ.get("DCFNET_REQUIRE_BROWSER") else pytest.skip(
                missing
            )
        browser = driver.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@dataclass
class Tab:
    """A page, and what went wrong on it."""

    page: object
    wrong: list[str] = field(default_factory=list)


@pytest.fixture
def open_page(chromium):
    """Opens an address with every request refused that does not stay below `inside`."""
    with opening(chromium) as open_page:
        yield open_page


@contextlib.contextmanager
def opening(chromium):
    """What `open_page` is; all pages are closed at the end."""
    contexts = []

    def open_page(url: str, *, inside: str, theme: str = "light", **options) -> Tab:
        context = chromium.new_context(**options)
        contexts.append(context)
        context.add_init_script(f"localStorage.setItem('mode', '{theme}')")
        tab = Tab(context.new_page())

        def guard(route):
            address = route.request.url
            if address.startswith((inside, "data:", "blob:")):
                route.continue_()
            else:
                tab.wrong.append(f"asks for {address}")
                route.abort()

        context.route("**/*", guard)
        page = tab.page
        page.on("pageerror", lambda error: tab.wrong.append(f"error: {error}"))
        page.on("requestfailed", lambda r: tab.wrong.append(f"failed: {r.url}"))
        page.on("response", lambda r: r.status < 400 or tab.wrong.append(f"{r.status}: {r.url}"))
        page.on(
            "console",
            lambda m: m.type != "error" or tab.wrong.append(f"console: {m.text}"),
        )
        page.goto(url, wait_until="load")
        return tab

    yield open_page
    for context in contexts:
        context.close()
