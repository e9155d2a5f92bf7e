"""Sphinx extension: what the rendered book needs is served with it, each thing once."""

import contextlib
import hashlib
import importlib.metadata
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

# Search shows text from the pages it finds; a page on disk may not read others.
SEARCH = (
    "if (location.protocol === 'file:') "
    "DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;"
)
ROOT = Path(__file__).parents[2]
SHARED = re.compile(
    r'<script data-shared="([\w.-]+)">(.*?)</script>', re.DOTALL
)


def add_files(digest: "hashlib._Hash", folders: Iterable[str]) -> None:
    """Adds the names and contents of all files in folders of this checkout to a digest."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(ROOT)}\0".encode())
                digest.update(path.read_bytes())


def key_cache(app: Sphinx, config: Config) -> None:
    """Executes notebooks again when what they were executed with has changed.

    jupyter-cache looks at the cells of a notebook only. What they show depends on the package, the
    committed results, the libraries and the scene as well: a book built on the simulated scene must
    not show an outcome of the real one. So each such state has a cache of its own, which all
    builds of this checkout share, wherever they write their pages.
    """
    if config.nb_execution_cache_path:
        return
    digest = hashlib.sha256()
    add_files(digest, ("dcfnet", "data/runs", "data/benchmarks"))
    scene = os.environ.get("DCFNET_SCENE") or "wv3-longmont"
    state = [scene, os.environ.get("DCFNET_DATA", ""), sys.version]
    for requirement in importlib.metadata.requires("dcfnet") or []:
        if not re.search(r"extra == .(lab|test).", requirement):
            name = re.match(r"[\w.-]+", requirement)[0]
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                state.append(f"{name}=={importlib.metadata.version(name)}")
    digest.update("\n".join(state).encode())
    cache = ROOT / "_build" / ".jupyter_cache" / digest.hexdigest()[:16]
    config.nb_execution_cache_path = str(cache)


def keep_scripts(app: Sphinx) -> None:
    """Makes room for shared scripts beside the pages that Sphinx keeps between builds."""
    if not hasattr(app.env, "shared_scripts"):
        app.env.shared_scripts = {}


def share_scripts(app: Sphinx, doctree: nodes.document) -> None:
    """Takes the scripts that every view carries out of a page, and links one copy instead."""
    up = "../" * app.env.docname.count("/")
    linked = set()

    def link(match: re.Match[str]) -> str:
        name, source = match.groups()
        app.env.shared_scripts[name] = source
        if name in linked:
            return ""
        linked.add(name)
        return f'<script defer src="{up}_static/{name}"></script>'

    for node in doctree.findall(nodes.raw):
        if "data-shared" in node.astext():
            node.children = [nodes.Text(SHARED.sub(link, node.astext()))]


def write_scripts(app: Sphinx, exception: Exception | None) -> None:
    """Writes the scripts that pages link."""
    if exception is None and app.builder.format == "html":
        for name, source in app.env.shared_scripts.items():
            (Path(app.outdir) / "_static" / name).write_text(source, "utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the extension."""
    app.add_js_file(None, body=SEARCH, priority=900)
    app.connect("config-inited", key_cache)
    app.connect("builder-inited", keep_scripts)
    app.connect("doctree-read", share_scripts)
    app.connect("build-finished", write_scripts)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
