"""What the text of a page says about its own outputs, compared with them.

A number in a chapter's text that was read off the page carries the mark ``<!-- printed -->`` right
behind it: ``ERGAS rises by 0.03<!-- printed -->``. An output of the same section must then have a
number that rounds to it, whatever its sign. ``<!-- printed: some words -->`` ties a sentence to
words that an output of its section must have. Marks are comments: no reader sees them.
"""

import re

from bs4 import BeautifulSoup, Comment

NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
BEFORE = re.compile(rf"({NUMBER.pattern})[\s\u00a0]*[%°]?\s*$")


def unprinted(html):
    """What carries a mark and is not in the outputs of its section, in words; and how many do.

    Args:
        html: A rendered page.
    """
    page = BeautifulSoup(html, "html.parser")
    marks = [c for c in page.find_all(string=is_mark) if not c.find_parent(class_="cell")]
    wrong = []
    for mark in marks:
        section = mark.find_parent("section") or page
        outputs = " ".join(each.get_text(" ") for each in section.select(".cell_output"))
        outputs = " ".join(outputs.split())
        words = mark.partition(":")[2].strip()
        if words:
            if words not in outputs:
                wrong.append(words)
            continue
        number = BEFORE.search(str(mark.previous_sibling or ""))
        if number is None:
            wrong.append(f"no number before a mark: {mark.parent.get_text()[:60]}")
        elif not is_among(number[1], outputs):
            wrong.append(number[1])
    return wrong, len(marks)


def is_mark(text):
    return isinstance(text, Comment) and re.match(r"\s*printed\b", text)


def is_among(number, outputs):
    """Whether a number of the outputs rounds to this one, at its decimals."""
    value, decimals = float(number.replace(",", "")), len(number.partition(".")[2])
    found = (float(each.replace(",", "")) for each in NUMBER.findall(outputs))
    return any(abs(each - value) <= 0.5000001 * 10**-decimals for each in found)
