"""Sphinx extension: pages that screen readers read and that load soon."""

import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

CORRECTED = {
    # A button's name has to begin with what is seen on it: "Show the code".
    '<summary aria-label="Toggle hidden content">': "<summary>",
    # What a cell folds away is code or output.
    ">Show the source<": ">Show the code<",
    ">Hide the source<": ">Hide the code<",
    # In a list stand list items; the other role is deprecated.
    'role="doc-biblioentry"': 'role="listitem"',
}
# Spaces at which no line may end: before a unit, and in sizes such as 3 × 3.
TIED = re.compile(
    r"(?<=\d) (?=(?:[%°×]|dB|DN|nm|m|km|[MG]B)(?!\w))|(?<=×) (?=\d)"
)
# A hyphen before a number in a table: few screen readers say it.
CELL = re.compile(r"(?<=>)[^<]+(?=</td>)")
HYPHEN = re.compile(r"(?<![\w.,-])-(?=\d)")
ICONS = re.compile(
    r'(<script defer src="[^"]*fontawesome\.js[^"]*">)</script>'
)
INDEX = re.compile(
    r'<script src="[^"]*(searchtools|language_data|searchindex)\.js[^"]*">'
    r"</script>\s*"
)
ON_DISK = (
    """<script>if (location.protocol === "file:") """
    r"""document.write('\1<\\/script>');</script>"""
)


def correct(
    app: Sphinx,
    page: str,
    template: str,
    context: dict[str, str],
    doctree: nodes.document | None,
) -> None:
    """Corrects the HTML of a page's text."""
    body = context.get("body", "")
    for wrong, right in CORRECTED.items():
        body = body.replace(wrong, right)
    context["body"] = CELL.sub(
        lambda cell: HYPHEN.sub("\u2212", cell[0]), body
    )


def tie(app: Sphinx, doctree: nodes.document, name: str) -> None:
    """Ties numbers to their units, in text but not in code."""
    code = (nodes.literal, nodes.FixedTextElement, nodes.math)
    for element in doctree.findall(nodes.TextElement):
        for k, text in enumerate(element.children):
            if isinstance(text, nodes.Text) and not isinstance(element, code):
                element[k] = nodes.Text(TIED.sub("\u00a0", text))


def lighten(app: Sphinx, exception: Exception | None) -> None:
    """Takes out of pages what the theme puts there and this book has no use for.

    That is the index of all words, which the search page alone asks, and where a page is served a
    second copy of the theme's icons, which it has as a font too. Some browsers load no font for a
    page on disk, which keeps the script.
    """
    if exception is not None or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text("utf-8")
        lighter = ICONS.sub(ON_DISK, text)
        if path.name != "search.html":
            lighter = INDEX.sub("", lighter)
        if lighter != text:
            path.write_text(lighter, "utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the extension."""
    app.connect("doctree-resolved", tie)
    app.connect("html-page-context", correct)
    app.connect("build-finished", lighten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
