"""The parts of a DCFNet: what each is, where it stands, and what it makes of an image."""

from __future__ import annotations

import html
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from torch import Tensor

from dcfnet.inside.hooks import activations
from dcfnet.networks import count_operations, count_parameters
from dcfnet.networks.base import as_used
from dcfnet.networks.dcfnet import DCFNet
from dcfnet.networks.parts import Part
from dcfnet.show.diagram import architecture
from dcfnet.show.page import colours, halves
from dcfnet.show.style import picture as address
from dcfnet.show.views.view import Drawing

_GROUPS = {
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
"""How parts are grouped in a list, by how their names begin."""


def part_explorer(
    model: DCFNet,
    pan: Tensor,
    ms: Tensor,
    lms: Tensor,
    *,
    picture: npt.NDArray[np.uint8],
    channels: int = 8,
) -> Drawing:
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
    height, width = pan.shape[-2:]
    facts = _facts(model, height, width)
    with as_used(model):
        seen = activations(model, parts, pan, ms, lms)
    shown = {}
    for name in parts:
        values = seen[name][0].cpu().numpy()
        varied = np.argsort(-values.std(axis=(1, 2)), kind="stable")[:channels]
        maps = {"mean of channels": values.mean(axis=0)}
        maps |= {f"channel {k}": values[k] for k in varied}
        shown[name] = {
            "titles": list(maps),
            "maps": [halves(each) for each in maps.values()],
            "facts": facts[name],
        }
    return Drawing(
        "parts",
        {
            "groups": _grouped(parts),
            "parts": shown,
            "picture": address(picture),
            "size": (height, width),
            "colours": colours("viridis", "magma", "cividis", "gray"),
            "drawing": architecture(model, height, width).svg,
        },
    )


def _grouped(parts: Mapping[str, Part]) -> dict[str, dict[str, str]]:
    """The parts' labels by name, in groups."""
    groups: dict[str, dict[str, str]] = {}
    for name, part in parts.items():
        title = next(title for key, title in _GROUPS.items() if f"{name}.".startswith(f"{key}."))
        groups.setdefault(title, {})[name] = part.label[0].upper() + part.label[1:]
    return groups


def _facts(model: DCFNet, height: int, width: int) -> dict[str, str]:
    """What each part is and costs, as HTML."""
    macs = count_operations(model, height, width)
    whole = count_parameters(model)
    facts = {}
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
        facts[name] = (
            f'<div class="dcf-title">{html.escape(part.label)}</div>'
            f'<code>{html.escape(name)}</code><div class="dcf-facts">{cells}</div>'
        )
    return facts


def _share(part: int, whole: int) -> str:
    if not part:
        return ""
    return f" ({part / whole:.1%})" if part >= 0.001 * whole else " (under 0.1%)"
