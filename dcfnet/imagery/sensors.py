"""What a satellite's imager is: its bands, its sharpness, its number of bits.

The imagers that the package knows are listed in ``sensors.toml`` beside this module. A file of the
same layout describes any other.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dcfnet.errors import DataError, unknown


@dataclass(frozen=True)
class Sensor:
    """A multispectral (MS) imager with a panchromatic (PAN) band.

    Attributes:
        name: What users type, for example ``"wv3"``.
        title: What figures print, for example ``"WorldView-3"``.
        bands: Short band names in the order of the files.
        band_names: The same bands in words.
        wavelengths: Lower and upper edge of each band, in nanometres; empty if not known.
        pan_wavelengths: Lower and upper edge of PAN, in nanometres.
        mtf_gains: Amplitude of the modulation transfer function (MTF) at the Nyquist
            frequency of the MS grid, one per band (Vivone et al., 2015, and its toolbox).
        pan_mtf_gain: The same for PAN, at the Nyquist frequency of a grid ``ratio`` times
            coarser than its own.
        ratio: MS pixel size divided by PAN pixel size.
        bits: Radiometric resolution of the digital numbers.
        rgb: Band indices (0-based) of a natural colour composite: red, green, blue. By default
            the bands R, G, B, else the first three, the longest wave first.
        rgb_135: Band indices of the composite that the DCFNet supplement shows of eight bands
            ("bands 1, 3, 5", counted from one), shown as red, green, blue = 5, 3, 1. By default
            these, for fewer bands natural colour.
        source: Where these numbers are from.

    Example:
        >>> WV3.bands[WV3.index("RE")]
        'RE'
        >>> WV3.max_value
        2047
    """

    name: str
    title: str
    bands: tuple[str, ...]
    band_names: tuple[str, ...]
    wavelengths: tuple[tuple[int, ...], ...]
    pan_wavelengths: tuple[int, ...]
    mtf_gains: tuple[float, ...]
    pan_mtf_gain: float
    ratio: int = 4
    bits: int = 11
    rgb: tuple[int, ...] = ()
    rgb_135: tuple[int, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        n = len(self.bands)
        each = (self.band_names, self.wavelengths or self.bands, self.mtf_gains)
        if not n or {len(values) for values in each} != {n}:
            raise ValueError(
                "bands, band_names, wavelengths and mtf_gains need one entry per band; got "
                f"{n}, {len(self.band_names)}, {len(self.wavelengths)} and {len(self.mtf_gains)}"
            )
        for gain in (*self.mtf_gains, self.pan_mtf_gain):
            if not 0 < gain < 1:
                raise ValueError(f"an MTF gain lies between 0 and 1, got {gain}")
        for edges in (*self.wavelengths, self.pan_wavelengths):
            if edges and not (len(edges) == 2 and 0 < edges[0] < edges[1]):
                raise ValueError(f"expected lower and upper edge in nanometres, got {edges}")
        if self.bits not in range(1, 17) or self.ratio != 4:
            raise ValueError(
                f"bits must be 1 to 16 and ratio 4, the only one that networks and files here "
                f"know; got {self.bits} and {self.ratio}"
            )
        if not self.rgb:
            named = {"R", "G", "B"} <= {*self.bands}
            colours = map(self.bands.index, "RGB") if named else (min(k, n - 1) for k in (2, 1, 0))
            object.__setattr__(self, "rgb", tuple(colours))
        if not self.rgb_135:
            object.__setattr__(self, "rgb_135", (4, 2, 0) if n == 8 else self.rgb)
        if not {*self.rgb, *self.rgb_135} <= {*range(n)}:
            raise ValueError(
                f"rgb {self.rgb} and rgb_135 {self.rgb_135} must be indices of the {n} bands, "
                "counted from 0"
            )

    @property
    def n_bands(self) -> int:
        """Number of MS bands."""
        return len(self.bands)

    @property
    def max_value(self) -> int:
        """Largest digital number, 2047 for 11 bits. Networks see values divided by it."""
        return 2**self.bits - 1

    @property
    def centres(self) -> tuple[float, ...]:
        """Centre wavelength of each band, in nanometres.

        Raises:
            DataError: It is not known.
        """
        if not self.wavelengths:
            raise DataError(
                f"the wavelengths of {self.title} are not known: name the sensor that took the "
                "images, or describe it in a .toml file"
            )
        return tuple((low + high) / 2 for low, high in self.wavelengths)

    def index(self, band: str) -> int:
        """0-based index of a band by its short name."""
        if band not in self.bands:
            raise ValueError(unknown(f"band of {self.title}", band, self.bands))
        return self.bands.index(band)

    def select(self, *bands: str) -> Sensor:
        """The sensor of a delivery that has only these bands, in this order.

        Example:
            >>> WV3.select("B", "G", "R", "N").mtf_gains
            (0.355, 0.36, 0.365, 0.335)
        """
        chosen = [self.index(band) for band in bands]
        each: dict[str, Any] = {
            key: tuple(values[i] for i in chosen)
            for key in ("bands", "band_names", "wavelengths", "mtf_gains")
            if (values := getattr(self, key))
        }
        return replace(self, **each, rgb=(), rgb_135=())


UNKNOWN_GAIN, UNKNOWN_PAN_GAIN = 0.3, 0.15
"""The MTF gains that one takes where nothing is known."""


def sensor_from_table(name: str, table: Mapping[str, Any], where: str | Path) -> Sensor:
    """A sensor from a table in the layout of ``sensors.toml``, in the file that errors shall name.

    Raises:
        DataError: The table lacks something, or says what cannot be.
    """
    try:
        _only(table, "title", "bits", "ratio", "source", "pan", "bands")
        pan, bands = _only(table["pan"], "nm", "mtf"), table["bands"]
        edges = [_only(band, "short", "name", "nm", "mtf").get("nm", ()) for band in bands]
        return Sensor(
            name=name,
            title=table["title"],
            bands=tuple(band["short"] for band in bands),
            band_names=tuple(band["name"] for band in bands),
            wavelengths=tuple(tuple(pair) for pair in edges) if all(edges) else (),
            pan_wavelengths=tuple(pan.get("nm", ())),
            mtf_gains=tuple(band.get("mtf", UNKNOWN_GAIN) for band in bands),
            pan_mtf_gain=pan.get("mtf", UNKNOWN_PAN_GAIN),
            **{key: table[key] for key in ("ratio", "bits", "source") if key in table},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        lacks = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{where}: {name!r} cannot be a sensor ({lacks}): expected a table as those of {_TABLE}"
        ) from error


def _only(table: Mapping[str, Any], *known: str) -> Mapping[str, Any]:
    for key in table:
        if key not in known:
            raise ValueError(unknown("key", key, known))
    return table


def sensor_table(sensor: Sensor) -> dict[str, Any]:
    """The table that `sensor_from_table` makes the same sensor of."""
    edges = sensor.wavelengths or ((),) * sensor.n_bands
    bands = zip(sensor.bands, sensor.band_names, edges, sensor.mtf_gains, strict=True)
    return {
        "title": sensor.title,
        "bits": sensor.bits,
        "ratio": sensor.ratio,
        "source": sensor.source,
        "pan": {"nm": sensor.pan_wavelengths, "mtf": sensor.pan_mtf_gain},
        "bands": [{"short": s, "name": n, "nm": nm, "mtf": mtf} for s, n, nm, mtf in bands],
    }


_TABLE = Path(__file__).with_name("sensors.toml")


def _read(path: Path) -> dict[str, Sensor]:
    """The sensors of a file, by name."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read {path} ({error}): expected a TOML file with a table as those of {_TABLE}"
        ) from error
    return {name: sensor_from_table(name, table, path) for name, table in tables.items()}


SENSORS: dict[str, Sensor] = _read(_TABLE)
"""The imagers that the package knows, by the names that users type."""

WV3, WV2 = SENSORS["wv3"], SENSORS["wv2"]


def generic_sensor(bands: int) -> Sensor:
    """A stand-in for an imager of which nothing but its number of bands is known.

    Four bands are taken for QuickBird's blue, green, red and near infrared, eight for those of
    WorldView-3; others have no names or wavelengths. 11 bits, MTF gains of 0.3, of PAN 0.15.
    """
    like = {4: SENSORS["qb"], 8: WV3}.get(bands)
    numbers = tuple(str(k) for k in range(1, bands + 1))
    return Sensor(
        name=f"generic{bands}",
        title=f"a sensor of {bands} bands",
        bands=like.bands if like else numbers,
        band_names=like.band_names if like else tuple(f"band {k}" for k in numbers),
        wavelengths=like.wavelengths if like else (),
        pan_wavelengths=like.pan_wavelengths if like else (),
        mtf_gains=(UNKNOWN_GAIN,) * bands,
        pan_mtf_gain=UNKNOWN_PAN_GAIN,
        source="nothing is known: bands by their number, MTF gains of 0.3 and 0.15",
    )


def get_sensor(name: str | Path) -> Sensor:
    """A sensor by name, one of `SENSORS`, or from a file.

    ``"generic5"`` has five bands of which nothing is known. A file, ``.toml``, has one table in
    the layout of ``sensors.toml``.

    Raises:
        DataError: There is no such sensor or file, or the file describes none.

    Example:
        >>> get_sensor("qb").title
        'QuickBird'
    """
    text = str(name)
    if text.lower() in SENSORS:
        return SENSORS[text.lower()]
    if match := re.fullmatch(r"generic([1-9]\d?)", text.lower()):
        return generic_sensor(int(match[1]))
    if not text.lower().endswith(".toml"):
        raise DataError(
            f"{unknown('sensor', text, SENSORS)}, generic4 for four bands of which nothing is "
            "known, or a .toml file that describes the imager"
        )
    found = _read(Path(text))
    if len(found) != 1:
        raise DataError(
            f"{text} describes {len(found)} sensors ({', '.join(found)}): expected one; put the "
            "others into files of their own"
        )
    return next(iter(found.values()))
