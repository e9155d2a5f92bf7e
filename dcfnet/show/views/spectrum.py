"""A scene's bands in colour, and the spectrum of a pixel that the reader points at or steps to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from bokeh.events import Tap
from bokeh.models import ColumnDataSource, HoverTool, LayoutDOM, Range1d, Slider
from bokeh.plotting import figure

from dcfnet.imagery.composite import stretch
from dcfnet.imagery.scene import Scene
from dcfnet.show.views.composites import TEAL, band_composite
from dcfnet.show.views.panels import controls, image_panel, led_by, palette_chooser, side_by_side
from dcfnet.show.views.store import quantise
from dcfnet.show.views.view import call, respond, when_shown


def band_explorer(
    window: Scene, limits: np.ndarray, presets: Mapping[str, tuple[int, int, int]]
) -> LayoutDOM:
    """A window's bands as red, green and blue, PAN beside it, and the spectrum of any pixel.

    Args:
        window: A small scene whose sensor knows its bands' wavelengths.
        limits: (C, 2), see `dcfnet.imagery.composite.band_limits`.
        presets: Name to three bands, from 0; the first is shown.
    """
    sensor, (height, width) = window.sensor, window.mask.shape
    photo, choices = band_composite(
        stretch(window.ms, limits), sensor.band_names, presets, title="MS"
    )
    pan = image_panel(
        np.minimum(window.pan, np.quantile(window.pan, 0.99)),
        title="PAN",
        share=photo,
        extent=(height, width),
        palette="grey",
        unit="digital numbers",
    )

    codes, low, high = quantise(window.ms)
    usual = float(np.quantile(window.ms, 0.95))  # beyond it the axis grows with the spectrum
    store = ColumnDataSource({"codes": [codes], "low": [low], "high": [high]})
    order = np.argsort(sensor.centres)
    line = ColumnDataSource(
        {
            "nm": np.asarray(sensor.centres, dtype=float)[order],
            "value": np.zeros(len(order)),
            "band": np.asarray(sensor.band_names)[order],
        }
    )
    plot = figure(
        height=300,
        sizing_mode="stretch_width",
        max_width=480,
        toolbar_location=None,
        tools=[HoverTool(tooltips="@band: @value{0.[0]}", mode="vline")],
        x_axis_label="wavelength (nm)",
        y_axis_label="digital number",
        y_range=Range1d(min(0.0, low), usual),
        html_attributes={"role": "img", "aria-label": "Digital number against wavelength"},
    )
    plot.line("nm", "value", source=line, line_width=2, line_color=TEAL)
    plot.scatter("nm", "value", source=line, size=8, color=TEAL)

    mark = ColumnDataSource({"x": [0.5], "y": [0.5]})
    ring = {"marker": "circle_cross", "size": 16, "fill_color": None}
    for colour, thick in (("black", 4), ("white", 1.5)):
        photo.figure.scatter("x", "y", source=mark, line_color=colour, line_width=thick, **ring)
    rows = Slider(title="Row", start=0, end=height - 1, value=height // 2, width=200)
    columns = Slider(title="Column", start=0, end=width - 1, value=width // 2, width=200)
    at = {"rows": rows, "columns": columns}
    drawn = {"line": line, "mark": mark, "axis": plot.y_range}
    show = call("showSpectrum", store=store, **drawn, usual=usual, order=order.tolist(), **at)
    respond(show, rows, columns)
    when_shown(photo.figure, show)
    photo.figure.js_on_event(Tap, call("pointAt", **at))
    palette = palette_chooser(pan, title="PAN's colour map")
    beside = side_by_side(photo, pan)
    return led_by([*choices, palette], beside, controls(rows, columns), plot)
