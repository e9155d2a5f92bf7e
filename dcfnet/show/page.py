"""A piece of a rendered page that answers its reader: its data, its style and its scripts.

A piece needs neither kernel nor network: all that it shows travels in it, and scripts draw that in
the book, in JupyterLab and in VS Code alike. `dcfnet.show.views` and `dcfnet.show.live` say what
there is; the script that draws a piece has the name of the module that makes it.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

from dcfnet.imagery.sensors import Sensor

_SCRIPTS = (
    *("page.js", "views/move.js", "views/chart.js", "live/patch.js"),  # what the others use
    *(f"views/{name}.js" for name in ("bands", "comparison", "curves", "parts", "pictures")),
    *(f"live/{name}.js" for name in ("apart", "flow", "curtain", "pair", "own")),
)


class Piece:
    """A piece of a page, as a cell's result.

    Args:
        kind: Which script draws it.
        data: What the script is given, as JSON can have it, and `Numbers` for arrays.
        alt: What a screen reader says of the whole.
        attribution: The scene's line, set small below.
    """

    def __init__(
        self, kind: str, data: Mapping[str, Any], *, alt: str, attribution: str = ""
    ) -> None:
        self.kind, self.data, self.alt, self.attribution = kind, data, alt, attribution
        self.head = 'class="dcf-live"'

    def html(self) -> str:
        """The piece as one fragment of HTML; the book's build takes the scripts out of it."""
        return self.around(
            f'<script data-shared="pages.js">{scripts()}dcfnetPages.mountAll();</script>'
        )

    def around(self, script: str) -> str:
        """The piece, with a script that draws it."""
        credit = f'<p class="dcf-credit">{html.escape(self.attribution)}</p>'
        return (
            f'<div {self.head} data-kind="{html.escape(self.kind)}" role="group"'
            f' aria-label="{html.escape(self.alt)}">'
            f"<style>{source('page.css')}</style>"
            f'<div class="dcf-live-body"></div>{credit if self.attribution else ""}'
            f'<script type="text/plain" class="dcf-live-data">{packed(self.data)}</script>'
            f"{script}"
            "<noscript>This needs JavaScript.</noscript></div>"
        )

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": f"{type(self).__name__}: {self.alt}"}


@cache
def source(name: str) -> str:
    """A script or a style sheet of this folder."""
    return files("dcfnet.show").joinpath(name).read_text("utf-8")


def scripts() -> str:
    """What draws pieces of every kind."""
    return "".join(map(source, _SCRIPTS))


@dataclass(frozen=True)
class Numbers:
    """An array for a script: whole numbers, and what they are multiplied with."""

    codes: npt.NDArray[np.signedinteger]  # int8 or int16
    steps: tuple[float, float]  # what one is below zero, and above

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """The array as the script gets it."""
        return np.where(self.codes > 0, self.steps[1], self.steps[0]) * self.codes


def coded(array: npt.ArrayLike, step: float = 1) -> Numbers:
    """An array in 16 bits, in equal steps.

    Raises:
        ValueError: A value does not fit into 16 bits with that step.
    """
    values = np.rint(np.asarray(array, np.float64) / step)
    if values.size and not -32768 <= values.min() <= values.max() <= 32767:
        raise ValueError(
            f"values from {values.min() * step:g} to {values.max() * step:g} do not fit into 16 "
            f"bits in steps of {step:g}"
        )
    return Numbers(values.astype("<i2"), (step, step))


def halves(array: npt.ArrayLike) -> Numbers:
    """Values of both signs in eight bits: 127 steps from zero to either extreme.

    A map of small positive and large negative values so keeps its positive half, which is all that
    a ReLU leaves. The error is at most 1/254 of the extreme on that side.
    """
    values = np.asarray(array, np.float64)
    below, above = (max(0.0, float((sign * values).max())) / 127 or 1.0 for sign in (-1, 1))
    codes = np.rint(values / np.where(values > 0, above, below)).astype(np.int8)
    return Numbers(codes, (below, above))


def packed(data: Mapping[str, Any]) -> str:
    """Data for a script: JSON, and after it the arrays; compressed, in base64."""
    arrays = bytearray()

    def place(numbers: Numbers) -> dict[str, Any]:
        start = len(arrays)
        arrays.extend(numbers.codes.tobytes())
        return {
            "shape": numbers.codes.shape,
            "steps": numbers.steps,
            "bits": 8 * numbers.codes.itemsize,
            "bytes": (start, len(arrays)),
        }

    text = json.dumps(data, default=place).encode()
    content = struct.pack("<I", len(text)) + text + arrays
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def colours(*names: str) -> dict[str, Numbers]:
    """Colour maps of Matplotlib, each 256 times red, green, blue."""
    return {name: coded(mpl.colormaps[name](np.arange(256), bytes=True)[:, :3]) for name in names}


def of_sensor(sensor: Sensor, limits: npt.ArrayLike) -> dict[str, Any]:
    """What scripts need to know of a sensor, and how bright its bands are drawn."""
    return {
        "bands": list(sensor.band_names),
        "rgb": list(sensor.rgb),
        "maximum": sensor.max_value,
        "limits": np.asarray(limits, float).tolist(),
    }
