"""How long the network in the page takes, in Chromium, and how long the page does not answer.

    python -m tests.benchmarks.bench_live [--repeats 5] [--json FILE]

A new page for every repeat: loading and starting the network of a quarter of the width, a patch of
64 x 64, the maps of all its parts for one band, and 256 x 256 pixels. Times are the page's, with
the way to its worker and back.
"""

import shutil
import tempfile
from pathlib import Path

import pandas as pd
from playwright.sync_api import sync_playwright
from tqdm import tqdm

from dcfnet.show.live import networks, write
from tests.benchmarks.report import run
from tests.conftest import BROWSERS
from tests.support.pages import write_page

PAGE = Path(__file__).parents[1] / "show" / "live" / "page.html"
STEPS = """async () => {
    const times = {}, pauses = {};
    async function timed(name, work) {
        tasks.length = 0;
        const start = performance.now();
        await work();
        times[name] = (performance.now() - start) / 1000;
        await new Promise((done) => setTimeout(done, 100)); // until what was seen is reported
        pauses[name] = Math.max(0, ...tasks) / 1000;
    }
    const noise = (...shape) => ({ shape,
        data: Float32Array.from({ length: shape.reduce((a, b) => a * b) },
            () => Math.random() * 2047) });
    const square = (n) => [noise(n, n), noise(8, n / 4, n / 4)];
    await timed("start", async () => { net = await dcfnetLive.load("narrow"); });
    const lms = noise(8, 64, 64);
    await timed("first 64 x 64", () => net.fuse(...square(64), lms));
    await timed("64 x 64", () => net.fuse(...square(64), lms));
    await timed("maps of all parts", () => net.maps([4]));
    await timed("256 x 256", () => net.fuseWhole(...square(256)));
    return { times, pauses };
}"""


def measure(repeats: int = 5) -> dict:
    """Medians over pages."""
    found = []
    with tempfile.TemporaryDirectory() as home, sync_playwright() as driver:
        site = Path(home)
        write(site / "_static", networks())
        address = write_page(site, "page", PAGE.read_text())
        browser = driver.chromium.launch(
            executable_path=next(filter(None, map(shutil.which, BROWSERS)), None),
            args=["--no-sandbox", "--disable-gpu"],
        )
        for _ in tqdm(range(repeats), desc="pages", leave=False):
            page = browser.new_page()
            page.goto(address)
            found.append(page.evaluate(STEPS))
            page.close()
        version = browser.version
        browser.close()

    def medians(kind: str) -> dict[str, float]:
        return pd.DataFrame([one[kind] for one in found]).median().round(3).to_dict()

    return {
        "network": "narrow",
        "browser": f"Chromium {version}",
        "repeats": repeats,
        "median_seconds": medians("times"),
        "median_longest_pause_seconds": medians("pauses"),
    }


if __name__ == "__main__":
    run(measure)
