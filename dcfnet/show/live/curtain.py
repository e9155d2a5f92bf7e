"""The first page: a curtain between coarse colours and the fused image, and three doors behind it.

The picture is of full resolution, where nobody knows the truth; what stands for the error is what
is left of the fused image's difference from MS once it has been coarsened to MS pixels again.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from dcfnet.imagery.classical import mtf_glp_fs
from dcfnet.imagery.composite import band_limits, composite, stretch
from dcfnet.imagery.filters import degrade
from dcfnet.imagery.regions import regions
from dcfnet.imagery.scene import Scene
from dcfnet.imagery.tensors import as_digital_numbers
from dcfnet.imagery.wald import Sample, full_resolution, reduce_resolution
from dcfnet.inside.cams import PLACES, PatchCams, pictured
from dcfnet.inside.claims.committed import PART, classical_results, results_by_fold
from dcfnet.inside.hooks import activations, replaced
from dcfnet.measure.metrics import ergas
from dcfnet.networks.dcfnet import DCFNet
from dcfnet.networks.one_pass import fuse
from dcfnet.show.diagram import COLOURS
from dcfnet.show.live.apart import altered
from dcfnet.show.live.page import LivePage, coded, of_sensor
from dcfnet.show.style import coloured, picture
from dcfnet.training.runs import read_run

if TYPE_CHECKING:
    from IPython.display import HTML


SIZE = (48, 80)
"""Rows and columns of the picture, in MS pixels."""
MARGIN = 8
"""MS pixels around it that are fused as well, so that its border is like its middle."""


def opening(scene: Scene) -> tuple[slice, slice]:
    """Where the first picture lies, in MS pixels: cars and roofs, ground for testing."""
    (area,) = regions(reduce_resolution(scene).shape, "test")
    starts = [
        min(
            side.start + round(fraction * (side.stop - side.start)),
            side.stop - length - MARGIN,
        )
        for side, fraction, length in zip(area, PLACES["car park"], SIZE, strict=True)
    ]
    rows, cols = (slice(start, start + length) for start, length in zip(starts, SIZE, strict=True))
    return rows, cols


def curtain(models: Mapping[str, DCFNet], scene: Scene, chapter: str) -> LivePage:
    """The picture that the book opens with.

    Args:
        models: By the names under which pages load them; ``"paper"`` makes the picture.
        scene: Of which a part is shown, see `opening`.
        chapter: Address of the page that says more about branches.
    """
    rows, cols = opening(scene)
    wide = [slice(max(0, side.start - MARGIN), side.stop + MARGIN) for side in (rows, cols)]
    inner = tuple(
        slice(side.start - around.start, side.stop - around.start)
        for side, around in zip((rows, cols), wide, strict=True)
    )
    whole = scene.crop(*wide)
    model, ratio = models["paper"], scene.sensor.ratio
    sample = full_resolution(whole)
    fused = fuse(model, sample)
    y, x = (slice(ratio * it.start, ratio * it.stop) for it in inner)
    limits = band_limits(whole.ms)
    left = np.sqrt(((degrade(fused, scene.sensor) - whole.ms) ** 2).mean(axis=0))[inner]
    top = float(np.quantile(left, 0.99))

    def natural(image: np.ndarray) -> str:
        return picture(composite(image, scene.sensor, limits=limits))

    pan = whole.pan[y, x]
    part = scene.crop(rows, cols)
    data = {
        "sensor": of_sensor(scene.sensor, limits),
        "coarse": natural(whole.ms[:, *inner]),
        "pictures": {
            "DCFNet": natural(fused[:, y, x]),
            "PAN": picture(stretch(pan, band_limits(pan))),
            "MTF-GLP-FS": natural(mtf_glp_fs(sample)[:, y, x]),
            "error": picture(coloured(left, 0, top, "magma")),
        },
        "words": {
            "DCFNet": "Right: fused by DCFNet. Left: the colours as the satellite took them.",
            "PAN": "Right: PAN, sharp and grey. Left: the colours as the satellite took them.",
            "MTF-GLP-FS": "Right: fused by MTF-GLP-FS, a method without learning. Left: the "
            "colours as the satellite took them.",
            "error": "Right: what the fused image, coarsened again, differs by from the colours "
            f"on the left, black to white: 0 to {top:.0f} digital numbers. Nobody knows the truth "
            "of this picture; the chapters measure where it is known.",
        },
        "colours": COLOURS,
        "branches": coded(_branches(model, sample)[:, *inner], 1 / 8),
        "pan": coded(part.pan),
        "ms": coded(part.ms),
        "chapter": chapter,
        "networks": {"narrow": "Run the network here", "paper": "or the paper's width"},
    }
    return LivePage(
        "curtain",
        data,
        attribution=scene.attribution,
        alt="Coarse colours left of a curtain, the fused image right of it. Move the curtain, "
        "choose what is on the right, or click on a place to see which branch made it sharp.",
    )


def _branches(model: DCFNet, sample: Sample) -> np.ndarray:
    """What each branch adds at the last fusion: (3, h, w), root mean square over an MS pixel.

    That is by how much the image changes there, in digital numbers, if the branch hands nothing on.
    """
    ratio, fusion = sample.sensor.ratio, model.stage3.fusion
    inputs = sample.inputs()
    seen = activations(model, [f"stage3.branches.{i}" for i in range(3)], *inputs)

    def head() -> np.ndarray:
        with torch.no_grad():
            return as_digital_numbers(model.head(*fusion(*seen.values()))[0], sample.sensor)

    found, whole = [], head()
    for source in range(3):
        own = [f"stage3.fusion.transfers.{it}" for it in fusion.transfers if it[0] == str(source)]
        with replaced(model, dict.fromkeys(own, torch.zeros_like)):
            square = ((head() - whole) ** 2).mean(axis=0)
        h, w = (side // ratio for side in square.shape)
        found.append(np.sqrt(square.reshape(h, ratio, w, ratio).mean(axis=(1, 3))))
    return np.minimum(np.stack(found), 4000)


def doors(model: DCFNet, scene: Scene, pages: tuple[str, str, str]) -> HTML:
    """Three ways into the book, each with a thumbnail and a finding that is measured here.

    Args:
        model: The network of the paper's width.
        scene: Whose test region is looked at.
        pages: Addresses to see it, to take it apart, to see whether the supplement holds.
    """
    from IPython.display import HTML

    sample = reduce_resolution(scene)
    patches = pictured(sample.region("test"))
    patch = patches[list(patches)[1]]
    assert patch.gt is not None
    fused = fuse(model, patch)
    numbers = findings(model, sample)
    limits = band_limits(patch.gt)
    cam = PatchCams(model, patch, ["head.concat"]).map("head.concat", patch.sensor.rgb[0])
    thumbnails = [
        (composite(fused, patch.sensor, limits=limits), "A patch in natural colour, fused."),
        (coloured(np.abs(fused - patch.gt).mean(axis=0), 0, 100, "magma"), "Its error."),
        (coloured(cam, 0, float(np.quantile(cam, 0.995)), "viridis"), "A class activation map."),
    ]
    texts = [
        ("See it", "On three parts of Longmont, each new to the network that is tested there, "
         "DCFNet's error (ERGAS) is {folds}; MTF-GLP-FS, which does not learn, has {glp}."),
        ("Take it apart", "On the scene's test region the network that the book takes apart has "
         "{dcfnet:.2f}; without the MS image in its pyramid transfers {without_ms:.2f}, with PAN "
         "moved by half a pixel {shifted:.2f}."),
        ("Does the supplement hold?", "It says that the branches cooperate. Trained without "
         "any transfer between them, networks of quarter width end at a validation loss of "
         "{retrained:.3f}; with transfers at {whole:.3f} (thousandths, means of three)."),
    ]  # fmt: skip
    cards = "".join(
        f'<a class="dcf-door" href="{html.escape(page)}">'
        f'<img src="{picture(image)}" alt="{alt}"><strong>{title}</strong>'
        f"<span>{text.format(**numbers)}</span></a>"
        for page, (image, alt), (title, text) in zip(pages, thumbnails, texts, strict=True)
    )
    return HTML(f'<div class="dcf-doors">{cards}</div>')


def findings(model: DCFNet, sample: Sample) -> dict[str, Any]:
    """The numbers on the doors: ERGAS by fold and of a scene's test region, losses of runs."""
    (area,) = regions(sample.shape, "test")
    region = sample.crop(*area)
    assert region.gt is not None
    fast = model.fused_for_inference()
    images = {
        "dcfnet": fuse(fast, region),
        "without_ms": fuse(fast, altered(region, ms="mean")),
        "shifted": fuse(fast, altered(region, pan="shifted")),
    }
    found: dict[str, Any] = {name: ergas(region.gt, image) for name, image in images.items()}
    by_fold = pd.concat([results_by_fold(), classical_results()]).xs("WorldView-3", level=1)
    for name, method in (("folds", "DCFNet"), ("glp", mtf_glp_fs.title)):
        *first, last = by_fold.loc[method, "ergas"].map("{:.2f}".format)
        found[name] = f"{', '.join(first)} and {last}"
    losses = {
        name: [
            read_run(PART.format(part=part, seed=seed)).history["valid_loss"].min()
            for seed in range(3)
        ]
        for name, part in (("whole", "whole"), ("retrained", "without-transfers"))
    }
    return found | {name: 1e3 * float(np.mean(each)) for name, each in losses.items()}
