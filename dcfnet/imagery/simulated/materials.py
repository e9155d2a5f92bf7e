"""What the ground of the simulated scene is made of: how much light each material reflects."""

import tomllib
from pathlib import Path
from typing import NamedTuple

import numpy as np

KNOTS = (400, 450, 500, 550, 600, 650, 700, 750, 800, 900, 1050)
"""Wavelengths at which reflectance curves are given, in nanometres."""


class Material(NamedTuple):
    """Reflectance in percent at ``KNOTS``, fresh and worn, and how much its grain shows."""

    fresh: tuple[float, ...]
    worn: tuple[float, ...]
    grain: float


MATERIALS: dict[str, Material] = {
    name: Material(tuple(table["fresh"]), tuple(table["worn"]), table["grain"])
    for name, table in tomllib.loads(
        Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    ).items()
}
"""From ``materials.toml`` beside this module."""

VARIANTS = 6
"""Spectra per material: no two roofs, trees or fields are quite alike."""

_NAMES = list(MATERIALS)


def spectrum(name: str, variant: int = 0) -> int:
    """The number by which maps of materials know one of a material's spectra."""
    return _NAMES.index(name) * VARIANTS + variant


def kind_of(material: np.ndarray, *names: str) -> np.ndarray:
    """Where a map of materials shows any variant of the materials named, as bool."""
    return np.isin(material, [spectrum(n, k) for n in names for k in range(VARIANTS)])
