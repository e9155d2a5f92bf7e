"""Curves of training runs: which networks, against what, which measure, how smooth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

import numpy as np
from bokeh.layouts import column
from bokeh.models import (
    CheckboxGroup,
    ColumnDataSource,
    CustomJS,
    DataRange1d,
    HoverTool,
    InlineStyleSheet,
    LayoutDOM,
    Select,
    Slider,
)
from bokeh.plotting import figure

from dcfnet.show.views.panels import controls
from dcfnet.training.runs import Run

__all__ = ["LOOKS", "convergence"]

# Colours of Okabe and Ito, which colour-blind readers tell apart, and dashes for print.
LOOKS: Mapping[str, tuple[str, str]] = {
    "dcfnet": ("#d55e00", "solid"),
    "fusionnet": ("#0072b2", "dashed"),
    "pannet": ("#009e73", "dashdot"),
    "dicnn": ("#cc79a7", "dotted"),
    "msdcnn": ("#b08600", "dotdash"),
    "pnn": ("#56b4e9", "solid"),
}
"""Colour and dash of each network's curve, the same in every figure."""

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

_OTHER = ("#888888", "solid")
# Bokeh's dashes, as SVG writes them.
_DASHES = {
    "solid": "none",
    "dashed": "6",
    "dotted": "2 4",
    "dotdash": "2 4 6 4",
    "dashdot": "6 4 2 4",
}


def convergence(runs: Mapping[str, Run], *, max_width: int = 720) -> LayoutDOM:
    """Training curves to choose from, answered in the page.

    Args:
        runs: Title of a network to its run, from `dcfnet.training.runs.read_run`.
        max_width: The plot grows with the page up to this width, in pixels.

    Returns:
        The layout. A dot marks each run's optimal epoch or, where none is reached, the epoch of
        its lowest validation loss.

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
        stylesheets=[_legend([run.network for run in runs.values()])],
    )

    full, lines, marks, marked = [], [], [], []
    for run in runs.values():
        history = run.history
        table = {
            "epoch": history["epoch"].astype(float),
            "step": history["epoch"] * float(run.steps_per_epoch),
            "hours": history["seconds"].cumsum() / 3600,
            "operations": history["epoch"] * run.operations_per_epoch / 1e15,
            **{name: history[name] for name in _Y},
        }
        full.append({name: np.asarray(values, float).tolist() for name, values in table.items()})
        start = {"x": table["epoch"], "y": table["valid_loss"], "epoch": table["epoch"]}
        best = (history.optimal_epoch() or history.best_epoch()) - 1
        marked.append(best)
        lines.append(ColumnDataSource(start))
        marks.append(ColumnDataSource({k: v[best : best + 1] for k, v in start.items()}))

    plots, glyphs = {}, []
    for kind in scale.options:
        plot = figure(
            height=380,
            sizing_mode="stretch_width",
            max_width=max_width,
            y_axis_type=kind,
            x_range=DataRange1d(only_visible=True),
            y_range=DataRange1d(only_visible=True),
            toolbar_location=None,
            tools=[],
            visible=kind == scale.value,
            html_attributes={"role": "img", "aria-label": f"Training curves, {kind} scale"},
        )
        plot.xaxis.axis_label, plot.yaxis.axis_label = _X[x.value], _Y[y.value]
        for name, run, line, mark in zip(runs, runs.values(), lines, marks, strict=True):
            colour, dash = LOOKS.get(run.network, _OTHER)
            curve = plot.line("x", "y", source=line, color=colour, line_dash=dash, line_width=2)
            dot = plot.scatter("x", "y", source=mark, color=colour, size=9)
            tips = f"{name}, epoch @epoch: @y{{0.[00000]}}"
            plot.add_tools(HoverTool(renderers=[curve], tooltips=tips, mode="mouse"))
            glyphs.append([curve, dot])
        plots[kind] = plot

    update = CustomJS(
        args={
            "x": x, "y": y, "scale": scale, "smooth": smooth, "shown": shown, "full": full,
            "lines": lines, "marks": marks, "marked": marked, "plots": plots, "glyphs": glyphs,
            "titles": {**_X, **_Y},
        },
        code="""
            // A dictionary arrives as an object or as a Map.
            const plain = (it) => it instanceof Map ? Object.fromEntries(it) : it;
            const reach = (smooth.value - 1) / 2;
            full.map(plain).forEach((table, i) => {
                const raw = table[y.value], n = raw.length;
                const mean = raw.map((_, k) => {
                    const near = raw.slice(Math.max(0, k - reach), Math.min(n, k + reach + 1));
                    return near.reduce((a, b) => a + b) / near.length;
                });
                lines[i].data = {x: table[x.value], y: mean, epoch: table.epoch};
                const best = marked[i];
                marks[i].data = {
                    x: [table[x.value][best]], y: [mean[best]], epoch: [table.epoch[best]],
                };
            });
            glyphs.forEach((pair, i) => {
                for (const glyph of pair) glyph.visible = shown.active.includes(i % full.length);
            });
            for (const [kind, plot] of Object.entries(plain(plots))) {
                plot.visible = kind == scale.value;
                plot.below[0].axis_label = plain(titles)[x.value];
                plot.left[0].axis_label = plain(titles)[y.value];
            }
        """,
    )  # fmt: skip
    for control in (x, y, scale, smooth):
        control.js_on_change("value", update)
    shown.js_on_change("active", update)
    return column(
        controls(x, y, scale, smooth), shown, *plots.values(), sizing_mode="stretch_width"
    )


def _legend(networks: Sequence[str]) -> InlineStyleSheet:
    """Draws each network's line before its name in a group of boxes, which may break."""
    css = [".bk-input-group.bk-inline { flex-wrap: wrap; gap: 2px 12px; }"]
    for i, network in enumerate(networks, 1):
        colour, dash = LOOKS.get(network, _OTHER)
        line = (
            "<svg xmlns='http://www.w3.org/2000/svg' width='30' height='8'><path d='M0 4H30'"
            f" stroke='{colour}' stroke-width='3' stroke-dasharray='{_DASHES[dash]}'/></svg>"
        )
        css.append(
            f'label:nth-child({i}) > span::before {{ content: url("data:image/svg+xml,'
            f'{quote(line)}"); margin: 0 5px 0 2px; }}'
        )
    return InlineStyleSheet(css="\n".join(css))
