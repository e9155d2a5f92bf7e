"""Views in JupyterLab: a notebook is run there in a browser without network."""

import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("jupyterlab", reason="the extra lab is not installed")
pytest.importorskip("jupyter_bokeh", reason="the extra lab is not installed")

from tests.views import answers, drive, picture

VIEW = """
import numpy as np
from dcfnet import explorers as ex

row, column = np.mgrid[:48, :64]
waves = [127 + 120 * np.sin(column / (5 + k) + row / 9) for k in range(3)]
bands = np.stack(waves).astype(np.uint8)
panel, choices = ex.band_composite(
    bands, ["one", "two", "three"], {"first": (0, 1, 2), "second": (2, 1, 0)}, title="Bands"
)
page = ex.View(
    ex.column(ex.controls(*choices), panel.layout, sizing_mode="stretch_width"),
    name="bands", alt="Three bands as a colour image.",
)
page
"""
LIVE = """
from bokeh.models import Select

answer = ex.image_panel(bands[0] * 1.0, title="Answer")
band = Select(title="Band", value="0", options=["0", "1", "2"])
band.on_change("value", lambda attr, old, new: answer.source.data.update(
    image=[bands[int(new)].astype(np.float32)]))
ex.LiveView(ex.column(band, answer.layout, sizing_mode="stretch_width"), page=page)
"""


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab server on this machine alone, with one notebook."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(code.strip()) for code in (VIEW, LIVE)],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
    )
    nbformat.write(notebook, tmp_path / "views.ipynb")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(8)
    with (tmp_path / "log.txt").open("w") as log:
        server = subprocess.Popen(
            [
                Path(sys.executable).with_name("jupyter-lab"),
                "--no-browser",
                "--allow-root",
                f"--ServerApp.port={port}",
                "--ServerApp.ip=127.0.0.1",
                f"--IdentityProvider.token={token}",
                f"--ServerApp.root_dir={tmp_path}",
                f"--LabApp.user_settings_dir={tmp_path / 'settings'}",
                f"--LabApp.workspaces_dir={tmp_path / 'workspaces'}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: server_is_up(address, token, server))
        yield address, token
    finally:
        server.terminate()
        server.wait(20)
        shutil.rmtree(tmp_path, ignore_errors=True)


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


def kernel_is_idle(address, token):
    """Whether the server has one kernel, and that one waits for work."""
    with urllib.request.urlopen(f"{address}/api/sessions?token={token}") as answer:
        sessions = json.load(answer)
    return [session["kernel"]["execution_state"] for session in sessions] == ["idle"]


def test_views_work_live(lab, open_page):
    address, token = lab
    tab = open_page(
        f"{address}/lab/tree/views.ipynb?token={token}&reset",
        inside=address,
        viewport={"width": 1200, "height": 1400},
    )
    page = tab.page
    # Until the notebook has its kernel, JupyterLab answers "Run All" with a question.
    # (The browser's requests pass through this process: it must not sleep meanwhile.)
    wait_until(lambda: kernel_is_idle(address, token), lambda s: page.wait_for_timeout(1000 * s))
    page.wait_for_function(
        "() => document.querySelector('.jp-KernelName, .jp-Toolbar-kernelName')"
        "?.textContent.includes('Python 3')",
        polling=200,
    )
    page.get_by_text("Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    page.wait_for_function(
        "() => document.querySelector('.dcf-view[data-view]')?.dataset.state === 'ready'"
        " && document.querySelectorAll('.dcf-view').length === 2",
        polling=200,
        timeout=60_000,
    )
    assert drive(page.locator(".dcf-view[data-view]")) == 4

    live = page.locator(".dcf-view:not([data-view])")
    live.locator("select").wait_for(timeout=20_000)
    page.wait_for_timeout(500)
    before = picture(live)
    live.locator("select").select_option("2")
    assert answers(live, before), "the kernel does not answer"
    assert [
        fault for fault in tab.wrong if "dcf" in fault.lower() or "bokeh" in fault.lower()
    ] == []
    assert [fault for fault in tab.wrong if fault.startswith("asks for")] == []
