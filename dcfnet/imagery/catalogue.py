"""The scenes that the book is about, by name."""

import importlib.metadata
import os
from pathlib import Path

from dcfnet.errors import DataError, unknown
from dcfnet.imagery.scene import Scene, open_scene
from dcfnet.imagery.sensors import WV2, WV3, Sensor
from dcfnet.imagery.simulated.camera import simulate_scene

DIGITALGLOBE = "(c) DigitalGlobe, Inc. All Rights Reserved"

SCENES: dict[str, str] = {
    "wv3-longmont": "WorldView-3 over Longmont, Colorado, 6 October 2014",
    "wv2-longmont": "WorldView-2 over Longmont, Colorado, 20 June 2014",
    "simulated": "a seeded, simulated town with known truth",
}
"""The scenes that :func:`load_scene` knows, and what they are."""

# Where dgsamples keeps them: folder, then the product codes of MS and PAN in the file names.
_LONGMONT = {"wv3-longmont": ("wv3_longmont_1k", WV3), "wv2-longmont": ("wv2_longmont_1k", WV2)}


def scene_name(name: str | None = None) -> str:
    """The scene that is meant: ``name``, else $DCFNET_SCENE, else ``"wv3-longmont"``.

    Raises:
        DataError: There is no scene of that name.
    """
    chosen = name or os.environ.get("DCFNET_SCENE") or "wv3-longmont"
    if chosen not in SCENES:
        what = "scene" if name else "scene in the environment variable DCFNET_SCENE"
        raise DataError(
            f"{unknown(what, chosen, SCENES)}; for your own images use "
            "dcfnet.imagery.scene.open_scene(ms_path, pan_path, sensor)"
        )
    return chosen


def load_scene(name: str | None = None) -> Scene:
    """One of the scenes that the book is about, `SCENES`.

    Without a name the environment variable DCFNET_SCENE decides, else it is ``"wv3-longmont"``.
    The Longmont chips come from the package ``dgsamples`` and are (c) DigitalGlobe; the simulated
    scene is free.

    Raises:
        DataError: There is no such scene, or ``dgsamples`` is not installed.

    Example:
        >>> scene = load_scene("simulated")
        >>> scene.sensor.title
        'WorldView-3'
    """
    name = scene_name(name)
    if name == "simulated":
        return simulate_scene()
    ms_path, pan_path, sensor = longmont_files(name)
    return open_scene(ms_path, pan_path, sensor, attribution=DIGITALGLOBE, name=name)


def longmont_files(name: str = "wv3-longmont") -> tuple[Path, Path, Sensor]:
    """The GeoTIFFs of MS and PAN of a Longmont scene, as ``dgsamples`` brings them, and its sensor.

    Raises:
        DataError: ``dgsamples`` is not installed, or lacks them.
    """
    folder, sensor = _LONGMONT[name]
    return _dgsamples_file(folder, "M2AS"), _dgsamples_file(folder, "P2AS"), sensor


def _dgsamples_file(folder: str, product: str) -> Path:
    try:
        files = importlib.metadata.files("dgsamples") or []
    except importlib.metadata.PackageNotFoundError:
        raise DataError(
            "the Longmont scenes need the package dgsamples, which is not installed: "
            "run `pip install dgsamples`, or set DCFNET_SCENE=simulated"
        ) from None
    for file in files:
        if folder in file.parts and product in file.name and file.suffix.upper() == ".TIF":
            return Path(str(file.locate()))
    raise DataError(
        f"dgsamples is installed but holds no {product} image in {folder}: "
        "run `pip install --force-reinstall dgsamples`"
    )
