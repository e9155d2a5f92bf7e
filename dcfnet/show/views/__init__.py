"""Interactive views that work in JupyterLab and, with neither kernel nor network, in the book.

`panels` holds the frame of every view and what views are made of, and the views of imagery and of
a network's parts; the other modules hold one larger view each.
"""

from dcfnet.show.views import cams, curves, panels, results
from dcfnet.show.views.cams import *  # noqa: F403
from dcfnet.show.views.curves import *  # noqa: F403
from dcfnet.show.views.panels import *  # noqa: F403
from dcfnet.show.views.results import *  # noqa: F403

__all__ = [*panels.__all__, *cams.__all__, *curves.__all__, *results.__all__]
