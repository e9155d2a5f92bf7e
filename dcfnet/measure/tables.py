"""Tables of fusion methods by metric, and how sure a difference between two of them is."""

from __future__ import annotations

import contextlib
import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dcfnet.imagery.sensors import Sensor
from dcfnet.imagery.wald import Sample
from dcfnet.measure import metrics

__all__ = [
    "METRICS",
    "BlockTable",
    "Table",
    "measure",
    "measure_blocks",
    "measure_no_reference",
    "paired_difference",
    "rows_of_blocks",
    "standing",
    "with_lower_loss",
]

METRICS: Mapping[str, tuple[str, int]] = {
    "sam": ("SAM (°) ↓", -1),
    "ergas": ("ERGAS ↓", -1),
    "q2n": ("Q2n ↑", 1),
    "scc": ("SCC ↑", 1),
    "psnr": ("PSNR (dB) ↑", 1),
    "d_lambda": ("D_λ ↓", -1),
    "d_s": ("D_s ↓", -1),
    "hqnr": ("HQNR ↑", 1),
}
"""Each metric's heading, and 1 where more is better, -1 where less is."""

OF_THE_CLAIMS = ("sam", "ergas", "q2n")
"""The metrics that the supplement compares by."""


@dataclass(frozen=True)
class Table:
    """Methods by metric, the best value of each column in bold.

    Attributes:
        rows: Method to its numbers, by keys of `METRICS`; all rows have the same.
        caption: What was measured, in a line.
    """

    rows: Mapping[str, Mapping[str, float]]
    caption: str = ""

    def best(self, metric: str) -> str:
        """The method with the best value."""
        sign = METRICS[metric][1]
        return max(self.rows, key=lambda method: sign * self.rows[method][metric])

    def _columns(self) -> list[str]:
        return list(next(iter(self.rows.values())))

    def __repr__(self) -> str:
        columns = self._columns()
        lines = [f"{'':22s}" + "".join(f"{METRICS[c][0]:>13s}" for c in columns)]
        lines += [
            f"{method:22s}" + "".join(f"{values[c]:13.4f}" for c in columns)
            for method, values in self.rows.items()
        ]
        return "\n".join(([self.caption] if self.caption else []) + lines)

    def _repr_html_(self) -> str:
        columns = self._columns()
        best = {column: self.best(column) for column in columns}
        cells = {
            method: [
                f"<strong>{values[c]:.4f}</strong>" if best[c] == method else f"{values[c]:.4f}"
                for c in columns
            ]
            for method, values in self.rows.items()
        }
        return _html(self.caption, columns, cells)


def _html(
    caption: str, columns: Sequence[str], cells: Mapping[str, Sequence[str]], note: str = ""
) -> str:
    """A table; the cells' content is HTML already."""
    head = "".join(f'<th scope="col">{html.escape(METRICS[c][0])}</th>' for c in columns)
    body = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th>'
        + "".join(f"<td>{cell}</td>" for cell in row)
        + "</tr>"
        for name, row in cells.items()
    )
    caption = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    note = f"<p>{html.escape(note)}</p>" if note else ""
    return (
        '<div style="overflow-x: auto"><table class="dcf-table">'
        f"{caption}<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>{note}"
        "</div>"
    )


@dataclass(frozen=True)
class BlockTable:
    """Means over blocks with their spread, and how far one method is from each of the others.

    Attributes:
        blocks: Metric to method to one number per block, from `measure_blocks`.
        method: The method whose difference to each of the others is shown.
        caption: What was measured, in a line.
        groups: For each block, the group it is resampled with; see `paired_difference`.
    """

    blocks: Mapping[str, Mapping[str, np.ndarray]]
    method: str
    caption: str = ""
    groups: Sequence[int] | None = None

    def difference(self, metric: str, other: str) -> tuple[float, float, float]:
        """Mean of the method's metric minus the other's, and its interval."""
        of = self.blocks[metric]
        return paired_difference(of[self.method], of[other], groups=self.groups)

    def _cells(self, line_break: str) -> dict[str, list[str]]:
        cells: dict[str, list[str]] = {}
        for name in next(iter(self.blocks.values())):
            cells[name] = []
            for metric, of in self.blocks.items():
                spread = of[name].std(ddof=1) if len(of[name]) > 1 else 0.0
                text = f"{of[name].mean():.3f} ± {spread:.3f}"
                if name != self.method:
                    mean, low, high = self.difference(metric, name)
                    text += f"{line_break}{mean:+.3f}{line_break}[{low:+.3f}, {high:+.3f}]"
                cells[name].append(text)
        return cells

    @property
    def _note(self) -> str:
        return (
            f"Mean ± standard deviation over blocks; {self.method} minus the method of the row, "
            "with the interval that 95 % of resamples give."
        )

    def __repr__(self) -> str:
        lines = [f"{'':22s}" + "".join(f"{METRICS[m][0]:>42s}" for m in self.blocks)]
        lines += [
            f"{name:22s}" + "".join(f"{cell:>42s}" for cell in row)
            for name, row in self._cells(" ").items()
        ]
        return "\n".join(([self.caption] if self.caption else []) + lines + [self._note])

    def _repr_html_(self) -> str:
        cells = {
            # Lines of their own, else a narrow page breaks an interval in two.
            name: [f'<span style="white-space: nowrap">{cell}</span>' for cell in row]
            for name, row in self._cells("<br>").items()
        }
        return _html(self.caption, list(self.blocks), cells, self._note)


def measure(
    gt: np.ndarray, images: Mapping[str, np.ndarray], sensor: Sensor, caption: str = ""
) -> Table:
    """Every reference metric of every image, over the whole of it.

    Args:
        gt: The truth, (C, H, W) in digital numbers.
        images: Method to its fused image, (C, H, W) in digital numbers.
        sensor: Gives ratio and largest digital number.
        caption: Of the table.
    """
    rows = {name: metrics.evaluate(gt, image, sensor) for name, image in images.items()}
    return Table(rows, caption)


def measure_no_reference(
    sample: Sample, images: Mapping[str, np.ndarray], sensor: Sensor, caption: str = ""
) -> Table:
    """D_lambda, D_s and HQNR of every image, at full resolution, where there is no truth.

    Args:
        sample: Its ``lms`` and ``pan`` are compared with.
        images: Method to its fused image, (C, H, W) in digital numbers.
        sensor: Gives the MTF gains.
        caption: Of the table.
    """
    rows = {}
    for name, image in images.items():
        spectral = metrics.d_lambda(sample.lms, image, sensor)
        spatial = metrics.d_s(sample.lms, image, sample.pan)
        # HQNR is a product of the two, which need not be measured again for it.
        rows[name] = {
            "d_lambda": spectral,
            "d_s": spatial,
            "hqnr": (1 - spectral) * (1 - spatial),
        }
    return Table(rows, caption)


def _boxes(gt: np.ndarray, size: int) -> list[tuple[slice, slice, slice]]:
    _, height, width = gt.shape
    boxes = [
        np.s_[:, y : y + size, x : x + size]
        for y in range(0, height - size + 1, size)
        for x in range(0, width - size + 1, size)
    ]
    return [box for box in boxes if gt[box].any(axis=0).all()]


def measure_blocks(
    gt: np.ndarray,
    images: Mapping[str, np.ndarray],
    measure_one: Callable[[np.ndarray, np.ndarray], float],
    size: int = 64,
) -> dict[str, np.ndarray]:
    """A metric in every whole block of an image, row by row.

    Args:
        gt: The truth, (C, H, W).
        images: Method to its fused image, (C, H, W).
        measure_one: Called with the truth and the image of a block, (C, size, size) each.
        size: Side of the blocks in pixels. Blocks with pixels without data are left out.

    Returns:
        By method, one number per block.
    """
    boxes = _boxes(gt, size)
    with _one_thread():
        return {
            name: np.array([measure_one(gt[box], image[box]) for box in boxes])
            for name, image in images.items()
        }


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps torch to one thread: for arrays as small as a block, more wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def rows_of_blocks(gt: np.ndarray, size: int = 64) -> np.ndarray:
    """The row in which each block of `measure_blocks` lies, counted from 0, (blocks,)."""
    return np.array([box[1].start // size for box in _boxes(gt, size)], int)


def paired_difference(
    first: np.ndarray,
    second: np.ndarray,
    *,
    groups: Sequence[int] | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """The mean of ``first - second`` over blocks, and the interval that 95 % of resamples give.

    Without ``groups``, blocks are resampled as if they were independent. Neighbours resemble one
    another, so that interval is rather too narrow than too wide. With ``groups``, blocks of one
    group are drawn together, for example those of one row: what they share then counts once.

    Args:
        first: A number per block.
        second: The same blocks, another method.
        groups: A number per block; blocks with the same number are one group.
        draws: Bootstrap resamples.
        seed: Of the resampling.

    Returns:
        Mean difference, lower and upper end.

    Raises:
        ValueError: The two do not have one length, or there is no block.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(
            f"expected two rows of as many numbers, got shapes {first.shape} and {second.shape}"
        )
    labels = np.arange(len(first)) if groups is None else np.asarray(groups)
    if labels.shape != first.shape:
        raise ValueError(f"expected a group for each of {len(first)} blocks, got {labels.shape}")
    difference = first - second
    _, at = np.unique(labels, return_inverse=True)
    sums, counts = np.bincount(at, difference), np.bincount(at)
    chosen = np.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
    means = sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(difference.mean()), float(low), float(high)


def standing(table: Table, method: str, of: Sequence[str] = OF_THE_CLAIMS) -> str:
    """Whether a method is the best of a table: which others are ahead of it, and by how much.

    Args:
        table: It has a row of that name.
        method: The method in question.
        of: Keys of `METRICS`.

    Returns:
        A sentence per metric, the first line whether it is the best in all of them.

    Raises:
        KeyError: The table has no such row.

    Example:
        >>> print(standing(Table({"a": {"sam": 2.0}, "b": {"sam": 3.0}}), "b", ["sam"]))
        b is not the best in SAM.
        SAM: 3.0000; behind a (by 1.0000).
    """
    ours, lost, lines = table.rows[method], [], []
    others = {name: row for name, row in table.rows.items() if name != method}
    for metric in of:
        heading, sign = METRICS[metric]
        name = heading.split(" ")[0]
        gaps = {other: sign * (row[metric] - ours[metric]) for other, row in others.items()}
        ahead = [other for other in sorted(gaps, key=gaps.__getitem__)[::-1] if gaps[other] > 0]
        text = f"{name}: {ours[metric]:.4f}; "
        if ahead:
            lost.append(name)
            text += "behind " + ", ".join(f"{o} (by {gaps[o]:.4f})" for o in ahead)
        elif gaps:
            nearest = max(gaps, key=gaps.__getitem__)
            text += f"best, {-gaps[nearest]:.4f} ahead of {nearest}"
        lines.append(text + ".")
    names = ", ".join(METRICS[m][0].split(" ")[0] for m in of)
    first = (
        f"{method} is not the best in {', '.join(lost)}." if lost
        else f"{method} is the best in all of {names}."
    )  # fmt: skip
    return "\n".join([first, *lines])


def with_lower_loss(
    losses: Mapping[str, float],
    table: Table,
    method: str,
    of: Sequence[str] = OF_THE_CLAIMS,
) -> tuple[str, list[tuple[str, str, bool]]]:
    """Whether a method has better results than those whose training loss lies above its own.

    The verdict is *supported* if it is better in every comparison, *not supported* if it is in at
    most half of them, else *mixed*; *cannot be tested* if no other loss lies above.

    Args:
        losses: Method to training loss; others in the table do not take part.
        table: The results.
        method: The method in question.
        of: Keys of `METRICS`.

    Returns:
        The verdict, and for each comparison the other method, the metric, and whether ``method``
        is better.

    Raises:
        KeyError: ``losses`` or ``table`` lack the method, or the table one that has a loss.
    """
    ours = table.rows[method]
    compared = [
        (other, metric, METRICS[metric][1] * (ours[metric] - table.rows[other][metric]) > 0)
        for other, loss in losses.items()
        if other != method and loss > losses[method]
        for metric in of
    ]
    better = sum(won for *_, won in compared)
    if not compared:
        return "cannot be tested", compared
    if better == len(compared):
        return "supported", compared
    return ("mixed" if 2 * better > len(compared) else "not supported"), compared
