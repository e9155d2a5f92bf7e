"""The commands ``data`` and ``check``, and flags that others share: flags are their arguments.

What takes long to import is imported when a command is carried out, so that help comes at once.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from dcfnet.imagery.sensors import SENSORS, Sensor, generic_sensor, get_sensor

SensorName = Annotated[
    str | None,
    Parameter(
        help=f"What took the images: {', '.join(SENSORS)}, or a .toml file that describes it; by "
        "default what the data file notes, else what its number of bands suggests."
    ),
]

TakenBy = Annotated[
    str,
    Parameter(
        help=f"What took the images: {', '.join(SENSORS)}; generic4 and the like for four bands "
        "of which nothing is known; or a .toml file of its own."
    ),
]

BOOK, OWN = Group("The book's"), Group("Your own")

Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
"""Something that is not so unless it is asked for."""


def sensor_of(raster: str | Path, name: str | None) -> Sensor:
    """What took a raster: the sensor named, else one of which nothing but its bands is known."""
    from dcfnet.imagery.geotiff import count_bands

    return get_sensor(name) if name else generic_sensor(count_bands(raster))


def data(
    folder: Path | None = None,
    /,
    *,
    scene: Annotated[
        Literal["wv3-longmont", "wv2-longmont", "simulated"] | None, Parameter(group=BOOK)
    ] = None,
    ms: Annotated[list[str] | None, Parameter(group=OWN)] = None,
    pan: Annotated[list[str] | None, Parameter(group=OWN)] = None,
    sensor: Annotated[SensorName, Parameter(group=OWN)] = None,
    size: Annotated[int, Parameter(group=OWN)] = 64,
    resample: Annotated[Flag, Parameter(group=OWN)] = False,
    fold: int = 0,
) -> None:
    """Build train.h5, valid.h5 and test.h5 by Wald's protocol, of a scene or of your own files.

    Those of a scene of the book go to data/SCENE of the checkout; set DCFNET_DATA to build them
    elsewhere. Of your own pairs of GeoTIFFs, each is divided into ground for training, validation
    and testing, and all are written to FOLDER:

        dcfnet data --ms A_MS.tif --pan A_PAN.tif --ms B_MS.tif --pan B_PAN.tif --sensor qb FOLDER

    The scenes: wv3-longmont, WorldView-3 over Longmont, Colorado, 6 October 2014; wv2-longmont,
    WorldView-2 over Longmont, Colorado, 20 June 2014; simulated, a seeded, simulated town with
    known truth.

    Args:
        folder: Where the files of your own pairs go.
        scene: By default $DCFNET_SCENE, else wv3-longmont.
        ms: GeoTIFF of the sensor's bands, or what else GDAL reads; once for each pair.
        pan: GeoTIFF of one band; as often, in the same order.
        sensor: What took the images; its help names all.
        size: Side of a patch in MS pixels, a multiple of 4.
        resample: Resample MS if it is off PAN's grid by a fraction of a PAN pixel.
        fold: Which division into ground for training, validation and testing: 0, 1 or 2. Those of
            a scene of the book, above 0, are built in data/SCENE/foldN.
    """
    from dcfnet.imagery.building import build_data, build_pairs

    if not (folder or ms or pan):
        built = build_data(scene, fold=fold)
    elif not (folder and ms and pan) or len(ms) != len(pan) or scene:
        raise ValueError(
            "for your own files name a folder and, in pairs, --ms and --pan; for a scene of the "
            "book none of them"
        )
    else:
        pairs, taken_by = [*zip(ms, pan, strict=True)], sensor_of(ms[0], sensor)
        built = build_pairs(pairs, taken_by, folder, fold=fold, size=size, resample=resample)
    for split, path in built.items():
        print(f"{split}: {path}")


def check(
    file: Sequence[Path] = (),
    /,
    *,
    ms: str | None = None,
    pan: str | None = None,
    sensor: SensorName = None,
    resample: Flag = False,
) -> None:
    """Say whether HDF5 files or a pair of GeoTIFFs can be used, and if not why.

    Every value is read. Of HDF5 files, which have PanCollection's layout, it says for what they
    can be used. Of a pair it says what there is to know: ground, data, values, and by how many
    PAN pixels each band lies off.

    Args:
        file: HDF5 files.
        ms: GeoTIFF of the sensor's bands, or what else GDAL reads.
        pan: GeoTIFF of one band, likewise.
        sensor: What took the images; its help names all.
        resample: Resample MS if it is off PAN's grid by a fraction of a PAN pixel.
    """
    from dcfnet.imagery.pair_check import check_pair
    from dcfnet.imagery.pancollection import check_h5

    if bool(file) == bool(ms or pan) or bool(ms) != bool(pan):
        raise ValueError("name HDF5 files, or a pair with --ms and --pan")
    taken_by = get_sensor(sensor) if sensor else None
    for path in file:
        found = check_h5(path, taken_by, progress=True)
        print(f"{path}: can be used; images of {found.title}")
    if ms and pan:
        taken_by, shown = sensor_of(ms, sensor), sys.stderr.isatty()
        print(check_pair(ms, pan, taken_by, resample=resample, progress=shown))
