"""A scene of any size one scale down: blocks of it with a truth, some ground of each held back.

Wald's protocol gives every scene its own truth: its MS, with MS and PAN degraded by 4 for input.
What is learnt or measured there carries over to the scale of the scene itself (A-PNN, Scarpa et
al., 2018, learnt so first).
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from dcfnet.errors import DataError
from dcfnet.imagery.regions import Window
from dcfnet.imagery.scene import Scene
from dcfnet.imagery.source import SceneSource, Source, reduced_window
from dcfnet.imagery.wald import Sample
from dcfnet.training.batches import Batch

BLOCK = 256
"""Side of a block in MS pixels, about: blocks divide the scene evenly."""

HELD_BACK = 0.2
"""Share of each block's columns, at its right, that nothing is learnt from."""


class CroppedPatches(Dataset[Batch]):
    """Windows of samples, cut as they are asked for, as `PatchDataset` reads patches of a file."""

    def __init__(self, places: Iterable[tuple[Sample, Window]]) -> None:
        self.places = list(places)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Batch:
        sample, window = self.places[index]
        crop = sample.crop(*window)
        images = zip(("pan", "ms", "lms", "gt"), (*crop.inputs(), crop.truth()), strict=True)
        return {name: image[0] for name, image in images}


@dataclass(frozen=True)
class Below:
    """Blocks of a scene one scale down, with truth, of some 256 x 256 pixels of it or less."""

    blocks: tuple[Sample, ...]

    def held_back(self) -> list[Sample]:
        """The ground of each block that nothing is learnt from."""
        return [block.crop(slice(None), slice(_border(block), None)) for block in self.blocks]

    def patches(
        self, split: str, *, size: int, stride: int, most: int | None = None, seed: int = 0
    ) -> CroppedPatches:
        """Patches of the ground to learn from, or of that which is held back.

        Those with pixels without data are left out, and those where PAN hardly varies, as on
        water: there is nothing to sharpen. Their size and stride, on the grid of ``gt``, are
        multiples of 4. If there are more of a split, ``"train"`` or ``"valid"``, than ``most``, so
        many are drawn.
        """
        found, contrast = [], []
        for block in self.blocks:
            height, width = block.shape
            first, last = (0, _border(block)) if split == "train" else (_border(block), width)
            for window in Window(slice(0, height), slice(first, last)).squares(size, stride):
                if block.mask[window].all():
                    found.append((block, window))
                    contrast.append(block.pan[window].std())
        varied = np.flatnonzero(np.array(contrast) > 0.1 * np.median(contrast or [0]))
        if most is not None and len(varied) > most:
            varied = np.sort(np.random.default_rng(seed).choice(varied, most, replace=False))
        return CroppedPatches(found[i] for i in varied)


def _border(block: Sample) -> int:
    return round((1 - HELD_BACK) * block.shape[1] / 4) * 4


def below(scene: Scene | Source, *, most: int = 6, seed: int = 0, progress: bool = False) -> Below:
    """Blocks spread at random over a scene, one scale down.

    At most so many are drawn, none without a quarter of data. Only these are read, so that it takes
    the same time and memory for a scene of any size.

    Raises:
        DataError: Nowhere is there enough data for a block.
    """
    source: Source = SceneSource(scene) if isinstance(scene, Scene) else scene
    edges = [_edges(size, source.sensor.ratio) for size in source.shape]
    places = [
        Window(slice(*rows), slice(*cols))
        for rows, cols in itertools.product(*map(itertools.pairwise, edges))
    ]
    blocks: list[Sample] = []
    with tqdm(total=min(most, len(places)), unit="block", disable=not progress) as bar:
        for place in np.random.default_rng(seed).permutation(len(places)):
            block = reduced_window(source, places[place])
            if block.mask.mean() >= 0.25:
                blocks.append(block)
                bar.update()
            if len(blocks) == most:
                break
    if not blocks:
        raise DataError(
            "the scene has hardly any data: expected one where a quarter of some "
            f"{BLOCK} x {BLOCK} MS pixels have values; check masks and no-data values"
        )
    return Below(tuple(blocks))


def _edges(size: int, ratio: int) -> list[int]:
    """Where blocks of about `BLOCK` begin and end along an axis, at multiples of the ratio."""
    whole = size // ratio * ratio
    if not whole:
        raise DataError(f"MS has {size} rows or columns, expected at least {ratio}")
    count = max(1, round(whole / BLOCK))
    return [whole * i // count // ratio * ratio for i in range(count + 1)]
