"""How networks look in every figure and view, and pictures as pages carry them."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image


@dataclass(frozen=True)
class NetworkStyle:
    """Colour, dashes and marker of a network."""

    colour: str  # as CSS and Matplotlib write it
    dashes: tuple[float, ...]  # on and off in turn, in widths of the line; none for a solid one
    marker: str  # Matplotlib's

    @property
    def linestyle(self) -> tuple[float, tuple[float, ...]]:
        """The dashes as Matplotlib takes them."""
        return 0, self.dashes


# Colours of Okabe and Ito, which colour-blind readers tell apart, and dashes for print.
STYLES = {
    "DCFNet": NetworkStyle("#d55e00", (), "P"),
    "DCFNet, quarter width": NetworkStyle("#e69f00", (5, 1), "X"),
    "FusionNet": NetworkStyle("#0072b2", (3, 2), "v"),
    "PanNet": NetworkStyle("#009e73", (3, 2, 1, 2), "D"),
    "DiCNN": NetworkStyle("#cc79a7", (1, 2), "^"),
    "MSDCNN": NetworkStyle("#b08600", (1, 2, 3, 2), "s"),
    "PNN": NetworkStyle("#56b4e9", (), "o"),
}
"""The networks of the book by their titles."""


def network_style(title: str) -> NetworkStyle:
    """The style of a network by its title in `STYLES`; grey for any other."""
    return STYLES.get(title, NetworkStyle("#888888", (), "."))


def coloured(values: np.ndarray, low: float, high: float, name: str) -> npt.NDArray[np.uint8]:
    """Values (h, w) from ``low`` to ``high`` in a colour map of Matplotlib, (h, w, 3)."""
    return colormaps[name]((values - low) / (high - low), bytes=True)[..., :3]


def picture(image: npt.NDArray[np.uint8], kind: str = "png", **how: Any) -> str:
    """An image (h, w) or (h, w, 3) as an address that carries it; ``how`` is Pillow's."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, kind, optimize=True, **how)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
