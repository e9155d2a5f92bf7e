"""A JupyterLab server on this machine alone, and a browser that runs a notebook there."""

import contextlib
import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import psutil


def write_notebook(path: Path, *cells: str, text: str = "") -> None:
    """A notebook of a text and code cells."""
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell(text.strip()),
            *(nbformat.v4.new_code_cell(code.strip()) for code in cells),
        ],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
    )
    nbformat.write(notebook, path)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[str, str]]:
    """The address and the token of a server for a folder, which is removed with it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(8)
    with (folder / "log.txt").open("w") as log:
        server = subprocess.Popen(
            [
                Path(sys.executable).with_name("jupyter-lab"),
                "--no-browser",
                "--allow-root",
                f"--ServerApp.port={port}",
                "--ServerApp.ip=127.0.0.1",
                f"--IdentityProvider.token={token}",
                f"--ServerApp.root_dir={folder}",
                f"--LabApp.user_settings_dir={folder / 'settings'}",
                f"--LabApp.workspaces_dir={folder / 'workspaces'}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: server_is_up(address, token, server))
        yield address, token
    finally:
        end(server)
        shutil.rmtree(folder, ignore_errors=True)


def end(server: subprocess.Popen, seconds: float = 10) -> None:
    """Ends a server and its kernels: it is asked to, and after a while killed.

    It asks kernels to end in turn, and waits a minute for one that is still starting.
    """
    family = []
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(server.pid).children(recursive=True)
    server.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(seconds)
    for process in (server, *family):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    server.wait()


def wait_until(true, sleep=time.sleep):
    """Returns as soon as the condition holds, within a minute."""
    for _ in range(240):
        if true():
            return
        sleep(0.25)
    raise TimeoutError


def server_is_up(address, token, server):
    """Whether the server answers; fails if it has ended."""
    assert server.poll() is None, "JupyterLab did not start"
    try:
        urllib.request.urlopen(f"{address}/api/status?token={token}").close()
    except urllib.error.URLError:
        return False
    return True


def kernel_is_idle(address, token, notebook):
    """Whether a notebook has a kernel, and that one waits for work."""
    with urllib.request.urlopen(f"{address}/api/sessions?token={token}") as answer:
        states = {it["path"]: it["kernel"]["execution_state"] for it in json.load(answer)}
    return states.get(notebook) == "idle"


def run_all(open_page, address: str, token: str, notebook: str, views: int, seconds: float = 60):
    """A tab in which all cells of the notebook have run and its views, so many, are drawn."""
    tab = open_page(
        f"{address}/lab/tree/{notebook}?token={token}&reset",
        inside=address,
        viewport={"width": 1200, "height": 1400},
    )
    page = tab.page
    # Until the notebook has its kernel, JupyterLab answers "Run All" with a question.
    # (The browser's requests pass through this process: it must not sleep meanwhile.)
    wait_until(
        lambda: kernel_is_idle(address, token, notebook),
        lambda seconds: page.wait_for_timeout(1000 * seconds),
    )
    page.wait_for_function(
        "() => document.querySelector('.jp-KernelName, .jp-Toolbar-kernelName')"
        "?.textContent.includes('Python 3')",
        polling=200,
    )
    page.get_by_text("Run", exact=True).click()
    page.locator("#jp-mainmenu-run").get_by_text("Run All Cells", exact=True).click()
    page.wait_for_function(
        "(count) => document.querySelectorAll('.dcf-view').length === count"
        " && !document.querySelector('.dcf-view[data-view]:not([data-state=ready])')",
        arg=views,
        polling=200,
        timeout=1000 * seconds,
    )
    return tab
