"""Sphinx extension: api.md gets a section for each room of the package, made from docstrings."""

import inspect
import pkgutil
import tomllib
from importlib import import_module
from pathlib import Path

import dcfnet
from sphinx.application import Sphinx

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def first_names() -> str:
    """A list of what `import dcfnet` offers at once, each with its first sentence, in MyST."""
    text = ""
    for name in dcfnet.__all__:
        offered = getattr(dcfnet, name)
        if inspect.isclass(offered) or inspect.isfunction(offered):
            sentence = inspect.getdoc(offered).splitlines()[0]
            place = f"{offered.__module__}.{name}"
            text += f"- {{py:obj}}`dcfnet.{name} <{place}>`: {sentence}\n"
    return text


def describe(name: str, level: int) -> str:
    """The section of a module and of those in it, in MyST."""
    parts = getattr(import_module(name), "__path__", None)
    # A package's own names are those of its modules.
    options = "" if parts else "   :members:\n   :ignore-module-all:\n"
    text = (
        f"\n\n{'#' * level} {name.removeprefix('dcfnet.')}\n\n"
        f"```{{eval-rst}}\n.. automodule:: {name}\n{options}```\n"
    )
    for part in pkgutil.iter_modules(parts or []):
        if (
            part.name != "command"
        ):  # what `dcfnet --help` says, written for a terminal
            text += describe(f"{name}.{part.name}", level + 1)
    return text


def write_page(app: Sphinx, page: str, source: list[str]) -> None:
    """Appends to api.md the first names, and the rooms, each after those that it imports."""
    if page == "book/api":
        tools = tomllib.loads(PYPROJECT.read_text("utf-8"))["tool"]
        rooms = tools["importlinter"]["contracts"][0]["layers"]
        source[0] += first_names()
        for room in reversed(rooms):
            if room != "cli":
                source[0] += describe(f"dcfnet.{room}", 2)


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the extension."""
    app.connect("source-read", write_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
