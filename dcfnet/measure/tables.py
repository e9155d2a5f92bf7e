"""Tables of fusion methods by metric, and how sure a difference between two of them is."""

import contextlib
import html
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from pandas.api.types import is_numeric_dtype
from pandas.io.formats.style import Styler
from scipy.stats import bootstrap

from dcfnet.errors import DataError
from dcfnet.imagery.wald import Sample
from dcfnet.measure import metrics

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

_SUBSCRIPT = re.compile(r"_(\w)")
_BREAKABLE = re.compile(r"(?<=fold|seed) (?=\d)|(?<=branch) (?=\d)| (?=[↓↑]|\(°\))")

OF_THE_CLAIMS = ("sam", "ergas", "q2n")
"""The metrics that the supplement compares by."""


def by_method(sample: Sample, images: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Every metric (`dcfnet.measure.metrics.evaluate`) of fused images by method, a row for each.

    Images are (C, H, W) in digital numbers; columns are named as in `METRICS`.
    """
    rows = {name: metrics.evaluate(sample, image) for name, image in images.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def styled(table: pd.DataFrame, caption: str = "", digits: int = 4) -> Styler:
    """A table of `by_method` to look at, the best value of each column in bold."""

    def bold(column: pd.Series) -> list[str]:
        best = (METRICS[column.name][1] * column).max()
        return ["font-weight: bold" if METRICS[column.name][1] * v == best else "" for v in column]

    style = table.style.apply(bold).format(precision=digits)
    return headed(style, caption)


def headed(style: Styler, caption: str = "") -> Styler:
    """A table in the look of all tables here: a caption, and metrics by their headings."""
    headings = {name: _SUBSCRIPT.sub(r"<sub>\1</sub>", text) for name, (text, _) in METRICS.items()}
    longest = max((len(str(name)) for name in style.index.get_level_values(0)), default=0)
    # Beside wide columns a browser would give names a line for each word.
    names = "min-width: 7rem" if longest > 16 else "white-space: nowrap"
    styles = [{"selector": "th.level0.row_heading", "props": names}]
    if all(map(is_numeric_dtype, style.data.dtypes)):
        numbers = "text-align: end; white-space: nowrap"
        styles += [{"selector": "td", "props": numbers}]
        styles += [{"selector": "th.col_heading", "props": "text-align: end"}]
    return (
        style.format_index(lambda name: _together(headings.get(name, name)), axis=1)
        .format_index(lambda name: _together(html.escape(name) if isinstance(name, str) else name))
        .set_caption(html.escape(caption))
        .set_table_attributes('class="dcf-table"')
        .set_table_styles(styles, overwrite=False)
    )


def _together(name: object) -> object:
    """A name in which no line ends before a number or an arrow, as in "fold 0" and "SAM (°) ↓"."""
    return _BREAKABLE.sub("\N{NO-BREAK SPACE}", name) if isinstance(name, str) else name


def shown(table: pd.DataFrame, caption: str = "", form: str = "{:z.2f}", **columns: str) -> Styler:
    """A table of numbers to look at, in one form, or single columns in another by their name."""
    forms = {name: columns.get(str(name), form) for name in table}
    return headed(table.style.format(forms), caption)


def by_block(
    sample: Sample,
    images: Mapping[str, np.ndarray],
    judges: Mapping[str, metrics.Judge] | None = None,
    size: int = 64,
) -> pd.DataFrame:
    """Metrics in every whole block of a sample with truth, but those with pixels without data.

    Judges, by name, are called with the truth and the image of a block, (C, size, size) each; they
    are SAM, ERGAS, Q2n, SCC and PSNR unless given.

    Returns:
        A row for each block, its index the block's ``row`` and ``column``; the columns are
        (judge, method), so that ``table["sam"]["EXP"]`` has EXP's SAM in each block.
    """
    gt = sample.gt
    if gt is None:
        raise DataError(
            "blocks are compared with the truth, and this sample has none; pass one of "
            "reduced resolution"
        )
    judges = judges or metrics.judges(sample.sensor)
    height, width = sample.shape
    boxes = {
        (row, column): np.s_[:, y : y + size, x : x + size]
        for row, y in enumerate(range(0, height - size + 1, size))
        for column, x in enumerate(range(0, width - size + 1, size))
        if gt[:, y : y + size, x : x + size].any(axis=0).all()
    }
    with _one_thread():
        found = {
            (judge, name): [measure(gt[box], image[box]) for box in boxes.values()]
            for judge, measure in judges.items()
            for name, image in images.items()
        }
    index = pd.MultiIndex.from_tuples(boxes, names=["row", "column"])
    return pd.DataFrame(found, index=index)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps torch to one thread: for arrays as small as a block, more wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def paired_difference(
    first: Sequence[float] | np.ndarray | pd.Series,
    second: Sequence[float] | np.ndarray | pd.Series,
    *,
    groups: Sequence[int] | np.ndarray | pd.Index | None = None,
) -> tuple[float, float, float]:
    """The mean of ``first - second`` over units, and the interval that 95 % of resamples give.

    Without ``groups``, units are resampled as if they were independent. Neighbouring blocks
    resemble one another, so that interval is rather too narrow than too wide. With a number for
    each unit, those of one number are drawn together, for example the blocks of one row, or those
    of one training: what they share then counts once.

    Returns:
        Mean difference, lower and upper end. All three are the mean where there is one group.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(
            f"expected two rows of as many numbers, got shapes {first.shape} and {second.shape}"
        )
    labels = np.arange(len(first)) if groups is None else np.asarray(groups)
    if labels.shape != first.shape:
        raise ValueError(f"expected a group for each of {len(first)} units, got {labels.shape}")
    difference = first - second
    mean = float(difference.mean())
    _, at = np.unique(labels, return_inverse=True)
    sums, counts = np.bincount(at, difference), np.bincount(at)
    if len(sums) == 1:
        return mean, mean, mean
    interval = bootstrap(
        (sums, counts),
        lambda sums, counts, axis: sums.sum(axis) / counts.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=2000,
        method="percentile",
        rng=0,
    ).confidence_interval
    return mean, float(interval.low), float(interval.high)


def styled_differences(blocks: pd.DataFrame, method: str, caption: str = "") -> Styler:
    """Means of `by_block` with their spread, and how far a method is from each of the others.

    Blocks of one row are resampled together.
    """
    groups = blocks.index.get_level_values("row")
    cells: dict[str, dict[str, str]] = {}
    for judge, name in blocks.columns:
        values = blocks[judge][name]
        text = f"{values.mean():.3f} ± {values.std() if len(values) > 1 else 0:.3f}"
        if name != method:
            ours = blocks[judge][method]
            mean, low, high = paired_difference(ours, values, groups=groups)
            text += f"\n{mean:+.3f}\n[{low:+.3f}, {high:+.3f}]"
        cells.setdefault(judge, {})[name] = text
    note = (
        f"Mean ± standard deviation over blocks; {method} minus the method of the row, with the "
        "interval that 95 % of resamples give."
    )
    # Lines of their own, else a narrow page breaks an interval in two.
    style = pd.DataFrame(cells).style.set_properties(**{"white-space": "pre"})
    return headed(style, f"{caption}. {note}" if caption else note)


def gains(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """How much better a method of `by_method` is than each other, in `OF_THE_CLAIMS`.

    Above 0 it is the better one, whether of the metric more or less is better.
    """
    compared = table[list(OF_THE_CLAIMS)]
    signs = [METRICS[metric][1] for metric in compared]
    return (signs * (compared.loc[method] - compared)).drop(index=method)
