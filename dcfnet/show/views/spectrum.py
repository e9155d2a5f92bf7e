"""The spectrum of a pixel, which the reader points at in an image or steps to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from bokeh.events import Tap
from bokeh.models import ColumnDataSource, HoverTool, LayoutDOM, Range1d, Slider
from bokeh.plotting import figure

from dcfnet.imagery.composite import stretch
from dcfnet.imagery.scene import Scene
from dcfnet.show.views.composites import TEAL, band_composite
from dcfnet.show.views.panels import (
    Panel,
    controls,
    image_panel,
    led_by,
    palette_chooser,
    side_by_side,
)
from dcfnet.show.views.store import quantise
from dcfnet.show.views.view import call, respond, when_shown

__all__ = ["band_explorer", "spectrum_probe"]


def band_explorer(
    window: Scene, limits: np.ndarray, presets: Mapping[str, tuple[int, int, int]]
) -> LayoutDOM:
    """A window's bands as red, green and blue, PAN beside it, and the spectrum of any pixel.

    Args:
        window: A small scene whose sensor knows its bands' wavelengths.
        limits: (C, 2), see `dcfnet.imagery.composite.band_limits`.
        presets: Name to three bands, from 0; the first is shown.
    """
    sensor = window.sensor
    photo, choices = band_composite(
        stretch(window.ms, limits), sensor.band_names, presets, title="MS"
    )
    pan = image_panel(
        np.minimum(window.pan, np.quantile(window.pan, 0.99)),
        title="PAN",
        share=photo,
        extent=window.mask.shape,
        palette="grey",
        unit="digital numbers",
    )
    names, unit = sensor.band_names, "digital number"
    plot, at = spectrum_probe(photo, window.ms, sensor.centres, names=names, value_name=unit)
    palette = palette_chooser(pan, title="PAN's colour map")
    return led_by([*choices, palette], side_by_side(photo, pan), controls(*at), plot)


def spectrum_probe(
    panel: Panel,
    spectra: npt.ArrayLike,
    wavelengths: Sequence[float],
    *,
    names: Sequence[str],
    value_name: str,
) -> tuple[LayoutDOM, list[LayoutDOM]]:
    """The spectrum of the pixel that the reader points at or steps to.

    Args:
        panel: The image to point at, one unit of its coordinates per pixel of ``spectra``.
        spectra: (C, H, W), stored in eight bits.
        wavelengths: The bands' centres, in nanometres.
        names: The bands' names.
        value_name: What the numbers are, for the axis.

    Returns:
        The plot, and its controls: the row and the column. Clicking the image sets them too.
    """
    codes, low, high = quantise(spectra)
    _, height, width = codes.shape
    order = np.argsort(wavelengths)
    line = ColumnDataSource(
        {
            "nm": np.asarray(wavelengths, dtype=float)[order],
            "value": np.zeros(len(order)),
            "band": np.asarray(names)[order],
        }
    )
    mark = ColumnDataSource({"x": [0.5], "y": [0.5]})
    for colour, thickness in (("black", 4), ("white", 1.5)):
        panel.figure.scatter(
            "x",
            "y",
            source=mark,
            marker="circle_cross",
            size=16,
            line_width=thickness,
            fill_color=None,
            line_color=colour,
        )
    plot = figure(
        height=300,
        sizing_mode="stretch_width",
        max_width=480,
        toolbar_location=None,
        tools=[HoverTool(tooltips="@band: @value{0.[0]}", mode="vline")],
        x_axis_label="wavelength (nm)",
        y_axis_label=value_name,
        y_range=Range1d(min(0.0, low), high),
        html_attributes={"role": "img", "aria-label": f"{value_name} against wavelength"},
    )
    plot.line("nm", "value", source=line, line_width=2, line_color=TEAL)
    plot.scatter("nm", "value", source=line, size=8, color=TEAL)
    rows = Slider(title="Row", start=0, end=height - 1, value=height // 2, width=200)
    columns = Slider(title="Column", start=0, end=width - 1, value=width // 2, width=200)
    store = ColumnDataSource({"codes": [codes], "low": [low], "high": [high]})
    at = {"rows": rows, "columns": columns}
    show = call("showSpectrum", store=store, line=line, mark=mark, order=order.tolist(), **at)
    respond(show, rows, columns)
    when_shown(panel.figure, show)
    panel.figure.js_on_event(Tap, call("pointAt", **at))
    return plot, [rows, columns]
