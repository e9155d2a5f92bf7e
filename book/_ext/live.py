"""Sphinx extension: the networks that run in the reader's page, made from the committed weights.

Nothing generated is committed. What `dcfnet.show.live` writes is kept in ``_build`` under the hash
of all that it depends on, for every build of this checkout, and copied beside the pages.
"""

import hashlib
import shutil
from importlib.metadata import version
from pathlib import Path

from docutils import nodes
from filelock import FileLock
from offline import ROOT, add_files
from sphinx.application import Sphinx

MADE_OF = (
    "dcfnet/show/live",
    "dcfnet/networks",
    "data/runs/dcfnet",
    "data/runs/narrow-whole-0",
)


def packed() -> Path:
    """The folder with the networks of this state of the checkout, made where it is missing."""
    digest = hashlib.sha256(f"{version('torch')} {version('onnx')}".encode())
    add_files(digest, MADE_OF)
    folder = ROOT / "_build" / "live" / digest.hexdigest()[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / "live.js").exists():
            from dcfnet.show.live import networks, write

            unfinished = folder.with_suffix(".part")
            shutil.rmtree(unfinished, ignore_errors=True)
            write(unfinished, networks())
            unfinished.rename(folder)
    return folder


def offer(
    app: Sphinx,
    page: str,
    template: str,
    context: dict[str, object],
    doctree: nodes.document | None,
) -> None:
    """Adds the script that says what there is, to pages that have a use for it."""
    if 'class="dcf-live"' in str(context.get("body", "")):
        app.add_js_file("live.js", loading_method="defer")


def serve(app: Sphinx, exception: Exception | None) -> None:
    """Copies the networks beside the pages."""
    if exception is None and app.builder.format == "html":
        static = Path(app.outdir) / "_static"
        shutil.copytree(packed(), static, dirs_exist_ok=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the extension."""
    app.connect("html-page-context", offer)
    app.connect("build-finished", serve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
