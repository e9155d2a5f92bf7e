"""Claims 8 and 11: how like the branches' class activation maps are, and what they tell."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata
from torch import Tensor

from dcfnet.inside.cams import transfer_part
from dcfnet.inside.claims.rule import Numbers
from dcfnet.inside.claims.tail import after_branches, head_of
from dcfnet.inside.claims.trained import (
    BRANCHES,
    FUSED,
    LAST_PCFT,
    Found,
    Trained,
    at_ms_size,
)
from dcfnet.inside.sanity import rank_correlation
from dcfnet.inside.switches import closed

PAIRS = ((0, 1), (0, 2), (1, 2))
PLACES = {"at the last PCFT": LAST_PCFT, "after the last fusion": FUSED}
READINGS = {"after": "ReLU after the sum", "before": "ReLU before it", "features": "feature maps"}


# --- Claim 8 ------------------------------------------------------------------------------------


def likeness(first: Numbers, second: Numbers) -> tuple[Numbers, Numbers]:
    """Rank correlations of the maps of two parts, of the same patch and of different ones.

    A map that is the same everywhere puts no pixel before another: it is like no other, 0.

    Args:
        first: Maps of one part, (C, B, h, w), B at least 2.
        second: Of the other, of the same shape.

    Returns:
        same: (B,), means over the C maps of a patch.
        other: (B,), the same between a patch of the first and all other patches of the second.
    """
    count = first.shape[1]
    mean = np.einsum("cpx,cqx->pq", _ranks(first), _ranks(second)) / len(first)
    same = np.diagonal(mean).copy()
    return same, (mean.sum(axis=1) - same) / (count - 1)


def _ranks(maps: Numbers) -> Numbers:
    """Ranks of the pixels of each map, (C, B, h w), of mean 0 and length 1; 0 if all are equal.

    Products of these are Spearman's correlations, of all patches with all others at once.
    """
    ranks = rankdata(maps.reshape(*maps.shape[:2], -1), axis=-1)
    ranks -= ranks.mean(axis=-1, keepdims=True)
    length = np.linalg.norm(ranks, axis=-1, keepdims=True)
    return np.divide(ranks, length, out=np.zeros_like(ranks), where=length > 0)


def similar_maps(each: Trained, enough: float = 0.5) -> Found:
    """Claim 8: all branches have similar class activation maps, at the last PCFT.

    Branches are compared two by two, band by band and patch by patch, by rank correlation at the
    MS image's size. Similar means at least ``enough``, and more similar than maps of two patches
    are, one from each branch: the effect is what is left above the higher of the two. The verdict
    rests on the maps as printed, at the last PCFT; the maps after the last fusion, the other place
    of the ReLU and the feature maps stand beside.

    Args:
        each: The network and its patches.
        enough: Between 0 and 1.
    """
    found = {}
    for reading, title in READINGS.items():
        for place, parts in PLACES.items():
            maps = [_at_ms_size(each, part, reading) for part in parts]
            counts = reading == "after" and parts is LAST_PCFT
            for i, j in PAIRS:
                same, other = likeness(maps[i], maps[j])
                key = f"branches {i} and {j}", "" if counts else f"{title}, {place}"
                found[key] = same - np.maximum(enough, other)
    return found


def _at_ms_size(each: Trained, part: str, reading: str) -> Numbers:
    """Maps (C, B, h, w), or feature maps (1, B, h, w)."""
    seen = each.maps[part]
    maps = seen.features[None] if reading == "features" else seen.map(reading)  # type: ignore[arg-type]
    return at_ms_size(maps, each.patches).double().cpu().numpy()


def agreement(networks: Sequence[Trained]) -> pd.DataFrame:
    """Whether two trainings have similar class activation maps of one branch.

    Args:
        networks: Trainings that look at the same patches.

    Returns:
        A row for each pair, place and branch: the rank correlation of their maps in the ``same``
        patch and in ``other`` patches, medians over patches; and in which share of patches and
        bands one of the two is ``flat``, the same everywhere, and so is like no other.
    """
    rows = []
    for place, parts in PLACES.items():
        for branch, part in enumerate(parts):
            maps = [_at_ms_size(each, part, "after") for each in networks]
            for i, j in itertools.combinations(range(len(networks)), 2):
                pair = {"one": networks[i].name, "two": networks[j].name}
                same, other = (round(float(np.median(x)), 3) for x in likeness(maps[i], maps[j]))
                where = {"place": place, "branch": branch}
                flat = np.logical_or(*(np.ptp(maps[k], axis=(2, 3)) == 0 for k in (i, j))).mean()
                rows.append({**pair, **where, "same": same, "other": other, "flat": flat.round(3)})
    return pd.DataFrame(rows)


# --- Claim 11 -----------------------------------------------------------------------------------


def influence(each: Trained, share: float = 0.2, seed: int = 0) -> Found:
    """Claim 11: a class activation map represents its feature map's influence on the output.

    Within a part: pixels of a fused branch are taken away, by setting them to their channel's mean,
    those first where the map is highest. The effect is the logarithm of the change of the band,
    over that by as many random pixels, and over that by as many where the feature map is highest,
    which knows nothing of the output. Two other orders stand beside: by the sum over channels of
    absolute alpha A, and by the feature map itself.

    Between parts: each of the nine transfers is closed by itself (`closed`). The effect is the rank
    correlation, over transfers, of the change of the band and the map's sum over pixels.

    Args:
        each: The network and its patches.
        share: Of the pixels, how many are taken away.
        seed: Of the random pixels.
    """
    between = {("transfers with larger maps matter more", ""): _between_parts(each)}
    return _deletion(each, share, seed) | between


@torch.no_grad()
def _deletion(each: Trained, share: float, seed: int) -> Found:
    """By check and reading, the mean over bands of the logarithm, (B,)."""
    branches = [each.activations[name] for name in FUSED]
    whole = head_of(each, branches)
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for i, name in enumerate(FUSED):
        seen = each.maps[name]
        chance = torch.rand(seen.activations[:, 0].shape, generator=generator).to(whole)

        def change(order: Tensor, i: int = i, chance: Tensor = chance) -> Tensor:
            """Of each band, the logarithm of its root mean square, (B, C)."""
            rest = list(branches)
            rest[i] = without_first(branches[i], order, chance, share)
            squares = (head_of(each, rest) - whole)[:, each.bands].square().mean(dim=(-2, -1))
            return squares.clamp_min(1e-20).log() / 2  # where nothing changes, as little as that

        def by(orders: Tensor, change: Callable[[Tensor], Tensor] = change) -> Tensor:
            """The same with an order for each band."""
            return torch.stack([change(order)[:, c] for c, order in enumerate(orders)], dim=1)

        mass = torch.einsum("cbk,bkhw->cbhw", seen.alpha.abs(), seen.activations.abs())
        of_map, of_features = by(seen.map()), change(seen.features)
        at_random = change(torch.zeros_like(chance))
        chance_alone, no_gradient = "more than at random", "more than by the feature map alone"
        for (what, reading), gain in {
            (chance_alone, ""): of_map - at_random,
            (no_gradient, ""): of_map - of_features,
            (chance_alone, "by the sum of |alpha A|"): by(mass) - at_random,
            (chance_alone, "by the feature map alone"): of_features - at_random,
        }.items():
            key = f"branch {i}: pixels go by the map, {what}", reading
            found[key] = gain.mean(dim=1).double().cpu().numpy()
    return found


def without_first(features: Tensor, order: Tensor, chance: Tensor, share: float) -> Tensor:
    """Features (B, K, h, w) with their first pixels in an order (B, h, w) set to the mean."""
    count = round(share * order[0].numel())
    # Where the order says nothing, as where a map is 0, chance decides.
    ranks = chance.flatten(1).argsort(dim=1)
    keys = order.flatten(1).gather(1, ranks)
    first = ranks.gather(1, keys.argsort(dim=1, descending=True, stable=True)[:, :count])
    gone = torch.zeros_like(order.flatten(1), dtype=torch.bool).scatter_(1, first, True)
    mean = features.mean(dim=(-2, -1), keepdim=True)
    return torch.where(gone.reshape(order.shape)[:, None], mean, features)


@torch.no_grad()
def _between_parts(each: Trained) -> Numbers:
    """Rank correlations over the nine transfers, means over bands, (B,)."""
    branches = [each.activations[name] for name in BRANCHES]
    whole = after_branches(each, branches)
    changes, masses = [], []
    for part in (transfer_part(j, i) for i in range(3) for j in range(3)):
        with closed(each.fast, part):
            changed = after_branches(each, branches) - whole
        changes.append(changed[:, each.bands].square().mean(dim=(-2, -1)).T.cpu().numpy())
        masses.append(each.maps[part].map().sum(dim=(-2, -1)).cpu().numpy())
    pairs = zip(*(np.stack(each, -1).reshape(-1, 9) for each in (changes, masses)), strict=True)
    found = np.nan_to_num([rank_correlation(a, b) for a, b in pairs])
    return found.reshape(len(each.bands), -1).mean(axis=0)
