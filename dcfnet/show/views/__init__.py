"""Interactive views that work in JupyterLab and, with neither kernel nor network, in the book.

`view` is the frame of all of them, `panels` what they are made of, and each other module a view.
Beside each lies the script of its name, which answers in the page, if it needs one of its own.
"""

from bokeh.layouts import column

from dcfnet.show.views.composites import band_composite, comparison, frame_panels
from dcfnet.show.views.curves import convergence
from dcfnet.show.views.panels import (
    PALETTES,
    Panel,
    controls,
    image_panel,
    led_by,
    palette_chooser,
    side_by_side,
)
from dcfnet.show.views.parts import part_explorer
from dcfnet.show.views.results import photographs, two_results
from dcfnet.show.views.spectrum import band_explorer
from dcfnet.show.views.view import View

__all__ = [
    "PALETTES",
    "Panel",
    "View",
    "band_composite",
    "band_explorer",
    "column",
    "comparison",
    "controls",
    "convergence",
    "frame_panels",
    "image_panel",
    "led_by",
    "palette_chooser",
    "part_explorer",
    "photographs",
    "side_by_side",
    "two_results",
]
