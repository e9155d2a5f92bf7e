"""The frame of every view: Bokeh's drawing as a piece of a page, in JupyterLab and in the book.

A view is a Bokeh layout whose controls are answered in the browser, by the scripts beside this
module. Its pieces are Bokeh models, so that a chapter combines them as it likes:

    photo = image_panel(rgb, title="True colour")
    view = View(photo.layout, name="true-colour", alt="The scene in true colour")

Bokeh is needed for views only (extras `book` and `lab`).
"""

from __future__ import annotations

import html
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import bokeh
from bokeh.document import Document
from bokeh.embed import json_item
from bokeh.models import CustomJS, InlineStyleSheet, LayoutDOM, Model, StyledElement


class View:
    """A Bokeh layout as a cell's result: live in JupyterLab, and in the rendered page as well.

    The HTML is whole: it carries its data and BokehJS, so it needs neither network nor extension.
    (The book's build takes BokehJS out of its pages again and serves it once for all.)

    Args:
        layout: What to show. Its callbacks must be `CustomJS`: no kernel is there to answer.
        name: Short and unique in its chapter, kebab-case; tests find the view by it.
        alt: What a screen reader says: one sentence that says what is shown and what to vary.
        attribution: The scene's line, set small below the view.

    Raises:
        ValueError: ``name`` or ``alt`` is empty.
    """

    def __init__(self, layout: LayoutDOM, *, name: str, alt: str, attribution: str = "") -> None:
        if not name or not alt:
            raise ValueError("a view needs a name for tests and an alt text for screen readers")
        self.layout = layout
        self.name = name
        self.alt = alt
        self.attribution = attribution
        _prepare(layout)

    def html(self) -> str:
        """The view as one fragment of HTML."""
        item = json.dumps(json_item(self.layout)).replace("</", "<\\/")
        name, alt = html.escape(self.name), html.escape(self.alt)
        credit = f'<div class="dcf-credit">{html.escape(self.attribution)}</div>'
        return (
            f'<div class="dcf-view" data-view="{name}" role="figure" aria-label="{alt}"'
            ' data-lm-suppress-shortcuts="true">'
            f'<div class="dcf-view-body"></div>{credit if self.attribution else ""}'
            f'<script type="application/json" class="dcf-view-doc">{item}</script>'
            f"{_needed()}"
            "<noscript>This view needs JavaScript.</noscript></div>"
        )

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": f"View {self.name}: {self.alt}"}


def call(function: str, **args: Any) -> CustomJS:
    """A callback that has the page's scripts answer.

    Args:
        function: A function of the scripts beside this module. It gets the arguments as one
            object, and the model or the event that it is called by.
        args: Models of Bokeh, numbers, texts and lists of these.
    """
    return CustomJS(args=args, code=f"dcfnetViews.{function}({{{', '.join(args)}}}, cb_obj)")


def respond(callback: CustomJS, *controls: Model) -> None:
    """Has a callback run whenever one of the controls changes."""
    for control in controls:
        chosen = "active" if "active" in control.properties() else "value"
        control.js_on_change(chosen, callback)


def when_shown(model: Model, callback: CustomJS) -> None:
    """Has a callback run as soon as the browser has drawn the view; `View` collects these."""
    model.tags = [*model.tags, callback]


def _prepare(layout: LayoutDOM) -> None:
    """Gives a layout the page's style, and a document with what runs when it is drawn."""
    style = InlineStyleSheet(css=_resource("widgets.css"))
    models = layout.references()
    for model in models:
        if isinstance(model, StyledElement):
            model.stylesheets = [style, *model.stylesheets]
    if layout.document is None:
        Document().add_root(layout)
    callbacks = [tag for model in models for tag in model.tags if isinstance(tag, CustomJS)]
    if callbacks:
        layout.document.js_on_event("document_ready", *callbacks)


@cache
def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


@cache
def _needed() -> str:
    """What every view needs; book/_ext/offline.py takes the shared scripts out of pages."""
    folder = Path(bokeh.__file__).parent / "server" / "static" / "js"
    parts = [(folder / f"{name}.min.js").read_text("utf-8") for name in ("bokeh", "bokeh-widgets")]
    bokehjs = "\n;".join(part.split("//# sourceMappingURL")[0] for part in parts)
    bokehjs = bokehjs.replace("</script", "<\\/script")
    # Run only where this version is not there yet.
    bokehjs = f'if (!window.Bokeh?.["{bokeh.__version__}"]) {{\n{bokehjs}\n}}'
    ours = sorted(it.name for it in files(__package__).iterdir() if it.name.endswith(".js"))
    return (
        f"<style>{_resource('view.css')}</style>"
        f'<script data-shared="bokeh-{bokeh.__version__}.min.js">{bokehjs}</script>'
        f'<script data-shared="views.js">{"".join(map(_resource, ours))}</script>'
    )
