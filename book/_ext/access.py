"""Sphinx extension: corrects what MyST-NB and docutils tell screen readers."""

from docutils import nodes
from sphinx.application import Sphinx

CORRECTED = {
    # A button's name has to begin with what is seen on it: "Show code cell source".
    '<summary aria-label="Toggle hidden content">': "<summary>",
    # In a list stand list items; the other role is deprecated.
    'role="doc-biblioentry"': 'role="listitem"',
}


def correct(
    app: Sphinx,
    page: str,
    template: str,
    context: dict[str, str],
    doctree: nodes.document | None,
) -> None:
    """Corrects the HTML of a page's text."""
    for wrong, right in CORRECTED.items():
        context["body"] = context.get("body", "").replace(wrong, right)


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the extension."""
    app.connect("html-page-context", correct)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
