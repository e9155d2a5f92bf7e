"""A view: a drawing that answers its reader, with a name, as a chapter shows it."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any, NamedTuple

from dcfnet.show.page import Piece


class Drawing(NamedTuple):
    """What a view shows, before it has a name."""

    kind: str  # which script draws it
    data: Mapping[str, Any]  # what the script is given


class View(Piece):
    """A drawing as a cell's result: live in JupyterLab, and in the rendered page as well.

    Args:
        drawing: What to show, from a function of `dcfnet.show.views`.
        name: Short and unique in its chapter, kebab-case; tests find the view by it.
        alt: What a screen reader says: one sentence that says what is shown and what to vary.
        attribution: The scene's line, set small below the view.

    Raises:
        ValueError: ``name`` or ``alt`` is empty.
    """

    def __init__(self, drawing: Drawing, *, name: str, alt: str, attribution: str = "") -> None:
        if not name or not alt:
            raise ValueError("a view needs a name for tests and an alt text for screen readers")
        super().__init__(*drawing, alt=alt, attribution=attribution)
        self.head = f'class="dcf-live dcf-view" data-view="{html.escape(name)}"'
