"""Sphinx extension: equations become MathML while the book is built.

Browsers draw MathML themselves and screen readers read it: pages need no script for equations, and
LaTeX that cannot be converted is a warning of the build instead of a blank on the page.
"""

import html
import re

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

LOGGER = logging.getLogger(__name__)
CONVERTER = LatexToMathML(
    annotation=True, fancy_error=False, allow_unreliable_rendering=True
)
# Sphinx numbers an equation as a whole, so the lines of an environment go without.
NUMBERED = re.compile(
    r"\\(begin|end)\{(equation|align|gather|multline|alignat|eqnarray)\}"
)


def convert(node: nodes.Node, display: bool) -> str:
    """The MathML of an equation, or its LaTeX and a warning."""
    latex = node.astext().strip()
    if not latex.startswith(r"\begin") and r"\\" in latex:
        latex = rf"\begin{{aligned}}{latex}\end{{aligned}}"
    latex = NUMBERED.sub(r"\\\1{\2*}", latex)
    try:
        return CONVERTER.convert_with_local_state(latex, displaystyle=display)
    except LatexError as error:
        LOGGER.warning(
            "math-core cannot convert %r: %s", latex, error, location=node
        )
        return f"<code>{html.escape(latex)}</code>"


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    """Writes an equation in a line of text."""
    self.body.append(
        self.starttag(node, "span", "", CLASS="math notranslate nohighlight")
    )
    self.body.append(f"{convert(node, display=False)}</span>")
    raise nodes.SkipNode


def visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """Writes an equation in a block of its own, with its number if it has one."""
    self.body.append(
        self.starttag(node, "div", CLASS="math notranslate nohighlight")
    )
    # Of that class the theme gives a tab stop to what is wider than the page.
    self.body.append('<div class="equation pst-scrollable-table-container">')
    self.body.append(f"{convert(node, display=True)}</div>")
    if node["number"]:
        self.body.append(
            f'<span class="eqno">({get_node_equation_number(self, node)})'
        )
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the extension."""
    app.add_html_math_renderer(
        "mathml", (visit_inline, None), (visit_block, None)
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
