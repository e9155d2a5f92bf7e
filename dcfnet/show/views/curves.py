"""Curves of training runs: which networks, against what, which measure, how smooth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

import numpy as np
from bokeh.layouts import column
from bokeh.models import (
    CheckboxGroup,
    ColumnDataSource,
    DataRange1d,
    HoverTool,
    InlineStyleSheet,
    LayoutDOM,
    Select,
    Slider,
)
from bokeh.plotting import figure

from dcfnet.show.style import network_style
from dcfnet.show.views.panels import controls
from dcfnet.show.views.view import call, respond, when_shown
from dcfnet.training.runs import Run

_X = {
    "epoch": "epoch",
    "step": "optimiser step",
    "hours": "hours of this machine",
    "operations": "operations (10¹⁵)",
}
_Y = {
    "train_loss": "training loss",
    "valid_loss": "validation loss",
    "sam": "validation SAM (°)",
    "ergas": "validation ERGAS",
    "psnr": "validation PSNR (dB)",
}


def convergence(runs: Mapping[str, Run]) -> LayoutDOM:
    """Training curves to choose from, answered in the page.

    A dot marks each run's optimal epoch or, where none is reached, that of its lowest validation
    loss.

    Args:
        runs: Title of a network to its run, from `dcfnet.training.runs.read_run`.

    Raises:
        ValueError: There is no run.
    """
    if not runs:
        raise ValueError("expected at least one training run, got none")
    x = Select(title="Against", value="epoch", options=list(_X.items()), width=180)
    y = Select(title="Measure", value="valid_loss", options=list(_Y.items()), width=180)
    scale = Select(title="Scale", value="log", options=["log", "linear"], width=100)
    smooth = Slider(title="Mean over epochs", start=1, end=21, step=2, value=1, width=180)
    shown = CheckboxGroup(
        labels=list(runs),
        active=list(range(len(runs))),
        inline=True,
        sizing_mode="stretch_width",
        html_attributes={"role": "group", "aria-label": "Networks"},
        stylesheets=[_legend(list(runs))],
    )

    tables, best = [], []
    for run in runs.values():
        history = run.history
        table = {
            "epoch": history["epoch"],
            "step": history["epoch"] * float(run.steps_per_epoch),
            "hours": history["seconds"].cumsum() / 3600,
            "operations": history["epoch"] * run.operations_per_epoch / 1e15,
            **{name: history[name] for name in _Y},
        }
        tables.append(ColumnDataSource({k: np.asarray(v, float) for k, v in table.items()}))
        best.append((history.optimal_epoch() or history.best_epoch() or 1) - 1)

    lines, marks = ([ColumnDataSource({"x": [], "y": [], "epoch": []}) for _ in runs] for _ in "lm")
    plots = []
    for kind in scale.options:
        plot = figure(
            height=380,
            sizing_mode="stretch_width",
            max_width=720,
            y_axis_type=kind,
            x_range=DataRange1d(only_visible=True),
            y_range=DataRange1d(only_visible=True),
            toolbar_location=None,
            tools=[],
            visible=kind == scale.value,
            html_attributes={"role": "img", "aria-label": f"Training curves, {kind} scale"},
        )
        for name, line, mark in zip(runs, lines, marks, strict=True):
            style = network_style(name)
            dashes = [int(2 * part) for part in style.dashes]
            curve = plot.line(
                "x", "y", source=line, color=style.colour, line_dash=dashes, line_width=2
            )
            plot.scatter("x", "y", source=mark, color=style.colour, size=9)
            tips = f"{name}, epoch @epoch: @y{{0.[00000]}}"
            plot.add_tools(HoverTool(renderers=[curve], tooltips=tips, mode="mouse"))
        plots.append(plot)

    drawn = {"tables": tables, "lines": lines, "marks": marks, "best": best, "plots": plots}
    chosen = {"x": x, "y": y, "scale": scale, "smooth": smooth, "shown": shown}
    update = call("showCurves", **drawn, **chosen)
    respond(update, *chosen.values())
    when_shown(plots[0], update)
    return column(controls(x, y, scale, smooth), shown, *plots, sizing_mode="stretch_width")


def _legend(titles: Sequence[str]) -> InlineStyleSheet:
    """Draws each network's line before its name in a group of boxes."""
    css = []
    for i, title in enumerate(titles, 1):
        style = network_style(title)
        line = (
            "<svg xmlns='http://www.w3.org/2000/svg' width='30' height='8'><path d='M0 4H30'"
            f" stroke='{style.colour}' stroke-width='3'"
            f" stroke-dasharray='{' '.join(f'{2 * part:g}' for part in style.dashes)}'/></svg>"
        )
        css.append(
            f'label:nth-child({i}) > span::before {{ content: url("data:image/svg+xml,'
            f'{quote(line)}"); margin: 0 5px 0 2px; }}'
        )
    return InlineStyleSheet(css="\n".join(css))
