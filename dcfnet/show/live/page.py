"""A piece of a page in which a network runs: its data, its style and the scripts that answer.

`dcfnet.show.live.apart` and its neighbours say what each piece holds; the scripts of their names
draw it. In the rendered book a click brings the network; in JupyterLab the kernel answers.
Elsewhere the piece shows what needs no network, and says where the rest is.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

from dcfnet.imagery.sensors import Sensor
from dcfnet.imagery.wald import Sample
from dcfnet.networks import load_trained
from dcfnet.networks.dcfnet import DCFNet

RUNS = {"narrow": "dcfnet-narrow/fold0", "paper": "dcfnet"}
"""The networks that pages can run: of quarter width, and of the paper's."""

STEP = 1 / 8
"""Of digital numbers, in which pages carry what is not whole."""

_SCRIPTS = ("page.js", "patch.js", "apart.js", "flow.js", "curtain.js", "pair.js", "own.js")


def networks() -> dict[str, DCFNet]:
    """The networks that pages can run, by the names that their scripts know."""
    found = {}
    for name, run in RUNS.items():
        model = load_trained(run)
        assert isinstance(model, DCFNet)
        found[name] = model
    return found


class LivePage:
    """A piece of a page, as a cell's result.

    Args:
        kind: Which script draws it.
        data: What the script is given, as JSON can have it, and `Numbers` for arrays.
        alt: What a screen reader says of the whole.
        attribution: The scene's line, set small below.
        models: What answers in JupyterLab, by the names under which pages load them; without them
            the piece shows there what needs no network.
    """

    def __init__(
        self,
        kind: str,
        data: Mapping[str, Any],
        *,
        alt: str,
        attribution: str = "",
        models: Mapping[str, DCFNet] | None = None,
    ) -> None:
        self.kind, self.data, self.alt, self.attribution = kind, data, alt, attribution
        self.models = models

    def html(self) -> str:
        """The piece as one fragment of HTML."""
        scripts = f"{_scripts()}dcfnetPages.mountAll();"
        return self._around(f'<script data-shared="pages.js">{scripts}</script>')

    def _around(self, scripts: str) -> str:
        credit = f'<p class="dcf-credit">{html.escape(self.attribution)}</p>'
        return (
            f'<div class="dcf-live" data-kind="{html.escape(self.kind)}" role="group"'
            f' aria-label="{html.escape(self.alt)}" data-lm-suppress-shortcuts="true">'
            f"<style>{_source('views/view.css')}{_source('live/page.css')}</style>"
            f'<div class="dcf-live-body"></div>{credit if self.attribution else ""}'
            f'<script type="text/plain" class="dcf-live-data">{packed(self.data)}</script>'
            f"{scripts}"
            "<noscript>This needs JavaScript.</noscript></div>"
        )

    def _ipython_display_(self) -> None:
        from IPython.display import display

        bundle = self._repr_mimebundle_()
        # Jupyter's server sets the variable, which a book's build does not; `lab` brings the other.
        if self.models and "JPY_SESSION_NAME" in os.environ and find_spec("anywidget"):
            from dcfnet.show.live.kernel import KernelPage

            widget = KernelPage(
                self._around(""), _scripts() + _source("live/kernel.js"), self.models
            )
            drawn = widget._repr_mimebundle_()
            assert drawn is not None  # ipywidgets says None where it is not shown
            bundle |= drawn[0]
        display(bundle, raw=True)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": f"Live page: {self.alt}"}


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


def colours(names: Sequence[str] = ("viridis", "magma", "RdBu_r")) -> dict[str, Numbers]:
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


def of_patch(patch: Sample) -> dict[str, Any]:
    """What a network needs of a patch."""
    return {"pan": coded(patch.pan), "ms": coded(patch.ms), "lms": coded(patch.lms, STEP)}


def _scripts() -> str:
    return "".join(_source(f"live/{name}") for name in _SCRIPTS)


@cache
def _source(name: str) -> str:
    return files("dcfnet.show").joinpath(name).read_text("utf-8")
