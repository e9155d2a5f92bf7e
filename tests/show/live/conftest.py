"""Two networks, patches to fuse, and regions to ask about."""

import functools

import numpy as np
import pytest
import torch

import dcfnet
from dcfnet.show.live import networks, write
from tests.support.pages import Chromium, find_firefox, wait_until, write_page


@pytest.fixture(scope="session")
def models():
    """By width, the networks that pages offer."""
    return networks()


@pytest.fixture(scope="session")
def written(models, tmp_path_factory):
    """A folder with all that a page needs to run them, and the sizes of its files."""
    folder = tmp_path_factory.mktemp("site")
    return folder, write(folder / "_static", models)


@pytest.fixture(scope="session")
def site(written):
    """The folder alone."""
    return written[0]


@pytest.fixture(scope="session")
def firefox(site, tmp_path_factory):
    """A Firefox for all tests."""
    program = find_firefox()
    from tests.show.live.firefox import firefox

    with firefox(program, tmp_path_factory.mktemp("firefox"), f"file://{site}/") as page:
        yield page


@pytest.fixture
def opened_at(request, site):
    """Opens an address of the site in a browser: a page with `evaluate` and `wrong`."""

    def open_at(browser, address, **options):
        if browser == "chromium":
            open_page = request.getfixturevalue("open_page")
            return Chromium(open_page, address, f"file://{site}/", **options)
        page = request.getfixturevalue("firefox")
        page.open(address)
        return page

    return open_at


@pytest.fixture
def opened_in(request, site, opened_at):
    """Opens a piece of HTML in a browser, in a page with the networks beside it."""

    def open_in(browser, piece, width=1000):
        address = write_page(site, request.node.name.partition("[")[0], piece)
        options = {"viewport": {"width": width, "height": 900}} if browser == "chromium" else {}
        page = opened_at(browser, address, **options)
        wait_until(page, "piece.parentNode.dataset.state === 'ready'")
        return page

    return open_in


@pytest.fixture(params=["chromium", "firefox"])
def opened(request, opened_in):
    """The same in each browser in turn."""
    return functools.partial(opened_in, request.param)


@pytest.fixture(scope="session")
def patches():
    """Patches (64, 64) of the simulated scene, as samples."""
    sample = dcfnet.reduce_resolution(dcfnet.load_scene("simulated"))
    corners = ((0, 0), (192, 200), (300, 40), (240, 340))
    return [sample.crop(slice(y, y + 64), slice(x, x + 64)) for y, x in corners]


@pytest.fixture(scope="session")
def noise():
    """Images of random numbers, one of them of another shape."""
    generator = torch.Generator().manual_seed(0)

    def image(height, width):
        sizes = ((1, height, width), (8, height // 4, width // 4), (8, height, width))
        return tuple(torch.rand(1, *size, generator=generator) for size in sizes)

    return [image(64, 64), image(32, 80)]


def regions(height: int, width: int) -> dict[str, np.ndarray]:
    """The whole image, a box, a pixel, and what a hand may draw."""
    y, x = np.mgrid[:height, :width]
    angle = np.arctan2(y - height / 2, x - width / 2)
    radius = height / 4 * (1 + 0.5 * np.sin(3 * angle))
    return {
        "whole": np.ones((height, width), bool),
        "box": (y >= 10) & (y < 20) & (x >= 30) & (x < 50),
        "pixel": (y == 5) & (x == 17),
        "freehand": np.hypot(y - height / 2, x - width / 2) < radius,
    }
