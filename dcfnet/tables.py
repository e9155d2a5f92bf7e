"""Tables of fusion methods by metric, and how sure a difference between two of them is."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from dcfnet import metrics
from dcfnet.sensors import Sensor

__all__ = ["METRICS", "Table", "measure", "measure_blocks", "paired_difference"]

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
        lines = [f"{'':16s}" + "".join(f"{METRICS[c][0]:>13s}" for c in columns)]
        lines += [
            f"{method:16s}" + "".join(f"{values[c]:13.4f}" for c in columns)
            for method, values in self.rows.items()
        ]
        return "\n".join(([self.caption] if self.caption else []) + lines)

    def _repr_html_(self) -> str:
        columns = self._columns()
        best = {column: self.best(column) for column in columns}
        head = "".join(f'<th scope="col">{html.escape(METRICS[c][0])}</th>' for c in columns)
        body = ""
        for method, values in self.rows.items():
            cells = "".join(
                f"<td><strong>{values[c]:.4f}</strong></td>"
                if best[c] == method
                else f"<td>{values[c]:.4f}</td>"
                for c in columns
            )
            body += f'<tr><th scope="row">{html.escape(method)}</th>{cells}</tr>'
        caption = f"<caption>{html.escape(self.caption)}</caption>" if self.caption else ""
        return (
            '<div style="overflow-x: auto"><table class="dcf-table">'
            f"{caption}<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )


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
    _, height, width = gt.shape
    boxes = [
        np.s_[:, y : y + size, x : x + size]
        for y in range(0, height - size + 1, size)
        for x in range(0, width - size + 1, size)
    ]
    boxes = [box for box in boxes if gt[box].any(axis=0).all()]
    return {
        name: np.array([measure_one(gt[box], image[box]) for box in boxes])
        for name, image in images.items()
    }


def paired_difference(
    first: np.ndarray, second: np.ndarray, *, draws: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """The mean of ``first - second`` over blocks, and the interval that 95 % of resamples give.

    Blocks are resampled as if they were independent. Neighbours are not, quite, so the interval
    is rather too narrow than too wide.

    Args:
        first: A number per block.
        second: The same blocks, another method.
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
    difference = first - second
    chosen = np.random.default_rng(seed).integers(len(difference), size=(draws, len(difference)))
    low, high = np.quantile(difference[chosen].mean(axis=1), (0.025, 0.975))
    return float(difference.mean()), float(low), float(high)
