"""The experiment of the book: which networks are trained, by which plan, on which ground.

`trials` is the table of all runs, `fresh` what each starts from; `dcfnet.training.experiment`
carries them out. What they have in common is `POLICY`: patches in an order, orientation and
exposure that depend on seed and epoch alone; a learning rate that is constant and then falls to
zero over the last fifth of the steps; validation of a moving average of the weights over some nine
epochs.

Exposure: the test region of fold 0 has large white roofs, up to twice as bright as 999 of 1,000
pixels of its training region. Without exposure a network has hardly seen such values.

Learning rates: DCFNet has that of its paper. Every other network has the best of `RATES`, by its
lowest validation loss over 40 epochs of fold 0: it shall not lose for want of a good one.
"""

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from dcfnet.errors import DataError, unknown
from dcfnet.imagery.regions import FOLDS
from dcfnet.networks import build_network
from dcfnet.networks.compared import MSDCNN
from dcfnet.networks.dcfnet import REMOVABLE
from dcfnet.training.plan import Plan

POLICY = Plan(
    epochs=150,
    patience=None,
    schedule="trapezoid",
    average=0.99,
    exposure=(0.5, 3.0),
    norm_batches=4,
)

COMPARED = ("fusionnet", "pannet", "dicnn", "pnn", "msdcnn")
"""The networks that are not the paper's, those first that come nearest to it."""

RATES = (1e-4, 3e-4, 1e-3, 3e-3)
RATE_EPOCHS = 40

NARROW = {"width": 0.25}
"""A sixteenth of DCFNet's weights: each can be trained from several seeds."""

HIGH_PASS = {
    "pannet": "pannet-no-high-pass",
    "fusionnet": "fusionnet-high-pass",
    "dcfnet-narrow": "dcfnet-narrow-high-pass",
}
"""By run, the one that is high-passed where its paper does not, or is not where it does."""

PARTS: dict[str, tuple[str, ...]] = {
    "whole": (),
    "without-transfers": tuple(name for name in REMOVABLE if ".transfers." in name),
    "without-pcft": ("pcft1", "pcft2"),
    "depth-matched": ("pcft1.crossing", "pcft2.crossing"),
}
"""What the narrow network is trained without; the last is the control of the one before."""


@dataclass(frozen=True)
class Trial:
    """A run of the experiment: a network with its options, and a plan, on a fold of the scene.

    Attributes:
        plan: Its seed is also that of the weights that the network starts from.
        patches: Of the training patches only so many, spread evenly; None for all.
        rate_chosen: The learning rate is not that of the plan, but the best of `RATES`.
    """

    network: str
    plan: Plan
    fold: int = 0
    patches: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    rate_chosen: bool = False


def trials() -> dict[str, Trial]:
    """All runs by the name of their folder; what matters most comes first."""
    table: dict[str, Trial] = {}
    for network in COMPARED:
        for lr in RATES:
            plan = replace(POLICY, epochs=RATE_EPOCHS, lr=lr)
            table[f"rates/{network}-{lr:g}"] = Trial(network, plan)
    # Every network on every fold, and DCFNet at the cost of the others.
    for fold in range(len(FOLDS)):
        plan = replace(POLICY, seed=fold)
        for network in COMPARED:
            table[f"{network}/fold{fold}"] = Trial(network, plan, fold, rate_chosen=True)
        table[f"dcfnet-narrow/fold{fold}"] = Trial("dcfnet", plan, fold, options=NARROW)
        table[f"dcfnet/fold{fold}"] = Trial("dcfnet", plan, fold)
    # How far seeds move a network on the same ground: seed 0 is the run of fold 0.
    for seed in (1, 2):
        plan = replace(POLICY, seed=seed)
        table[f"seeds/fusionnet-seed{seed}"] = Trial("fusionnet", plan, rate_chosen=True)
    # What exposure is good for.
    for fold in range(len(FOLDS)):
        plan = replace(POLICY, seed=fold, exposure=None)
        trial = Trial("fusionnet", plan, fold, rate_chosen=True)
        table[f"fusionnet-no-exposure/fold{fold}"] = trial
    # Whether it is the high-pass that carries PanNet to another sensor.
    for fold in range(len(FOLDS)):
        plan = replace(POLICY, seed=fold)
        for network, given in (("pannet", False), ("fusionnet", True)):
            trial = Trial(network, plan, fold, options={"high_pass": given}, rate_chosen=True)
            table[f"{HIGH_PASS[network]}/fold{fold}"] = trial
        trial = Trial("dcfnet", plan, fold, options={**NARROW, "high_pass": True})
        table[f"{HIGH_PASS['dcfnet-narrow']}/fold{fold}"] = trial
    # Which parts are needed.
    for seed in range(3):
        plan = replace(POLICY, seed=seed, epochs=120)
        for part, without in PARTS.items():
            options = {**NARROW, "without": without}
            table[f"parts/{part}-seed{seed}"] = Trial("dcfnet", plan, options=options)
        equal = {**NARROW, "learn_shares": False}
        table[f"parts/equal-shares-seed{seed}"] = Trial("dcfnet", plan, options=equal)
    # How long until the optimal epoch: no fall at the end, which would hide it.
    constant = replace(POLICY, schedule="constant", patience=100)
    for count in (90, 180, 361):
        for seed in range(3):
            plan = replace(constant, seed=seed, epochs=3000)
            few = count if count < 361 else None
            trial = Trial("dcfnet", plan, patches=few, options=NARROW)
            table[f"length/{count}-patches-seed{seed}"] = trial
    table["dcfnet"] = Trial("dcfnet", replace(constant, epochs=600))
    # FusionNet for longer, and in true float32.
    table["fusionnet"] = Trial("fusionnet", replace(POLICY, epochs=400), rate_chosen=True)
    plan = replace(POLICY, precision="fp32")
    table["fusionnet-float32/fold0"] = Trial("fusionnet", plan, rate_chosen=True)
    # The first epochs of DCFNet, predicting the image itself as the released code does.
    direct = {"inject_details": False}
    plan = replace(constant, epochs=40, patience=None)
    table["dcfnet-direct"] = Trial("dcfnet", plan, options=direct)
    short = replace(POLICY, epochs=30)
    table["narrow-direct-0"] = Trial("dcfnet", short, options={**NARROW, **direct})
    for seed in range(3):
        plan = replace(short, seed=seed)
        table[f"narrow-whole-{seed}"] = Trial("dcfnet", plan, options=NARROW)
        dark = replace(plan, exposure=None)
        table[f"narrow-no-exposure-{seed}"] = Trial("dcfnet", dark, options=NARROW)
    return table


def select(patterns: Iterable[str]) -> list[str]:
    """The names of runs that match names with ``*`` and ``?``, in the order of the table.

    Raises:
        DataError: One of them matches nothing.
    """
    names, found = list(trials()), set()
    for pattern in patterns:
        matching = fnmatch.filter(names, pattern)
        if not matching:
            raise DataError(f"{unknown('run', pattern, names)}; dcfnet experiment --list names all")
        found.update(matching)
    return [name for name in names if name in found]


def fresh(network: str, seed: int, **options: Any) -> nn.Module:
    """A network as a run of the experiment starts with it.

    Networks that add details to the interpolated image begin with none, as DCFNet does: their last
    convolution starts at zero. Without that FusionNet needs 30 epochs to become as good as its
    input. MSDCNN ends with a ReLU, which dies within ten epochs at rates of 1e-3 and more if its
    last convolutions start at random: here it starts as an even grey of 0.1.
    """
    torch.manual_seed(seed)
    model = build_network(network, **options)
    if network in ("pannet", "dicnn", "fusionnet"):
        *_, last = (part for part in model.modules() if isinstance(part, nn.Conv2d))
        nn.init.zeros_(last.weight)
    if isinstance(model, MSDCNN):
        for path in (model.deep, model.shallow):
            for name, parameter in path[-1].named_parameters():
                nn.init.constant_(parameter, 0.05 if name == "bias" else 0)
    return model
