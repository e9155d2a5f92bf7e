"""Every term of the glossary is linked or explained where the book first uses it."""

import json
import re

import pytest

from tests.conftest import ROOT
from tests.test_book import PAGES

REFERENCE = ("book/api", "book/glossary", "book/references")
PROSE = [page for page in PAGES if page not in REFERENCE]
NO_PROSE = re.compile(
    r"""
    \A---\n.*?\n---$ | ^```(?:\{code-cell\}[^\n]*|\w*)\n.*?^```$   # code
    | ^:::?.*?$ | ^:[\w-]+:.*?$                   # options of directives
    | ^\#.*?$                                     # headings
    | \$\$.*?\$\$ | \$[^$\n]+\$                   # formulas
    | (?:\{[\w:-]+\})?`[^`]*`                    # other roles, names in code
    | \]\([^)]*\) | <[^>\n]+>                     # addresses, tags
    """,
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)


def prose(page):
    """The text of a page, without what is no sentence."""
    path = ROOT / page
    if (notebook := path.with_suffix(".ipynb")).exists():
        cells = json.loads(notebook.read_text())["cells"]
        text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    else:
        text = path.with_suffix(".md").read_text()
    text = re.sub(r"\{term\}`([^`]*)`", r"⟦\1⟧", text)
    return NO_PROSE.sub(lambda found: " " * len(found[0]), text)


def terms():
    text = (ROOT / "book" / "glossary.md").read_text()
    return re.findall(r"^(\S[^\n]*)\n  ", text, re.MULTILINE)


@pytest.fixture(scope="module")
def texts():
    return [(page, prose(page)) for page in PROSE]


@pytest.mark.parametrize("term", terms())
def test_a_term_is_linked_or_explained_where_it_is_first_used(term, texts):
    case = 0 if re.search("[A-Z]", term) else re.IGNORECASE
    used = re.compile(rf"(?<![\w-]){re.escape(term)}(?:e?s)?(?![\w-]| normalisation)", case)
    for page, text in texts:
        if found := used.search(text):
            before = text[: found.start()].rsplit("\n\n", 1)[-1]
            linked = before.count("⟦") > before.count("⟧")
            explained = before.count("*") % 2 == 1
            assert linked or explained, (page, text[found.start() - 60 : found.end() + 40])
            return
    pytest.fail(f"no page uses it: {term}")
