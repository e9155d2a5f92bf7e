"""What a satellite's imager is: its bands, its sharpness, its number of bits."""

from __future__ import annotations

from dataclasses import dataclass

from dcfnet.errors import DataError, unknown

__all__ = ["SENSORS", "WV2", "WV3", "Sensor", "get_sensor"]


@dataclass(frozen=True)
class Sensor:
    """A multispectral (MS) imager with a panchromatic (PAN) band.

    Attributes:
        name: What users type, for example ``"wv3"``.
        title: What figures print, for example ``"WorldView-3"``.
        bands: Short band names in the order of the files.
        band_names: The same bands in words.
        wavelengths: Lower and upper edge of each band, in nanometres.
        pan_wavelengths: Lower and upper edge of PAN, in nanometres.
        mtf_gains: Amplitude of the modulation transfer function (MTF) at the Nyquist
            frequency of the MS grid, one per band (Vivone et al., 2015, and its toolbox).
        pan_mtf_gain: The same for PAN, at the Nyquist frequency of a grid ``ratio`` times
            coarser than its own.
        ratio: MS pixel size divided by PAN pixel size.
        bits: Radiometric resolution of the digital numbers.
        rgb: Band indices (0-based) of a natural colour composite: red, green, blue.
        rgb_135: Band indices of the composite that the DCFNet supplement shows
            ("bands 1, 3, 5", counted from one), shown as red, green, blue = 5, 3, 1.

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
    wavelengths: tuple[tuple[int, int], ...]
    pan_wavelengths: tuple[int, int]
    mtf_gains: tuple[float, ...]
    pan_mtf_gain: float
    ratio: int = 4
    bits: int = 11
    rgb: tuple[int, int, int] = (4, 2, 1)
    rgb_135: tuple[int, int, int] = (4, 2, 0)

    def __post_init__(self) -> None:
        counts = {len(self.bands), len(self.band_names), len(self.wavelengths)}
        if counts | {len(self.mtf_gains)} != {len(self.bands)}:
            raise ValueError(
                "bands, band_names, wavelengths and mtf_gains need one entry per band; got "
                f"{len(self.bands)}, {len(self.band_names)}, {len(self.wavelengths)} and "
                f"{len(self.mtf_gains)}"
            )
        if not {*self.rgb, *self.rgb_135} <= set(range(self.n_bands)):
            raise ValueError(
                f"rgb {self.rgb} and rgb_135 {self.rgb_135} must be indices of the "
                f"{self.n_bands} bands, counted from 0"
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
        """Centre wavelength of each band, in nanometres."""
        return tuple((low + high) / 2 for low, high in self.wavelengths)

    def index(self, band: str) -> int:
        """0-based index of a band by its short name.

        Raises:
            ValueError: The sensor has no such band.
        """
        if band not in self.bands:
            raise ValueError(unknown(f"band of {self.title}", band, self.bands))
        return self.bands.index(band)


_BANDS = ("C", "B", "G", "Y", "R", "RE", "N", "N2")
_NAMES = ("coastal", "blue", "green", "yellow", "red", "red edge", "near infrared 1",
          "near infrared 2")  # fmt: skip
_EDGES = ((400, 450), (450, 510), (510, 580), (585, 625), (630, 690), (705, 745), (770, 895),
          (860, 1040))  # fmt: skip

WV3 = Sensor(
    name="wv3",
    title="WorldView-3",
    bands=_BANDS,
    band_names=_NAMES,
    wavelengths=_EDGES,
    pan_wavelengths=(450, 800),
    mtf_gains=(0.325, 0.355, 0.360, 0.350, 0.365, 0.360, 0.335, 0.315),
    pan_mtf_gain=0.14,
)

WV2 = Sensor(
    name="wv2",
    title="WorldView-2",
    bands=_BANDS,
    band_names=_NAMES,
    wavelengths=_EDGES,
    pan_wavelengths=(450, 800),
    mtf_gains=(0.35,) * 7 + (0.27,),
    pan_mtf_gain=0.11,
)

SENSORS: dict[str, Sensor] = {sensor.name: sensor for sensor in (WV3, WV2)}


def get_sensor(name: str) -> Sensor:
    """The sensor of that name.

    Raises:
        DataError: No sensor has that name.
    """
    try:
        return SENSORS[name.lower()]
    except KeyError:
        raise DataError(
            f"{unknown('sensor', name, SENSORS)}; for another imager make a "
            "dcfnet.imagery.sensors.Sensor with its bands and MTF gains"
        ) from None
