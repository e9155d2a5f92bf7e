"""Where data and runs lie, and files that appear under their name only when they are complete."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from dcfnet.errors import DataError


def data_dir() -> Path:
    """The folder of built HDF5 files and training runs.

    It is $DCFNET_DATA if that is set, else ``data/`` of the checkout that the package is
    installed from, else ``data/`` in the current folder.

    Raises:
        DataError: $DCFNET_DATA is no name that a folder can have.
    """
    if chosen := os.environ.get("DCFNET_DATA"):
        try:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                Path(chosen).stat()  # `exists` says no where it does not know, from Python 3.14 on
        except OSError as error:  # the name is too long, or its folder may not be read
            raise DataError(
                f"the environment variable DCFNET_DATA names no folder ({error!s:.100}): set it "
                "to the folder of data and runs, or unset it"
            ) from error
        return Path(chosen)
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "pyproject.toml").exists():
        return checkout / "data"
    return Path.cwd() / "data"


def is_file(path: Path) -> bool:
    """Whether a file is there that can be opened: to open a pipe would wait for ever.

    False also where that cannot be known, because the name is too long or its folder is closed.
    """
    try:
        return path.is_file()
    except OSError:
        return False


def beside(path: Path, what: str) -> Path:
    """A hidden file beside another, for a purpose; its own name is UTF-8, whatever the other's."""
    name = os.fsencode(path.name).decode(errors="backslashreplace")
    return path.with_name(f".{name}.{what}")


@contextlib.contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A temporary name beside ``path`` that is renamed to ``path`` only if all went well.

    Whatever interrupts the writing, ``path`` holds either what it held before or everything. Its
    folder is made if need be; the temporary name does not exist yet.

    Example:
        >>> with written_whole("table.csv") as temporary:  # doctest: +SKIP
        ...     temporary.write_text("a,b")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(path, f"{os.getpid()}.part")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # a power cut after the rename must not leave it empty
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
