"""Taking DCFNet apart: patches, parts and three discoveries for a page in which the network runs.

What a discovery says afterwards is computed here, by the same networks that run in the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.ndimage import correlate1d, gaussian_filter, uniform_filter

from dcfnet.imagery.composite import band_limits
from dcfnet.imagery.wald import Sample
from dcfnet.inside.cams import PatchCams
from dcfnet.inside.hooks import replaced
from dcfnet.measure.metrics import ergas
from dcfnet.networks import count_parameters
from dcfnet.networks.dcfnet import DCFNet
from dcfnet.networks.one_pass import fuse
from dcfnet.networks.parts import transfer_name
from dcfnet.show.diagram import architecture
from dcfnet.show.live.pack import rounded
from dcfnet.show.live.page import STEP, LivePage, coded, colours, of_sensor

FIRST = "stage3.fusion.fused.0"
"""The part that is looked at first."""
BOX = 12
"""Side of the region that the third discovery asks about, in pixels."""

PAN = {"as it is": "as it is", "shifted": "half a pixel to the right", "blurred": "blurred"}
MS = {"as it is": "as it is", "mean": "each band's mean"}


def altered(sample: Sample, pan: str = "as it is", ms: str = "as it is") -> Sample:
    """A patch as a page may alter it before the network sees it.

    Args:
        sample: The patch.
        pan: ``"shifted"`` by half a pixel to the right, by cubic interpolation, or ``"blurred"`` by
            a Gaussian of two pixels; its borders are continued.
        ms: With ``"mean"`` both PCFTs get each band's mean in every pixel; ``lms``, which the stem
            gets, stays.
    """
    image, bands = sample.pan.astype(np.float64), sample.ms
    if pan == "shifted":
        image = correlate1d(image, np.array([-1, 9, 9, -1]) / 16, axis=1, mode="nearest")
    elif pan == "blurred":
        image = gaussian_filter(image, 2, mode="nearest", radius=6)
    if ms == "mean":
        bands = np.broadcast_to(bands.mean(axis=(1, 2), keepdims=True), bands.shape)
    return replace(sample, pan=image, ms=bands)


def discoveries(models: Mapping[str, DCFNet], patch: Sample, name: str) -> list[dict[str, Any]]:
    """Three things to find: a question, the controls it sets, and what one should have seen.

    Args:
        models: By the names under which pages load them.
        patch: Where to look.
        name: What the page calls the patch.

    Returns:
        For each ``title``, ``question``, ``set`` (the page's controls), and by network ``told``, a
        sentence, and ``numbers``, what it says.
    """
    assert patch.gt is not None
    gate, band, half = transfer_name(3, 2, 0), patch.sensor.rgb[0], BOX // 2
    bright = uniform_filter(patch.gt[band].astype(np.float64), BOX)[half:-half, half:-half]
    y, x = (int(i) for i in np.unravel_index(bright.argmax(), bright.shape))
    box = np.s_[y : y + BOX, x : x + BOX]
    asked: list[dict[str, Any]] = [
        {
            "title": "Close a transfer",
            "question": "Branch 2, at a quarter of the resolution, hands T02 to the main branch. "
            "Close it. Where does the error grow, and how much?",
            "set": {"patch": name, "gates": {gate: 0}, "error": "growth", "part": FIRST},
            "numbers": {network: _of_transfers(it, patch) for network, it in models.items()},
            "told": "ERGAS went from {before:.3f} to {after:.3f}. Of the six transfers that cross, "
            "{worst} costs most: {most:.3f}. Close T00 instead, which only hands the main branch "
            "to itself: {own:.3f}.",
        },
        {
            "title": "Take the MS image away",
            "question": "Both PCFTs bring in the MS image once more, at half and at a quarter of "
            "PAN's size. Give them each band's mean instead. How much does the network miss it?",
            "set": {"patch": name, "ms": "mean", "error": "growth", "part": "pcft2"},
            "numbers": {network: _of_images(it, patch) for network, it in models.items()},
            "told": "ERGAS went from {before:.3f} to {after:.3f}. For comparison, leave MS as it "
            "is and move PAN by half a pixel: {shifted:.3f}.",
        },
        {
            "title": "Ask about one bright place",
            "question": "Average the red band over a box on the brightest ground. Does the map of "
            "the fused main branch stay in the box that it was asked about?",
            "set": {"patch": name, "part": FIRST, "band": band, "box": [y, y + BOX, x, x + BOX]},
            "numbers": {network: _of_box(it, patch, box) for network, it in models.items()},
            "told": "{inside:.0f} % of the map lies in the box, which is {area:.1f} % of the "
            "patch. Only the weights alpha know of the region; the activations that they weigh "
            "cover all of it. Grad-CAM says which features a region uses, not where they stop to "
            "matter.",
        },
    ]
    for it in asked:
        it["told"] = {network: it["told"].format(**each) for network, each in it["numbers"].items()}
    return asked


def _error(model: DCFNet, patch: Sample) -> float:
    assert patch.gt is not None
    return ergas(patch.gt, fuse(model, patch))


def _of_transfers(model: DCFNet, patch: Sample) -> dict[str, Any]:
    """ERGAS with each transfer of the last fusion closed in turn."""
    shut = {}
    for pair in model.stage3.fusion.transfers:
        with replaced(model, {f"stage3.fusion.transfers.{pair}": torch.zeros_like}):
            shut["T{2}{0}".format(*pair.split("_"))] = _error(model, patch)
    crossing = {title: value for title, value in shut.items() if title[1] != title[2]}
    worst = max(crossing, key=crossing.__getitem__)
    return {
        "before": _error(model, patch),
        "after": shut["T02"],
        "own": shut["T00"],
        "worst": worst,
        "most": crossing[worst],
    }


def _of_images(model: DCFNet, patch: Sample) -> dict[str, float]:
    return {
        "before": _error(model, patch),
        "after": _error(model, altered(patch, ms="mean")),
        "shifted": _error(model, altered(patch, pan="shifted")),
    }


def _of_box(model: DCFNet, patch: Sample, box: tuple[slice, slice]) -> dict[str, float]:
    """Per cent: how much of a map lies in the box that it was asked about, and the box itself."""
    found = PatchCams(model, patch, [FIRST]).map(FIRST, patch.sensor.rgb[0], region=box)
    return {
        "inside": 100 * float(found[box].sum() / found.sum()),
        "area": 100 * BOX**2 / found.size,
    }


def apart(
    models: Mapping[str, DCFNet],
    patches: Mapping[str, Sample],
    limits: np.ndarray | None = None,
) -> LivePage:
    """A page piece in which a reader takes a network apart.

    Args:
        models: By the names under which pages load them, the one to offer first last.
        patches: Patches with truth, by what to call them; the second is shown first, and
            is where discoveries are made.
        limits: Of the composites, (C, 2); of that patch unless given.
    """
    names = list(patches)
    where = names[min(1, len(names) - 1)]
    first = patches[where]
    assert first.gt is not None
    models = {name: rounded(model) for name, model in models.items()}
    offered = list(models)[::-1]
    model = models[offered[0]]
    limits = band_limits(first.gt) if limits is None else limits
    data = {
        "sensor": of_sensor(first.sensor, limits),
        "colours": colours(),
        "networks": dict(
            zip(offered, ("Run DCFNet here", "or a quarter of its width"), strict=False)
        ),
        "sizes": {
            name: f"{count_parameters(model) / 1e6:.1f} million parameters"
            for name, model in models.items()
        },
        "patches": {name: _patch(patch) for name, patch in patches.items()},
        "shown": _shown(model, first),
        "first": FIRST,
        "where": where,
        "parts": {name: part.label for name, part in model.parts().items()},
        "drawing": architecture(model).svg,
        "pan": PAN,
        "ms": MS,
        "discoveries": discoveries(models, patches[where], where),
    }
    return LivePage(
        "apart",
        data,
        attribution=first.attribution,
        alt="A patch fused by DCFNet, its error, and feature map and class activation map of a part"
        " of the network. Choose patch, part, band and region, close transfers, alter PAN and MS.",
        models=models,
    )


def _shown(model: DCFNet, patch: Sample) -> dict[str, Any]:
    """What a page shows before the network has come."""
    found = PatchCams(model, patch, [FIRST]).layer(FIRST, patch.sensor.rgb[0])
    maps = {
        "alpha": found.alpha[0],
        "features": found.features[0],
        "signed": found.signed[0],
        "after": found.map()[0],
        "before": found.map("before")[0],
    }
    return {
        "fused": coded(fuse(model, patch).round()),
        "shape": found.activations.shape[1:],
        "maps": {name: coded(m, float(m.abs().max()) / 32767) for name, m in maps.items()},
    }


def _patch(patch: Sample) -> dict[str, Any]:
    assert patch.gt is not None
    return {
        "pan": {how: coded(altered(patch, pan=how).pan, STEP) for how in PAN},
        "ms": {how: coded(altered(patch, ms=how).ms, STEP) for how in MS},
        "lms": coded(patch.lms, STEP),
        "gt": coded(patch.gt),
    }
