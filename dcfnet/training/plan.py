"""The settings of a training, once: what decides its outcome."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from dcfnet.errors import unknown

Schedule = Literal["constant", "cosine", "trapezoid"]
Precision = Literal["auto", "fp32", "bf16"]

AT_LEAST = {
    "epochs": 0, "patience": 0, "batch_size": 1, "accumulate": 1, "norm_batches": 1, "seed": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What decides the outcome of a training, beside the network and the patches.

    Where, when and for how long it is computed is not of the plan: `dcfnet.fit` is told that. The
    optimiser is Adam(0.9, 0.999), the loss the mean squared error of values in [0, 1].

    Args:
        epochs: Train for so many epochs at most. An epoch is one pass over the patches.
        patience: Stop once the optimal epoch is known: when so many epochs have brought no lower
            validation loss. 0: train all epochs; the best one may then lie later.
        lr: Learning rate.
        schedule: Of that rate: constant; cosine, falling to a hundredth of it; or trapezoid,
            constant and then falling in a straight line to 0 over the last fifth of all steps.
        batch_size: Patches per optimiser step, over all processes.
        accumulate: Split each batch into so many parts, one after the other, to save memory.
        average: Validate and save an exponential moving average of the weights with this decay
            per step, for example 0.99, instead of the weights themselves.
        augment: Turn each patch into one of its eight symmetries at random.
        exposure: Brighten or darken each patch, all its images alike, by a random factor between
            these two, for example 0.5 3: a network that is to see brighter or darker ground than
            the training patches show needs it.
        norm_batches: Batches from which batch normalisation statistics are recomputed after each
            epoch.
        seed: Of all chance: order, orientation and exposure of patches, and torch's own.
        precision: fp32 is the reference. bf16 computes the forward pass in bfloat16 where that is
            safe; weights and validation stay in float32. auto: bf16 where the device is made for
            it.
        channels_last: Lay out images channels last, which is faster on most devices.

    Raises:
        ValueError: Settings that cannot be.

    Example:
        >>> Plan(epochs=150, schedule="trapezoid", exposure=(0.5, 3)).rate(0.9)
        0.0005
    """

    epochs: int = 400
    patience: int | None = 100
    lr: float = 1e-3
    schedule: Schedule = "constant"
    batch_size: int = 32
    accumulate: int = 1
    average: float | None = None
    augment: bool = True
    exposure: tuple[float, float] | None = None
    norm_batches: int = 24
    seed: int = 0
    precision: Precision = "auto"
    channels_last: bool = True

    def __post_init__(self) -> None:
        for name, least in AT_LEAST.items():
            if not least <= (value := getattr(self, name) or 0) < 2**63:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if not 0 <= self.lr < math.inf:
            raise ValueError(f"lr, the learning rate, must be a number from 0 on, got {self.lr}")
        for name, choices in (("schedule", Schedule), ("precision", Precision)):
            if (value := getattr(self, name)) not in get_args(choices):
                raise ValueError(unknown(name, value, get_args(choices)))
        if self.average is not None and not 0 < self.average < 1:
            raise ValueError(f"average must lie between 0 and 1, got {self.average}")
        if self.exposure is not None:
            low, high = self.exposure
            if not 0 < low <= high < math.inf:
                raise ValueError(
                    "exposure must be two factors, the smaller first, for example (0.5, 3), got "
                    f"{self.exposure}"
                )
            object.__setattr__(self, "exposure", (float(low), float(high)))
        object.__setattr__(self, "patience", self.patience or None)

    def rate(self, done: float) -> float:
        """The learning rate when a share ``done`` of all steps is done."""
        if self.schedule == "cosine":
            return self.lr * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)
        if self.schedule == "trapezoid":
            return self.lr * min(1, 5 * (1 - done))
        return self.lr

    def settings(self) -> dict[str, Any]:
        """What a run can only be gone on with as it was, as its record states it.

        ``epochs`` and ``patience``, which say how long it goes on, are no part of it, but that a
        schedule which is not constant depends on ``epochs``.
        """
        told = asdict(self)
        del told["epochs"], told["patience"]
        if self.schedule != "constant":
            told["schedule"] += f" over {self.epochs} epochs"
        told["exposure"] = list(self.exposure) if self.exposure else None
        return told

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """The plan that a run's record states under ``settings``."""
        told = {each.name: settings[each.name] for each in fields(cls)}
        return cls(**{**told, "schedule": told["schedule"].split(" ")[0]})
