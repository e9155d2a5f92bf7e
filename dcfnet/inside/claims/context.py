"""Claims 7 and 9: how far the branches see, with PCFT and without, and what they attend to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dcfnet.inside.claims.rule import Numbers
from dcfnet.inside.claims.trained import (
    BRANCHES,
    CHUNK,
    LAST_PCFT,
    Found,
    Trained,
    at_ms_size,
)
from dcfnet.inside.fields import effective_fields, field_radius, mean_field
from dcfnet.inside.sanity import rank_correlation
from dcfnet.inside.switches import switched_off

EXACT, DRAWS = 32, 8
"""Up to so many channels fields are exact; above, they are the mean of so many draws a patch."""

SHARES = {"50 % of the field": 0.5, "90 % of the field": 0.9}
PARTS = {f"branch {i}": name for i, name in enumerate(BRANCHES)} | {"output": "head.out"}
CROSSING = ("pcft1.crossing", "pcft2.crossing")
"""What PCFT brings in: the MS image and branch 0. Its convolutions, and their reach, stay."""


def radii(
    each: Trained,
    without: Sequence[str] = (),
    *,
    draws: int | None = None,
    seed: int = 0,
) -> Found:
    """Radii in PAN pixels of the discs that hold 50 % and 90 % of a network's mean field.

    Those of stage 3's branches and of the output. The mean is over patches, each with draws of its
    own (`effective_fields`), the same ones for all networks and all parts.

    Args:
        each: The network and its patches, larger than the fields.
        without: Parts that are switched off meanwhile, see `switched_off`.
        draws: Of random signs, for each patch. None: as many as make a field exact where that is
            cheap, at a quarter of the paper's width or less, and else `DRAWS`.
        seed: Of the draws.
    """
    inputs, fields = each.patches.inputs, []
    if draws is None and max(each.model.channels) > EXACT:
        draws = DRAWS
    with switched_off(each.fast, without):
        for start in range(0, len(inputs[0]), CHUNK):
            some = (image[start : start + CHUNK] for image in inputs)
            of_some = effective_fields(
                each.fast, PARTS.values(), *some, draws=draws, seed=seed + start
            )
            fields.append(of_some)
    found = {}
    for title, part in PARTS.items():
        mean = mean_field(np.concatenate([each[part] for each in fields]))
        for share, value in SHARES.items():
            found[title, share] = np.array([field_radius(mean, value)])
    return found


def texture(each: Trained) -> Found:
    """Claim 7: the main branch attends to texture.

    Texture is PAN's standard deviation in each MS pixel. The effect is how much better it goes
    along (rank correlation) with the map of branch 0 at the last PCFT than with that of another
    branch there, a mean over bands.
    """
    along = _along_texture(each)
    return {
        (f"branch 0's map goes along with texture more than {i}'s", ""): along[0] - along[i]
        for i in (1, 2)
    }


def _along_texture(each: Trained) -> list[Numbers]:
    """Of each branch at the last PCFT, rank correlations of map and texture, (B,)."""
    pan = each.patches.pan[:, 0]
    mean, of_squares = (at_ms_size(x, each.patches) for x in (pan, pan**2))
    texture = (of_squares - mean**2).clamp_min(0).sqrt()
    found = []
    for part in LAST_PCFT:
        maps = at_ms_size(each.maps[part].map(), each.patches).cpu().numpy()
        of_bands = [
            [rank_correlation(m, t) for m, t in zip(band, texture.cpu().numpy(), strict=True)]
            for band in maps
        ]
        found.append(np.nan_to_num(of_bands).mean(axis=0))  # a map of one value goes with nothing
    return found
