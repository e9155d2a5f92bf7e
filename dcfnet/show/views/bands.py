"""A scene's bands in colour, and the spectrum of a pixel that the reader points at or steps to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dcfnet.imagery.scene import Scene
from dcfnet.show.page import coded, colours, of_sensor
from dcfnet.show.views.view import Drawing


def band_explorer(
    window: Scene, limits: np.ndarray, presets: Mapping[str, tuple[int, int, int]]
) -> Drawing:
    """A window's bands as red, green and blue, PAN beside it, and the spectrum of any pixel.

    Args:
        window: A small scene whose sensor knows its bands' wavelengths.
        limits: (C, 2), see `dcfnet.imagery.composite.band_limits`.
        presets: Name to three bands, from 0; the first is shown.
    """
    return Drawing(
        "bands",
        {
            "sensor": of_sensor(window.sensor, limits),
            "wavelengths": list(window.sensor.centres),
            "ms": coded(window.ms),
            "pan": coded(np.minimum(window.pan, np.quantile(window.pan, 0.99))),
            "presets": presets,
            "colours": colours("gray", "viridis", "magma", "cividis"),
        },
    )
