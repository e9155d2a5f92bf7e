"""Everything that can be said of a pair of files before it is fused."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from dcfnet.errors import DataError
from dcfnet.imagery.filters import coarse_mask
from dcfnet.imagery.geotiff import Pair
from dcfnet.imagery.regions import covering
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
    ms: str | Path,
    pan: str | Path,
    sensor: Sensor,
    *,
    resample: bool = False,
    progress: bool = False,
) -> PairCheck:
    """Read every value of a pair, and say what it is; arguments are those of `Pair`, and a bar.

    Raises:
        DataError: The pair cannot be used.
    """
    with Pair(ms, pan, sensor, resample=resample) as pair:
        data, bands = _counted(pair, progress)
        lines = [_about(pair), data]
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


def _counted(pair: Pair, progress: bool) -> tuple[str, pd.DataFrame]:
    """What of the ground has data, and what each band holds; gone through window by window."""
    names, r, largest = ["PAN", *pair.sensor.bands], pair.sensor.ratio, pair.sensor.max_value
    found, products = [], np.zeros((len(names) + 1,) * 2)
    for window in tqdm(covering(pair.shape, SIDE), "reading", unit="window", disable=not progress):
        (ms, mask), (pan, seen) = pair.read_ms(*window), pair.read_pan(*window)
        for name, values in zip(names, [pan[seen], *ms[:, mask]], strict=True):
            low, high = values.min(initial=largest), values.max(initial=0)
            full = (values == largest).sum()
            found.append((name, low, values.sum(dtype=np.float64), high, full, len(values)))
        height, width = mask.shape
        both = mask & coarse_mask(seen, r)
        reduced = pan.reshape(height, r, width, r).mean(axis=(1, 3))[both]
        columns = np.stack([np.ones(len(reduced)), reduced, *ms[:, both]])
        products += columns @ columns.T
    if not products.any():
        raise DataError(
            "MS and PAN nowhere have data both: expected digital numbers, found 0, no-data "
            "values, or what a mask leaves out"
        )
    bands = pd.DataFrame(found, columns=["", "min", "mean", "max", "full", "count"])
    bands = bands.groupby("", sort=False).agg(
        {"min": "min", "mean": "sum", "max": "max", "full": "sum", "count": "sum"}
    )
    count = bands.pop("count")
    bands[["mean", "full"]] = bands[["mean", "full"]].div(count, axis=0)
    means = products[0, 1:] / products[0, 0]
    cov = products[1:, 1:] / products[0, 0] - np.outer(means, means)
    spread = np.sqrt(cov[0, 0] * np.diag(cov))
    bands["with_pan"] = np.divide(cov[0], spread, out=np.full(len(names), np.nan), where=spread > 0)
    h, w = pair.shape
    of_ms, of_pan = 1 - count.iloc[1] / (h * w), 1 - count["PAN"] / (h * w * r**2)
    data = f"Without data: {of_ms:.2%} of MS, {of_pan:.2%} of PAN."
    return data, bands.rename_axis(None)
