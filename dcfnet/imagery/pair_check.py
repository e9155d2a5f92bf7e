"""Everything that can be said of a pair of files before it is fused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from dcfnet.errors import DataError
from dcfnet.imagery.filters import coarse_mask
from dcfnet.imagery.geotiff import Pair
from dcfnet.imagery.registration import PERFECT, displacements
from dcfnet.imagery.sensors import Sensor

SIDE = 512
"""Side of the windows that are read, in MS pixels."""

WORTH = 0.3
"""PAN pixels of displacement from which on `--align` is worth a trial."""


@dataclass(frozen=True)
class PairCheck:
    """What was found.

    Attributes:
        lines: What is to be said of the pair, a sentence each.
        bands: A row for PAN and each band: ``min``, ``mean`` and ``max`` of pixels with data,
            ``full`` (the share of them at the sensor's largest value), ``with_pan`` (correlation
            with PAN, reduced to MS pixels) and, where it could be measured, ``down``, ``right`` and
            ``error``: how far the band lies from where it should, in PAN pixels.
    """

    lines: tuple[str, ...]
    bands: pd.DataFrame

    def __str__(self) -> str:
        return "\n".join([*self.lines, self.bands.round(3).to_string(na_rep="")])


def check_pair(
    ms_path: str | Path,
    pan_path: str | Path,
    sensor: Sensor,
    *,
    resample: bool = False,
    progress: bool = False,
) -> PairCheck:
    """Read every value of a pair, and say what it is.

    Args:
        ms_path: MS, a file or what GDAL reads besides.
        pan_path: PAN likewise.
        sensor: What took them.
        resample: Where the grids are offset by a fraction of a PAN pixel, resample MS.
        progress: Show a bar.

    Raises:
        DataError: The pair cannot be used.
    """
    with Pair(ms_path, pan_path, sensor, resample=resample) as pair:
        counted = _Counted(pair, progress)
        lines = [_about(pair), *counted.lines()]
        bands = counted.table()
        try:
            found = displacements(pair)
            found[["down", "right"]] -= PERFECT
            bands = bands.join(found)
            lines.append(_about_registration(found))
        except DataError as error:
            lines.append(f"Registration was not measured: {error}.")
    return PairCheck(tuple(lines), bands)


def _about(pair: Pair) -> str:
    h, w = pair.shape
    r, pixel = pair.sensor.ratio, abs(pair.transform.a)
    where = "not georeferenced" if pair.transform.is_identity else f"pixels of {pixel * r:g}"
    system = f" in {pair.crs.to_string():.40}" if pair.crs else ""
    moved = f", MS {max(map(abs, pair.off)):.2f} PAN pixels off its grid" if any(pair.off) else ""
    places = [
        name for name, there in (("RPCs", pair.rpcs), ("control points", pair.gcps[0])) if there
    ]
    more = f"; PAN brings {' and '.join(places)}" if places else ""
    return (
        f"{pair.sensor.title}: {pair.sensor.n_bands} bands of {pair.ms.dtype}, {h} x {w} MS pixels "
        f"of common ground, {where}{system}{moved}{more}."
    )


def _about_registration(found: pd.DataFrame) -> str:
    places = found[["down", "right"]].to_numpy()
    apart = np.linalg.norm(places[:, None] - places, axis=2).max()
    off = np.linalg.norm(places, axis=1).max()
    said = (
        f"Bands lie up to {off:.2f} PAN pixels from where they should, {apart:.2f} from one another"
    )
    return said + ("; --align moves them onto PAN." if max(off, apart) > WORTH else ".")


class _Counted:
    """Sums over the pixels with data, window by window."""

    def __init__(self, pair: Pair, progress: bool) -> None:
        n, r = pair.sensor.n_bands, pair.sensor.ratio
        self.pair = pair
        self.ms_pixels = self.pan_pixels = self.both = 0
        self.low, self.high = np.full(n + 1, np.inf), np.full(n + 1, -np.inf)
        self.full, self.sums, self.count = np.zeros(n + 1), np.zeros(n + 1), np.zeros(n + 1)
        self.products, self.means = np.zeros((n + 1, n + 1)), np.zeros(n + 1)
        h, w = pair.shape
        places = [(y, x) for y in range(0, h, SIDE) for x in range(0, w, SIDE)]
        for y, x in tqdm(places, "reading", unit="window", disable=not progress):
            rows, cols = slice(y, min(y + SIDE, h)), slice(x, min(x + SIDE, w))
            ms, mask = pair.read_ms(rows, cols)
            pan, seen = pair.read_pan(rows, cols)
            self.ms_pixels += int(mask.sum())
            self.pan_pixels += int(seen.sum())
            for k, values in enumerate([pan[seen], *ms[:, mask]]):
                self._add(k, values.astype(np.float64))
            height, width = mask.shape
            fine = pan.reshape(height, r, width, r).swapaxes(1, 2).astype(np.float64)
            both = mask & coarse_mask(seen, r)
            columns = np.stack([fine.mean(axis=(2, 3))[both], *ms[:, both].astype(np.float64)])
            self.both += columns.shape[1]
            self.means += columns.sum(axis=1)
            self.products += columns @ columns.T

    def _add(self, k: int, values: np.ndarray) -> None:
        if len(values):
            self.low[k] = min(self.low[k], values.min())
            self.high[k] = max(self.high[k], values.max())
        self.full[k] += (values == self.pair.sensor.max_value).sum()
        self.sums[k] += values.sum()
        self.count[k] += len(values)

    def lines(self) -> list[str]:
        """What of the ground has data."""
        h, w = self.pair.shape
        fine = h * w * self.pair.sensor.ratio**2
        if not self.both:
            raise DataError(
                "MS and PAN nowhere have data both: expected digital numbers, found 0, no-data "
                "values, or what a mask leaves out"
            )
        return [
            f"Without data: {1 - self.ms_pixels / (h * w):.2%} of MS, "
            f"{1 - self.pan_pixels / fine:.2%} of PAN."
        ]

    def table(self) -> pd.DataFrame:
        """What each band holds."""
        means = self.means / self.both
        cov = self.products / self.both - np.outer(means, means)
        spread = np.sqrt(np.outer(np.diag(cov), np.diag(cov)))
        alike = np.divide(cov, spread, out=np.full(cov.shape, np.nan), where=spread > 0)
        return pd.DataFrame(
            {
                "min": self.low,
                "mean": self.sums / self.count,
                "max": self.high,
                "full": self.full / self.count,
                "with_pan": alike[0],
            },
            index=["PAN", *self.pair.sensor.bands],
        )
