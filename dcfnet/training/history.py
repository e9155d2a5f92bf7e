"""What a training run measured, epoch by epoch, and the CSV file that keeps it."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dcfnet.errors import DataError, unknown
from dcfnet.paths import is_file, written_whole

COLUMNS = ("epoch", "train_loss", "valid_loss", "sam", "ergas", "psnr", "seconds", "lr")
"""The columns of a history; `History` says what they are."""


@dataclass
class History:
    """What a training run measured, one row per epoch.

    Columns:
        epoch: Counted from 1.
        train_loss: Mean squared error on values in [0, 1], the mean over the epoch's batches,
            each measured just before the step that it causes.
        valid_loss: The same over the validation patches, after the epoch.
        sam, ergas, psnr: Means over the validation patches (degrees, -, dB).
        seconds: What the epoch took, validation included.
        lr: Learning rate of its last step.

    Attributes:
        rows: One dictionary per epoch, by column.
        stopped: Why the run ended: ``"epochs"`` (all done), ``"patience"`` (the optimal epoch is
            found), or what interrupted it: ``"time limit"``, ``"SIGINT"``, ``"SIGTERM"``.

    Example:
        >>> history = History([{**dict.fromkeys(COLUMNS, 0.0), "epoch": 1, "valid_loss": 0.5}])
        >>> history["valid_loss"]
        array([0.5])
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    stopped: str = ""

    def __len__(self) -> int:
        """Number of epochs."""
        return len(self.rows)

    def __getitem__(self, column: str) -> np.ndarray:
        """A column, (epochs,), float64; epochs are whole numbers."""
        if column not in COLUMNS:
            raise KeyError(unknown("column", column, COLUMNS))
        return np.array([row[column] for row in self.rows], int if column == "epoch" else float)

    @property
    def finished(self) -> bool:
        """Whether the run came to its end, so that there is nothing to resume."""
        return self.stopped in ("epochs", "patience")

    def best_epoch(self) -> int | None:
        """The first epoch with the lowest validation loss so far; None before the first."""
        return int(self["epoch"][np.argmin(self["valid_loss"])]) if self.rows else None

    def optimal_epoch(self, patience: int = 100, gain: float = 0) -> int | None:
        """The first epoch whose next ``patience`` epochs bring no lower validation loss.

        None if the run has not reached one yet.

        Args:
            patience: How many epochs are waited for a lower one.
            gain: By what share of the lowest so far it must be lower to count.
        """
        earliest = self.earliest_optimum(patience, gain)
        known = earliest is not None and earliest + patience <= len(self)
        return earliest if known else None

    def earliest_optimum(self, patience: int = 100, gain: float = 0) -> int | None:
        """Before which epoch the optimal one cannot lie, however the run goes on.

        That is the optimal epoch, if the run has reached it; None before the first epoch.
        """
        loss = self["valid_loss"]
        lowest = np.minimum.accumulate(loss)
        for i in range(len(loss)):
            if not (loss[i + 1 : i + 1 + patience] < (1 - gain) * lowest[i]).any():
                return int(self.rows[i]["epoch"])
        return None

    def write(self, path: str | Path) -> None:
        """Write a CSV file, complete or not at all. Numbers survive to the last bit."""
        with written_whole(path) as temporary, temporary.open("w", newline="") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(self.rows)

    @classmethod
    def read(cls, path: str | Path) -> History:
        """Read what `write` wrote.

        Raises:
            DataError: There is no such file, or it is no history.
        """
        path = Path(path)
        if not is_file(path):
            raise DataError(f"there is no file {path}: expected the history.csv of a training run")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read ({error}): copy or train it again") from error
        table = csv.DictReader(io.StringIO(text))
        try:
            if tuple(table.fieldnames or ()) != COLUMNS:
                raise DataError(
                    f"{path} has the columns {', '.join(table.fieldnames or ())[:200] or '(none)'}:"
                    f" expected {', '.join(COLUMNS)}; pass the history.csv of a training run"
                )
            rows = [cls._row(number, row) for number, row in enumerate(table, 1)]
        except DataError:
            raise
        except (TypeError, ValueError, csv.Error) as error:
            raise DataError(
                f"{path}, line {table.line_num}, holds no number where one is expected "
                f"({error!s:.200}); copy or train it again"
            ) from error
        return cls(rows)

    @staticmethod
    def _row(number: int, cells: dict[str, str]) -> dict[str, float]:
        row = {c: int(cells[c]) if c == "epoch" else float(cells[c]) for c in COLUMNS}
        if row["epoch"] != number or np.isnan([row["train_loss"], row["valid_loss"]]).any():
            raise ValueError(f"epoch {number} should come next, with losses that are no NaN")
        return row
