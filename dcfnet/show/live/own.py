"""Your own pair: two GeoTIFFs, checked and fused in the reader's page, which sends them nowhere."""

from __future__ import annotations

from dcfnet.imagery.sensors import Sensor
from dcfnet.show.live.page import LivePage, of_sensor


def own_pair(sensor: Sensor) -> LivePage:
    """A page piece that fuses a reader's files, as the command ``dcfnet fuse`` does.

    Args:
        sensor: What took them; the networks that pages run must have its bands.
    """
    limits = [[0, sensor.max_value]] * sensor.n_bands  # set by what is read
    data = {
        "sensor": of_sensor(sensor, limits) | {"title": sensor.title, "bits": sensor.bits},
        "networks": {"paper": "Fuse with DCFNet", "narrow": "or with a quarter of its width"},
    }
    return LivePage(
        "own",
        data,
        alt="Choose an MS and a PAN GeoTIFF of one place. They are checked, fused, shown beside "
        "each other, and can be saved. Nothing leaves the machine.",
    )
