"""Which patches make up each batch of training, and in which orientation and exposure."""

import signal
import sys
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dcfnet.training.plan import Plan

Batch = dict[str, Tensor]
"""Images by name: ``pan``, ``ms``, ``lms``, ``gt``; with a first axis for patches, or of one."""


class Patches(Protocol):
    """What is trained on: a list of patches, or a dataset that reads them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Batch: ...


class BatchOrder(Sampler[list[tuple[int, int, float]]]):
    """Which patches make up each batch of an epoch, which symmetry and which exposure each gets.

    The order depends on seed and epoch alone, not on the number of processes: they divide each
    batch of ``batch_size`` patches among themselves, and each divides its share into
    ``accumulate`` parts. The last patches that fill no batch sit the epoch out.

    Attributes:
        epoch, first: Which epoch it is, and how many of its steps are left out.

    Raises:
        ValueError: The batch is larger than all patches, or cannot be divided so.
    """

    def __init__(self, patches: int, plan: Plan, rank: int = 0, processes: int = 1) -> None:
        size, accumulate = plan.batch_size, plan.accumulate
        if size > patches:
            raise ValueError(
                f"batch_size {size} does not fit {patches} training patches: choose 1 to {patches}"
            )
        if size % (accumulate * processes):
            raise ValueError(
                f"a batch of {size} cannot be divided by {processes} processes times "
                f"accumulate={accumulate}: choose a multiple of {accumulate * processes}"
            )
        self.patches, self.plan = patches, plan
        part = size // (accumulate * processes)
        self.parts = [
            slice(number * part, (number + 1) * part)
            for number in range(rank, accumulate * processes, processes)
        ]
        self.epoch, self.first = 0, 0

    def __len__(self) -> int:
        """Optimiser steps in an epoch."""
        return self.patches // self.plan.batch_size

    def __iter__(self) -> Iterator[list[tuple[int, int, float]]]:
        plan, patches = self.plan, self.patches
        chance = np.random.default_rng((plan.seed, self.epoch))
        order = chance.permutation(patches).tolist()
        symmetries = chance.integers(8 if plan.augment else 1, size=patches).tolist()
        low, high = np.log(plan.exposure or (1.0, 1.0))
        factors = np.exp(chance.uniform(low, high, patches)).tolist()
        for step in range(self.first, len(self)):
            batch = slice(step * plan.batch_size, (step + 1) * plan.batch_size)
            drawn = list(zip(order[batch], symmetries[batch], factors[batch], strict=True))
            for part in self.parts:
                yield drawn[part]


def symmetry(patch: Batch, number: int) -> Batch:
    """One of the eight symmetries of the square, applied to a patch.

    An MS pixel lies at offset 2 of its 4 x 4 PAN pixels, half a PAN pixel from their centre. A
    flip would move it to offset 1, where no MS pixel of an unflipped image ever lies, and a
    network that reads ``ms`` would have to guess which of the two it sees. But ``lms`` passes
    through the MS pixels, so the flipped ``lms`` at offset 2 is the MS image that belongs to the
    flipped patch: the same band-limited signal, sampled a quarter of an MS pixel to the side.

    Number 1 flips columns, 2 flips rows, 4 transposes, and sums up to 7 do several.
    """
    flips = [axis for axis, bit in ((-1, 1), (-2, 2)) if number & bit]
    turned = {key: image.flip(flips) for key, image in patch.items()}
    ratio = patch["lms"].shape[-1] // patch["ms"].shape[-1]
    own = patch["lms"][..., ratio // 2 :: ratio, ratio // 2 :: ratio]
    if flips and torch.allclose(own, patch["ms"], rtol=0, atol=1e-3):
        turned["ms"] = turned["lms"][..., ratio // 2 :: ratio, ratio // 2 :: ratio]
    if number & 4:
        turned = {key: image.mT for key, image in turned.items()}
    return turned


def expose(patch: Batch, factor: float) -> Batch:
    """A patch as if the sun had been that much brighter, up to where the sensor would saturate.

    All images are multiplied by the factor, or the largest that keeps ``pan`` and ``gt`` in [0, 1].
    """
    brightest = max(patch["pan"].max().item(), patch["gt"].max().item())
    factor = min(factor, 1 / brightest) if brightest > 0 else factor
    return {key: image * factor for key, image in patch.items()}


class AugmentedPatches(Dataset[Batch]):
    """Patches by (index, symmetry, exposure), as `BatchOrder` names them."""

    def __init__(self, data: Patches) -> None:
        self.data = data

    def __getitem__(self, which: tuple[int, int, float]) -> Batch:
        index, number, factor = which
        patch = symmetry(self.data[index], number)
        return patch if factor == 1 else expose(patch, factor)


def batch_loader(
    data: Patches, order: BatchOrder, workers: int = 0, pin_memory: bool = False
) -> DataLoader[Batch]:
    """Batches in that order, read by so many processes ahead, or between the steps."""
    return DataLoader(
        AugmentedPatches(data),
        batch_sampler=order,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=_leave_signals_to_the_run,
        # A fork server, the default from Python 3.14 on, dies of what its readers ignore.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # without one it takes from torch's chance
    )


def _leave_signals_to_the_run(_: int) -> None:
    """In a reader: signals to the whole group of processes stop the run, which ends its readers."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
