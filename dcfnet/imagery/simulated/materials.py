"""What the ground of the simulated scene is made of: how much light each material reflects."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

KNOTS = (400, 450, 500, 550, 600, 650, 700, 750, 800, 900, 1050)
"""Wavelengths at which reflectance curves are given, in nanometres."""


class Material(NamedTuple):
    """Reflectance in percent at ``KNOTS``, fresh and worn, and how much its grain shows."""

    fresh: tuple[float, ...]
    worn: tuple[float, ...]
    grain: float


# Drawn by hand after the usual shapes: chlorophyll absorbs blue and red and the leaf's cells
# reflect the near infrared, water swallows it, soils and tiles rise steadily.
MATERIALS: dict[str, Material] = {
    "lawn": Material(
        (3, 3.5, 4.5, 8.5, 5.5, 4.5, 11, 36, 42, 45, 42),
        (5, 6, 8, 12, 12, 12, 18, 33, 38, 41, 41), 0.08),
    "meadow": Material(
        (3, 4, 5.5, 9, 7.5, 7, 13, 30, 35, 38, 37),
        (6, 8, 10.5, 14, 16, 17, 22, 31, 35, 38, 41), 0.12),
    "tree": Material(
        (3, 3.5, 4.5, 9, 5.5, 4, 12, 40, 47, 50, 47),
        (4, 4.5, 6.5, 12, 9.5, 8, 16, 38, 44, 47, 45), 0.12),
    "crop": Material(
        (3, 3, 4, 8, 5, 4, 11, 40, 48, 50, 47),
        (6, 8, 9.5, 12, 14, 15.5, 18, 22, 25, 29, 34), 0.06),
    "stubble": Material(
        (9, 11.5, 14.5, 18, 20.5, 23, 25, 28, 30, 34, 39),
        (7, 9, 11, 13, 15, 16.5, 18, 20, 22, 26, 32), 0.07),
    "soil": Material(
        (7, 9, 11, 13.5, 15.5, 17, 18.5, 20, 22, 25, 30),
        (4, 5.5, 7, 8.5, 10, 11, 12, 13, 15, 17, 21), 0.09),
    "sand": Material(
        (12, 15, 18.5, 22, 24.5, 26, 28, 30, 32, 35, 39),
        (8, 10, 13, 16, 18, 19.5, 21, 23, 24, 27, 30), 0.10),
    "water": Material(
        (3, 4, 5, 5, 4, 3, 1.8, 0.8, 0.6, 0.3, 0.2), (4, 6, 8, 10, 9, 7, 5, 2.5, 2, 1, 0.5), 0.03),
    "pool": Material(
        (16, 28, 34, 30, 16, 9, 4, 2, 1.5, 1, 0.5),
        (14, 24, 30, 28, 17, 10, 5, 2, 1.5, 1, 0.5), 0.05),
    "asphalt": Material(
        (6.5, 7.5, 8.5, 9, 9.3, 9.5, 9.8, 10, 10.5, 11, 12),
        (11, 13, 14.5, 16, 16.5, 17, 17.5, 18, 18.5, 19, 20), 0.06),
    "concrete": Material(
        (16, 19, 22, 24.5, 25.5, 26, 26.5, 27, 27.5, 28, 29),
        (12, 14.5, 17, 19, 20, 20.5, 21, 21.5, 22, 23, 24), 0.05),
    "paint": Material(
        (30, 42, 46, 48, 49, 49, 49, 48, 48, 47, 45),
        (22, 30, 34, 36, 37, 37, 37, 37, 37, 36, 35), 0.03),
    "grey shingle": Material(
        (7, 8, 9, 9.7, 10, 10.3, 10.6, 11, 11.5, 12, 13),
        (10, 11, 12.5, 13, 13.5, 14, 14, 14.5, 15, 16, 17), 0.08),
    "brown shingle": Material(
        (5, 6, 7.5, 9.5, 11, 12, 13, 14, 16, 19, 23),
        (7, 9, 10.5, 12.5, 14, 15, 16, 17, 19, 22, 26), 0.08),
    "red tile": Material(
        (4, 5, 6.5, 9.5, 15, 18, 20, 23, 26, 28, 30),
        (6, 7.5, 9, 11.5, 15, 17, 18.5, 20, 22, 24, 26), 0.08),
    "slate": Material(
        (7, 9, 10, 10, 9.5, 9, 9, 9.5, 10, 11, 12),
        (9, 11, 12, 12.5, 12, 11.7, 11.7, 12, 13, 14, 15), 0.07),
    "white metal": Material(
        (24, 52, 64, 68, 69, 69, 69, 69, 68, 65, 60),
        (20, 40, 48, 52, 53, 54, 54, 54, 53, 51, 48), 0.03),
    "gravel roof": Material(
        (12, 15, 18, 21, 22.5, 23.5, 24, 25, 26, 27, 29),
        (10, 12.5, 15, 17.5, 19, 20, 20.5, 21, 22, 23, 25), 0.06),
    "blue metal": Material(
        (12, 21, 24, 19, 12, 10, 12, 20, 25, 30, 34),
        (13, 20, 22, 18, 14, 12, 14, 20, 24, 28, 32), 0.03),
    "solar panel": Material(
        (3, 3.5, 3, 2.5, 2.5, 2.5, 3, 4, 6, 10, 14), (3, 4, 4, 3, 3, 3, 3.5, 5, 7, 11, 15), 0.02),
    "white car": Material(
        (20, 42, 50, 52, 52, 52, 52, 51, 50, 49, 47),
        (18, 36, 42, 44, 44, 44, 44, 44, 43, 42, 40), 0.02),
    "silver car": Material(
        (14, 20, 22, 23, 23, 24, 24, 24, 24, 25, 25),
        (10, 13, 14, 15, 15, 15, 15, 16, 16, 16, 17), 0.02),
    "dark car": Material(
        (3, 3, 3, 3, 3, 3, 3.5, 4, 5, 6, 8), (4, 4.5, 5, 5, 5, 5, 5, 6, 7, 8, 9), 0.02),
    "red car": Material(
        (4, 4, 4, 4, 14, 24, 28, 31, 33, 35, 36), (3, 3, 3, 4, 10, 17, 20, 23, 25, 27, 28), 0.02),
    "blue car": Material(
        (8, 14, 13, 8, 5, 5, 6, 12, 18, 24, 28), (6, 10, 9, 6, 4, 4, 5, 9, 13, 18, 22), 0.02),
    "glass": Material(
        (3, 3.5, 4, 4, 4, 4, 4, 4, 4, 4, 4), (4, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5), 0.02),
}  # fmt: skip
VARIANTS = 6
"""Spectra per material: no two roofs, trees or fields are quite alike."""

_NAMES = list(MATERIALS)


def spectrum(name: str, variant: int = 0) -> int:
    """The number by which maps of materials know one of a material's spectra."""
    return _NAMES.index(name) * VARIANTS + variant


def kind_of(material: np.ndarray, *names: str) -> np.ndarray:
    """Where a map of materials shows any variant of the materials named, as bool."""
    return np.isin(material, [spectrum(n, k) for n in names for k in range(VARIANTS)])
