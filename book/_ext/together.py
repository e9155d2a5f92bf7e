"""Sphinx extension: chapters are executed side by side, before the pages are made."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import single_nb_execution
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from tqdm import tqdm

MOST = 4
"""So many chapters at once at most: each takes a gigabyte of memory or more."""
QUIET = ["--log-level=ERROR"]
"""A kernel warns whoever starts it that others on this machine could listen."""


def execute(app: Sphinx, env: BuildEnvironment, pages: list[str]) -> None:
    """Executes the chapters that MyST-NB would execute one by one, and fills its cache with them.

    A chapter keeps a core busy for most of its time, and cannot use all. One that fails is left to
    MyST-NB, which says where. How many threads a chapter has is ``OMP_NUM_THREADS``, or a fair
    part of the cores where that is not set.
    """
    cores = os.cpu_count() or 1
    workers = min(cores, MOST)
    if env.mystnb_config.execution_mode != "cache" or workers == 1:
        return
    cache = get_cache(env.mystnb_config.execution_cache_path)
    waiting = []
    for page in pages:
        path = Path(env.doc2path(page))
        if path.suffix == ".ipynb":
            notebook = nbformat.read(path, as_version=4)
            try:
                cache.match_cache_notebook(notebook)
            except KeyError:
                waiting.append((path, notebook))

    def run(
        path: Path, notebook: nbformat.NotebookNode
    ) -> CacheBundleIn | None:
        timeout = env.mystnb_config.execution_timeout
        done = single_nb_execution(
            notebook, str(path.parent), timeout, False, extra_arguments=QUIET
        )
        if done.err:
            return None
        return CacheBundleIn(
            notebook, str(path), data={"execution_seconds": done.time}
        )

    given = "OMP_NUM_THREADS" in os.environ
    os.environ.setdefault("OMP_NUM_THREADS", str(cores // workers))
    try:
        with ThreadPoolExecutor(workers) as pool:
            # From the last on: the first ones are short, and no core waits for a
            # long one in the end.
            last = reversed(waiting)
            every = pool.map(run, *zip(*last, strict=True)) if waiting else ()
            for bundle in tqdm(
                every, "chapters", len(waiting), disable=not waiting
            ):
                if bundle:
                    cache.cache_notebook_bundle(
                        bundle, check_validity=False, overwrite=True
                    )
    finally:
        if not given:
            del os.environ["OMP_NUM_THREADS"]


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the extension."""
    app.connect("env-before-read-docs", execute)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
