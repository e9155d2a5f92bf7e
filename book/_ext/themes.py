"""Sphinx extension: plots on white follow the dark theme, figures with pictures stay as they are.

Turning a photograph's or a map's colours over would show something else. What has none is told from
its pixels: lines, bars and letters leave white everywhere, a picture fills areas. The style sheet
then turns the lightness of plots over, see ``custom.css``.
"""

from pathlib import Path

import numpy as np
from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx

BLOCK = 16
"""Pixels; a plot has few blocks of this side without white."""
MOST = 0.2
"""Of all blocks. In this book plots have up to 0.12, figures with pictures 0.28 or more."""


def is_plot(path: Path) -> bool:
    """Whether an image is drawn on white and holds no picture."""
    with Image.open(path) as image:
        white = (np.asarray(image.convert("RGB")) == 255).all(axis=-1)
    height, width = (size // BLOCK for size in white.shape)
    blocks = white[: BLOCK * height, : BLOCK * width]
    blocks = blocks.reshape(height, BLOCK, width, BLOCK).any(axis=(1, 3))
    return bool(blocks.size) and 1 - blocks.mean() < MOST


def mark(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Gives plots a class."""
    if app.builder.format == "html":
        for node in doctree.findall(nodes.image):
            path = Path(app.srcdir) / node["uri"]
            if path.suffix == ".png" and path.exists() and is_plot(path):
                node["classes"].append("dcf-plot")


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the extension."""
    app.connect("doctree-resolved", mark)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
