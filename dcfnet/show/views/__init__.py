"""Interactive views that work in JupyterLab and, with neither kernel nor network, in the book.

Each module makes drawings of one kind, and `View` sets one into a chapter. What lies beside it as a
script draws it and answers in the page, see `dcfnet.show.page`.
"""

from dcfnet.show.views.bands import band_explorer
from dcfnet.show.views.curves import convergence
from dcfnet.show.views.parts import part_explorer
from dcfnet.show.views.pictures import comparison, frame_panels, photographs, two_results
from dcfnet.show.views.view import View

__all__ = [
    "View",
    "band_explorer",
    "comparison",
    "convergence",
    "frame_panels",
    "part_explorer",
    "photographs",
    "two_results",
]
