"""What pieces of a page have in common in which a network runs.

In the rendered book a click brings the network; in JupyterLab the kernel answers. Elsewhere such a
piece shows what needs no network, and says where the rest is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from dcfnet.imagery.wald import Sample
from dcfnet.networks import load_trained
from dcfnet.networks.dcfnet import DCFNet
from dcfnet.show.page import Piece, coded, scripts, source

RUNS = {"narrow": "narrow-whole-0", "paper": "dcfnet"}
"""The networks that pages can run: of quarter width, and of the paper's."""

STEP = 1 / 8
"""Of digital numbers, in which pages carry what is not whole."""


def networks() -> dict[str, DCFNet]:
    """The networks that pages can run, by the names that their scripts know."""
    found = {}
    for name, run in RUNS.items():
        model = load_trained(run)
        assert isinstance(model, DCFNet)
        found[name] = model
    return found


class LivePage(Piece):
    """A piece in which a network runs.

    Args:
        kind: This and what follows as for `dcfnet.show.page.Piece`.
        data: What the script is given.
        alt: What a screen reader says of the whole.
        attribution: The scene's line.
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
        super().__init__(kind, data, alt=alt, attribution=attribution)
        self.models = models

    def _ipython_display_(self) -> None:
        from IPython.display import display

        bundle = self._repr_mimebundle_()
        # Jupyter's server sets the variable, which a book's build does not; `lab` brings the other.
        if self.models and "JPY_SESSION_NAME" in os.environ and find_spec("anywidget"):
            from dcfnet.show.live.kernel import KernelPage

            script = scripts() + source("live/kernel.js")
            drawn = KernelPage(self.around(""), script, self.models)._repr_mimebundle_()
            assert drawn is not None  # ipywidgets says None where it is not shown
            bundle |= drawn[0]
        display(bundle, raw=True)


def of_patch(patch: Sample) -> dict[str, Any]:
    """What a network needs of a patch."""
    return {"pan": coded(patch.pan), "ms": coded(patch.ms), "lms": coded(patch.lms, STEP)}
