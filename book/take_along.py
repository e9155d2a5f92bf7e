"""Packs the book's pages into one file, to be read without a connection: `make zip`.

python book/take_along.py FOLDER OUT.zip
"""

import shutil
import sys
from pathlib import Path


def main(folder: str, out: str) -> None:
    """Packs the pages in a folder; an older archive among them stays out."""
    target = Path(out)
    target.unlink(missing_ok=True)
    made = shutil.make_archive(f"{folder}-packed", "zip", folder)
    Path(made).replace(target)
    print(target)
    link("as-zip", target)


def link(place: str, out: Path) -> None:
    """Links a file on the first page, if it lies among the pages.

    Args:
        place: Class of the empty ``<span>`` that waits for the link.
        out: The file.
    """
    first = out.parent / "book" / "intro.html"
    if first.exists():
        size = f"{out.stat().st_size / 1e6:.0f} MB"
        there = f' (<a href="../{out.name}">here it is</a>, {size})'
        empty = f'<span class="{place}"></span>'
        text = first.read_text("utf-8").replace(
            empty, f"{empty[:-7]}{there}</span>"
        )
        first.write_text(text, "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
