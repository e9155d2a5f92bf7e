"""The parts of a DCFNet: what each is, where it stands, and what it makes of an image."""

from __future__ import annotations

import html
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from bokeh.layouts import column
from bokeh.models import LayoutDOM, Select
from torch import Tensor

from dcfnet.inside.hooks import activations
from dcfnet.networks import count_operations, count_parameters
from dcfnet.networks.base import as_used
from dcfnet.networks.dcfnet import DCFNet
from dcfnet.networks.parts import Part
from dcfnet.show.diagram import architecture
from dcfnet.show.views.panels import (
    controls,
    image_panel,
    map_panel,
    palette_chooser,
    side_by_side,
    words,
)
from dcfnet.show.views.store import map_store
from dcfnet.show.views.view import call, respond, when_shown


def part_explorer(
    model: DCFNet,
    pan: Tensor,
    ms: Tensor,
    lms: Tensor,
    *,
    picture: npt.NDArray[np.uint8],
    channels: int = 8,
) -> LayoutDOM:
    """A part of a DCFNet to choose, in a list or in the drawing, and one of its maps.

    The maps are the mean over its channels, and the channels that vary most over the image.

    Args:
        model: The network, run in eval mode.
        pan: (1, 1, H, W), as for the network.
        ms: (1, C, H/4, W/4).
        lms: (1, C, H, W).
        picture: (H, W, 3) uint8, the image as a reader knows it, shown beside the maps.
        channels: How many single channels of a part to offer.
    """
    parts = model.parts()
    with as_used(model):
        seen = activations(model, parts, pan, ms, lms)
    maps: dict[str, npt.NDArray[np.floating]] = {}
    options: list[list[tuple[str, str]]] = []
    for name in parts:
        values = seen[name][0].cpu().numpy()
        varied = np.argsort(-values.std(axis=(1, 2)), kind="stable")[:channels]
        shown = {"mean of channels": values.mean(axis=0)}
        shown |= {f"channel {k}": values[k] for k in varied}
        maps |= {f"{name} {rank}": each for rank, each in enumerate(shown.values())}
        options.append([(str(rank), title) for rank, title in enumerate(shown)])

    height, width = pan.shape[-2:]
    panel = map_panel(map_store(maps), (height, width), title="Feature map")
    image = image_panel(picture, title="The image", share=panel)
    part = _part_chooser(parts, 325)
    which = Select(title="Map", value="0", options=options[0], width=185)
    said = words("", html_attributes={"aria-live": "polite"})
    drawing = words(architecture(model, height, width).svg, tags=["dcf-diagram", part])
    show = call(
        "showPart",
        **panel.models,
        part=part,
        which=which,
        names=list(parts),
        options=options,
        facts=_facts(model, height, width),
        words=said,
    )
    respond(show, part, which)
    when_shown(panel.figure, show)
    return column(
        controls(part, which, palette_chooser(panel)),
        said,
        side_by_side(column(panel.layout, image.layout, sizing_mode="stretch_width"), drawing),
        sizing_mode="stretch_width",
    )


def _part_chooser(parts: Mapping[str, Part], width: int) -> Select:
    """A control that chooses among parts, in groups."""
    titles = {
        "stem": "Trunk",
        "stage1": "Trunk",
        "to_branch0": "Trunk",
        "pcft1": "First PCFT",
        "stage2.branches": "Stage 2",
        "pcft2": "Second PCFT",
        "stage2.fusion": "Dynamic fusion of stage 2",
        "stage3.branches": "Stage 3",
        "stage3.fusion": "Dynamic fusion of stage 3",
        "head": "Head",
    }
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, part in parts.items():
        title = next(title for key, title in titles.items() if f"{name}.".startswith(f"{key}."))
        groups.setdefault(title, []).append((name, part.label[0].upper() + part.label[1:]))
    first = next(iter(parts))
    return Select(title="Part", value=first, options=groups, width=width, css_classes=["dcf-long"])


def _facts(model: DCFNet, height: int, width: int) -> list[str]:
    """What each part is and costs, as HTML."""
    macs = count_operations(model, height, width)
    whole = count_parameters(model)
    facts = []
    for name, part in model.parts().items():
        parameters = count_parameters(model.get_submodule(name))
        operations = macs.get(name, 0)
        cost = f"{operations / 1e6:,.1f} million{_share(operations, macs[''])}"
        rows = {
            "output": " × ".join(map(str, part.shape(height, width))),
            "parameters": f"{parameters:,}{_share(parameters, whole)}",
            "multiply-accumulates": cost if operations else "none in convolutions",
        }
        cells = "".join(
            f'<span><span class="dcf-muted">{title}</span> {value}</span>'
            for title, value in rows.items()
        )
        facts.append(
            f'<div class="dcf-title">{html.escape(part.label)}</div>'
            f'<code>{html.escape(name)}</code><div class="dcf-facts">{cells}</div>'
        )
    return facts


def _share(part: int, whole: int) -> str:
    if not part:
        return ""
    return f" ({part / whole:.1%})" if part >= 0.001 * whole else " (under 0.1%)"
