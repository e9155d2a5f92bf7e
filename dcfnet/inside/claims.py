"""The ten claims of the supplement, each measured and judged by one rule.

A claim is cut into *checks*. A `Check` has an *effect* for each unit that it was measured on (a
patch, a band of a patch, a seed, another network), above 0 where the unit behaves as the claim
says. A check *holds* where at least three quarters of its effects are above 0, *fails* where at
most a quarter are, and is *open* between them. `verdict` makes one word of a claim's checks.

Each measure below returns a `Finding`; `FindingTable` shows one row for each.

Reference:
    Supplement of X. Wu, T.-Z. Huang, L.-J. Deng and T.-J. Zhang, "Dynamic Cross Feature Fusion
    for Remote Sensing Pansharpening", ICCV 2021.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter, uniform_filter
from torch import Tensor

from dcfnet.imagery.patches import patch_windows
from dcfnet.imagery.sensors import Sensor
from dcfnet.imagery.wald import Sample
from dcfnet.inside.fields import effective_fields, field_radius
from dcfnet.inside.gradcam import GradCAM
from dcfnet.inside.hooks import activations
from dcfnet.inside.sanity import rank_correlation
from dcfnet.inside.switches import switched_off
from dcfnet.measure import metrics
from dcfnet.measure.tables import METRICS, with_lower_loss
from dcfnet.networks import NETWORKS, DCFNet, PansharpeningNetwork, load_trained
from dcfnet.networks.dcfnet import REMOVABLE
from dcfnet.training.runs import Run, read_runs

__all__ = [
    "BRANCHES",
    "FUSED",
    "PAPER_STEPS",
    "Check",
    "Finding",
    "FindingTable",
    "Patches",
    "Verdict",
    "activation_maps",
    "better_results",
    "context",
    "cooperation",
    "detail",
    "errors",
    "explained",
    "feature_means",
    "high_level",
    "high_share",
    "lower_loss",
    "optimal_epoch",
    "pairs_of_runs",
    "radii",
    "receptive_fields",
    "similar_maps",
    "take_patches",
    "verdict",
]

Verdict = Literal["supported", "not supported", "mixed", "cannot be tested here"]

PAPER_STEPS = 9714 // 32
"""Optimiser steps in an epoch of the paper: 9,714 training patches in batches of 32."""

BRANCHES = tuple(f"stage3.branches.{i}" for i in range(3))
FUSED = tuple(f"stage3.fusion.fused.{i}" for i in range(3))
TRANSFERS = tuple(n for n in REMOVABLE if n.startswith("stage3."))


# --- Checks, verdicts, findings -----------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Check:
    """One thing that would be so if the claim were true.

    Attributes:
        what: In words, for example ``"branch 1 sees further than branch 0"``.
        effects: One number per unit, above 0 where it is as claimed, (n,).
        of: What the units are, for example ``"patches"``.
        least: With fewer units than this the check is open, whatever they say.
    """

    what: str
    effects: np.ndarray
    of: str = "patches"
    least: int = 1

    @property
    def share(self) -> float:
        """Of its units, how many behave as claimed, 0 to 1."""
        return float((np.asarray(self.effects) > 0).mean()) if len(self.effects) else 0.5

    @property
    def holds(self) -> bool | None:
        """True from three quarters of the units on, False up to a quarter, None between them."""
        if len(self.effects) < self.least or 0.25 < self.share < 0.75:
            return None
        return self.share >= 0.75

    def __str__(self) -> str:
        word = {True: "holds", False: "fails", None: "open"}[self.holds]
        if not len(self.effects):
            return f"{word:5s}  {self.what}: no {self.of} yet"
        yes = int((np.asarray(self.effects) > 0).sum())
        number = f"{_spread(self.effects, '+.3g')}; {yes} of {len(self.effects)} {self.of}"
        return f"{word:5s}  {self.what}: {number}"


def verdict(checks: Sequence[Check]) -> Verdict:
    """One word for a claim.

    Returns:
        ``"supported"`` if all checks hold, ``"not supported"`` if all fail, ``"mixed"`` otherwise,
        and ``"cannot be tested here"`` if there is none.
    """
    if not checks:
        return "cannot be tested here"
    if all(check.holds is True for check in checks):
        return "supported"
    return "not supported" if all(check.holds is False for check in checks) else "mixed"


@dataclass(frozen=True)
class Finding:
    """What became of a claim.

    Attributes:
        claim: Its number, 1 to 10.
        title: The claim in a few words.
        measure: What was measured, in a line.
        number: The main number with its spread, in a line.
        verdict: By the rule of `verdict`, or by one that the measure states.
        checks: What the verdict rests on.
        notes: What was measured beside it, a line each, and what is missing.
    """

    claim: int
    title: str
    measure: str
    number: str
    verdict: Verdict
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"claim {self.claim}: {self.verdict}", f"  {self.number}"]
        lines += [f"  {check}" for check in self.checks]
        return "\n".join(lines + [f"  {note}" for note in self.notes])


@dataclass(frozen=True)
class FindingTable:
    """A row per claim: claim, measure, number with its spread, verdict."""

    findings: Sequence[Finding]

    def __repr__(self) -> str:
        return "\n".join(
            f"{f.claim:2d}  {f.title}\n    {f.measure}: {f.number}\n    {f.verdict}"
            for f in self.findings
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th scope="row">{f.claim}. {html.escape(f.title)}</th>'
            f'<td style="text-align: left">{html.escape(f.measure)}</td>'
            f'<td style="text-align: left">{html.escape(f.number)}</td>'
            f'<td style="text-align: left"><strong>{html.escape(f.verdict)}</strong></td></tr>'
            for f in self.findings
        )
        head = "".join(
            f'<th scope="col" style="text-align: left">{name}</th>'
            for name in ("Claim", "Measure", "Number and spread", "Verdict")
        )
        return (
            '<div style="overflow-x: auto"><table class="dcf-table">'
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        )


def _spread(values: np.ndarray, form: str = ".2f") -> str:
    """Median and quartiles; of two or three values, the mean and the range."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return f"{values[0]:{form}}" if len(values) else "none"
    few = len(values) < 4
    middle = values.mean() if few else np.median(values)
    low, high = np.quantile(values, (0, 1) if few else (0.25, 0.75))
    return f"{middle:{form}} [{low:{form}}, {high:{form}}]"


# --- Patches ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Patches:
    """A batch of patches as networks take them, with the truth, all in [0, 1].

    Attributes:
        pan: (B, 1, H, W).
        ms: (B, C, H/4, W/4).
        lms: (B, C, H, W).
        gt: (B, C, H, W).
        sensor: Whose imagery it is.
    """

    pan: Tensor
    ms: Tensor
    lms: Tensor
    gt: Tensor
    sensor: Sensor

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """``pan, ms, lms``."""
        return self.pan, self.ms, self.lms

    def __len__(self) -> int:
        """B."""
        return len(self.pan)


def take_patches(
    sample: Sample,
    count: int | None = None,
    size: int = 64,
    device: torch.device | str = "cpu",
) -> Patches:
    """Patches of the test region, spread evenly over it.

    Args:
        sample: From `dcfnet.imagery.wald.reduce_resolution`.
        count: How many; all of them unless given, or if there are fewer.
        size: Their side on the grid of ``gt``, a multiple of 4.
        device: Where to.

    Raises:
        DataError: No patch of that size has data everywhere.
    """
    windows = patch_windows(sample, "test", size=size)
    if count is not None and count < len(windows):
        chosen = np.linspace(0, len(windows) - 1, count).round().astype(int)
        windows = [windows[i] for i in chosen]
    crops = [sample.crop(*window) for window in windows]
    images = zip(*((*crop.inputs(device), crop.truth(device)) for crop in crops), strict=True)
    pan, ms, lms, gt = map(torch.cat, images)
    return Patches(pan, ms, lms, gt, sample.sensor)


def errors(model: PansharpeningNetwork, patches: Patches) -> np.ndarray:
    """ERGAS of each patch, (B,), with the network as it is at the moment, in eval mode."""
    scale = patches.sensor.max_value
    fast = model.fused_for_inference()  # the same answer for less time; hooks come along
    with torch.inference_mode():
        fused = (fast(*patches.inputs) * scale).double().cpu().numpy()
    truth = (patches.gt * scale).double().cpu().numpy()
    ratio = patches.sensor.ratio
    return np.array([metrics.ergas(t, f, ratio) for t, f in zip(truth, fused, strict=True)])


# --- Claims 1 to 3: training --------------------------------------------------------------------


def lower_loss(runs: Mapping[str, Run], network: str = "dcfnet") -> Finding:
    """Claim 1: lower training loss in fewer epochs, a check for each other network.

    Losses are means over five epochs. The effect is the number of epochs that the other takes to
    its lowest training loss, minus those that ``network`` needs to go below it; minus infinity
    if it never does.
    """
    checks, shares = [], []
    ours = _smooth(runs[network].history["train_loss"]) if network in runs else np.zeros(0)
    for name, run in runs.items():
        theirs = _smooth(run.history["train_loss"])
        if name == network or not len(theirs) or not len(ours):
            continue
        takes = int(theirs.argmin())
        below = np.flatnonzero(ours < theirs.min())
        effect = takes - below[0] if len(below) else -np.inf
        if len(below):
            shares.append((below[0] + 5) / (takes + 5))
        what = f"below the lowest loss of {_title(name)} in fewer epochs (epochs saved)"
        checks.append(Check(what, np.array([effect], float), "runs"))
    number = f"loss of {len(shares)} of {len(checks)} networks reached"
    if shares:
        number += f", in {min(shares):.0%} to {max(shares):.0%} of their epochs; one seed each"
    return Finding(
        1,
        "Lower training loss in fewer epochs",
        "Epochs to go below the others' lowest loss",
        number,
        verdict(checks),
        tuple(checks),
    )


def _smooth(losses: np.ndarray, epochs: int = 5) -> np.ndarray:
    if len(losses) < epochs:
        return np.zeros(0)
    return np.convolve(losses, np.ones(epochs) / epochs, "valid")


def _title(network: str) -> str:
    return NETWORKS[network].title if network in NETWORKS else network


def better_results(
    runs: Mapping[str, Run],
    table: pd.DataFrame,
    blocks: pd.DataFrame,
    network: str = "dcfnet",
) -> Finding:
    """Claim 2: with a lower training loss come better results.

    The verdict is that of `dcfnet.measure.tables.with_lower_loss` for SAM, ERGAS and Q2n of the
    whole test region; what single blocks say is noted.

    Args:
        runs: By network.
        table: Results over the whole test region, rows named as ``runs``.
        blocks: From `dcfnet.measure.tables.by_block`.
        network: The network in question.
    """
    losses = {n: run.history["train_loss"][-5:].mean() for n, run in runs.items()}
    word, compared = with_lower_loss(losses, table, network)
    checks, shares = [], []
    for other, metric, _ in compared:
        heading, sign = METRICS[metric]
        name = heading.split(" ")[0]
        gap = sign * (table.loc[network, metric] - table.loc[other, metric])
        checks.append(Check(f"{name}: better than {_title(other)}", np.array([gap]), "regions"))
        if metric in blocks.columns:
            of_blocks = sign * (blocks[metric][network] - blocks[metric][other])
            shares.append((f"{name} against {_title(other)}", (of_blocks > 0).mean()))
    wins = sum(won for *_, won in compared)
    number = f"better in {wins} of {len(compared)} comparisons"
    if shares:
        each = [share for _, share in shares]
        number += f"; in {min(each):.0%} to {max(each):.0%} of the blocks"
    return Finding(
        2,
        "Better test results where the training loss is lower",
        "SAM, ERGAS and Q2n on the test region",
        number,
        word,  # type: ignore[arg-type]
        tuple(checks),
        tuple(f"{what}: better in {share:.0%} of the blocks" for what, share in shares),
    )


def optimal_epoch(run: Run, said: int = 300) -> Finding:
    """Claim 3: about 300 epochs to the optimal epoch.

    It can be tested if the run has an optimal epoch, and its epochs have as many steps as the
    paper's within a factor of 2. It is then *supported* if that epoch is within a quarter of what
    is said, else *not supported*.
    """
    found, steps = run.history.optimal_epoch(), run.steps_per_epoch
    alike = PAPER_STEPS / 2 <= steps <= 2 * PAPER_STEPS
    word: Verdict = "cannot be tested here"
    if found is not None and alike:
        word = "supported" if abs(found - said) <= said / 4 else "not supported"
    best, loss = run.history.best_epoch(), run.history["valid_loss"]
    notes = [
        f"{said} epochs of the paper: {said * PAPER_STEPS:,} steps; "
        f"all of this run: {len(loss) * steps:,}"
    ]
    if not alike:
        notes.append(f"why: an epoch has {steps} steps here, {PAPER_STEPS} in the paper")
    if found is None:
        notes.append("why: the run ended before 100 epochs without a lower validation loss")
    return Finding(
        3,
        "About 300 epochs to the optimal epoch",
        "First epoch that the next 100 do not improve on",
        f"{found or 'not reached'}; best epoch {best} of {len(loss)}, one seed",
        word,
        (),
        tuple(notes),
    )


# --- Claims 4 to 8: what the parts hold ---------------------------------------------------------


def high_share(features: Tensor, above: float) -> np.ndarray:
    """Share of the features' variation that is finer than a frequency.

    Args:
        features: (B, K, h, w). Each channel's mean is taken off, and its borders are faded out.
        above: Frequency in cycles per pixel of the map, 0 to 0.5.

    Returns:
        Per image, (B,), summed over channels; 0 where nothing varies.
    """
    x = features.double()
    h, w = x.shape[-2:]
    fade = torch.outer(torch.hann_window(h), torch.hann_window(w)).to(x)
    x = (x - x.mean(dim=(-2, -1), keepdim=True)) * fade
    power = torch.fft.fft2(x).abs().square().sum(dim=1)
    radius = torch.hypot(torch.fft.fftfreq(h)[:, None].to(x), torch.fft.fftfreq(w)[None, :].to(x))
    total = power.sum(dim=(-2, -1))
    fine = (power * (radius > above)).sum(dim=(-2, -1))
    return (fine / total.clamp_min(1e-30)).cpu().numpy()


def explained(features: Tensor, target: np.ndarray, margin: int = 0) -> np.ndarray:
    """How much of a target single pixels of the features tell, on patches not fitted to.

    A linear function of the channels is fitted on every second patch and tried on the others,
    and the other way round.

    Args:
        features: (B, K, H, W), of at least 2 patches.
        target: (B, H, W).
        margin: Pixels along the border of each patch that do not take part.

    Returns:
        Per patch, (B,): 1 minus the mean squared error over the variance of the target in all
        patches. At most 1; below 0 where the patch's mean would not even be met.
    """
    inside = slice(margin, -margin or None)
    x = features[..., inside, inside].double().cpu().numpy()
    x = np.moveaxis(x, 1, -1).reshape(len(x), -1, x.shape[1])
    y = np.asarray(target, float)[:, inside, inside].reshape(len(x), -1)
    mean, scale = x.mean((0, 1)), x.std((0, 1))
    x = np.concatenate([(x - mean) / np.where(scale > 0, scale, 1), np.ones_like(x[..., :1])], -1)
    result = np.empty(len(x))
    for fold in (0, 1):
        fit, tried = np.arange(len(x)) % 2 != fold, np.arange(len(x)) % 2 == fold
        a, b = x[fit].reshape(-1, x.shape[-1]), y[fit].ravel()
        ridge = 1e-3 * len(a) * np.eye(a.shape[1])
        weights = np.linalg.solve(a.T @ a + ridge, a.T @ b)
        result[tried] = ((x[tried] @ weights - y[tried]) ** 2).mean(axis=1)
    return 1 - result / y.var()


def detail(model: DCFNet, patches: Patches) -> Finding:
    """Claim 4: the main branch is rich in detail, compared with the other two.

    Looked at are the fused branches of stage 3. The first two checks compare, each at its own
    resolution, the share of variation above half of the Nyquist frequency (a quarter of a cycle
    per pixel). The other two compare how well the pixels of a branch, interpolated to PAN's size,
    tell PAN's detail: PAN minus its Gaussian blur of 2 pixels (`explained`).
    """
    ups = [f"head.up.{i}" for i in range(3)]
    seen = activations(model, [*FUSED, *ups], *patches.inputs)
    own = [high_share(seen[name], 0.25) for name in FUSED]
    equal = [high_share(seen[name], 0.125) for name in ups]
    pan = patches.pan[:, 0].double().cpu().numpy()
    fine = pan - gaussian_filter(pan, (0, 2, 2))
    told = [explained(seen[name], fine) for name in ups]
    checks = [
        Check(f"more fine variation than branch {i}, each at its own size", own[0] - own[i])
        for i in (1, 2)
    ] + [Check(f"tells more of PAN's detail than branch {i}", told[0] - told[i]) for i in (1, 2)]
    return Finding(
        4,
        "The main branch is rich in detail",
        "Share of PAN's detail that the pixels of branches 0, 1, 2 tell",
        ", ".join(_spread(t) for t in told),
        verdict(checks),
        tuple(checks),
        (
            "fine share at own size: " + ", ".join(_spread(s, ".3f") for s in own),
            "share finer than MS resolves, at PAN's size (the coarse branches cannot have much): "
            + ", ".join(_spread(s, ".3f") for s in equal),
        ),
    )


def feature_means(model: DCFNet, patches: Patches) -> Finding:
    """Claim 5: means of the main branch and of high-to-low transfers exceed the others'.

    A part's feature mean is the mean of its activations over channels and pixels. Compared are,
    patch by patch, fused branch 0 of stage 3 with branches 1 and 2, and each transfer from high
    to low resolution, as it arrives, with the one that goes the other way.
    """
    seen = activations(model, [*FUSED, *TRANSFERS], *patches.inputs)
    means = {n: a.mean(dim=(1, 2, 3)).double().cpu().numpy() for n, a in seen.items()}
    checks = [
        Check(f"branch 0 above branch {i}", means[FUSED[0]] - means[FUSED[i]]) for i in (1, 2)
    ]
    for high, low in ((0, 1), (0, 2), (1, 2)):
        down, back = (f"stage3.fusion.transfers.{a}_to_{b}" for a, b in ((high, low), (low, high)))
        what = f"transfer {high} to {low} above {low} to {high}"
        checks.append(Check(what, means[down] - means[back]))
    return Finding(
        5,
        "Feature means: main branch and high-to-low transfers exceed the others",
        "Mean activation of fused branches 0, 1, 2",
        ", ".join(_spread(means[name]) for name in FUSED),
        verdict(checks),
        tuple(checks),
        tuple(f"transfer {n.rsplit('.', 1)[1]}: {_spread(means[n])}" for n in TRANSFERS),
    )


def high_level(model: DCFNet, patches: Patches, window: int = 17) -> Finding:
    """Claim 6: the main branch, supplemented by the others, carries high-level content.

    "High-level" has no measure without labels. A weaker sense is tested: knowledge of the
    surroundings, which a pixel of the image does not have. The targets are NDVI and the standard
    deviation of brightness, of the true image, over ``window`` x ``window`` pixels; `explained`
    says how much of them single pixels tell. Checked are whether the fused main branch tells more
    than PAN and ``lms`` do, and more than the same branch before its fusion, which has as many
    channels; and whether all branches together tell more than the main one, as they should with
    seven times its channels.
    """
    names = [BRANCHES[0], FUSED[0], "head.concat"]
    seen = activations(model, names, *patches.inputs)
    sources = {
        "PAN and lms": torch.cat((patches.pan, patches.lms), 1),
        "before the fusion": seen[names[0]],
        "fused": seen[names[1]],
        "all branches": seen[names[2]],
    }
    gt = patches.gt.double().cpu().numpy()
    bands = patches.sensor.bands
    red, near = gt[:, bands.index("R")], gt[:, bands.index("N")]

    def around(image: np.ndarray) -> np.ndarray:
        return uniform_filter(image, (0, window, window))

    ndvi = around((near - red) / np.maximum(near + red, 1e-6))
    bright = gt.mean(axis=1)
    texture = np.sqrt(np.maximum(around(bright**2) - around(bright) ** 2, 0))
    checks, notes, numbers = [], [], []
    for title, target in (("NDVI", ndvi), ("texture", texture)):
        told = {n: explained(x, target, window // 2) for n, x in sources.items()}
        for other in ("PAN and lms", "before the fusion"):
            what = f"{title} around: the fused main branch tells more than {other}"
            checks.append(Check(what, told["fused"] - told[other]))
        what = f"{title} around: all branches together tell more than the fused main one"
        checks.append(Check(what, told["all branches"] - told["fused"]))
        numbers.append(f"{title} {np.median(told['before the fusion']):.2f} before, "
                       f"{_spread(told['fused'])} after")  # fmt: skip
        notes.append(f"{title} around: " + ", ".join(f"{n} {_spread(t)}" for n, t in told.items()))
    return Finding(
        6,
        "The main branch, supplemented by the others, carries high-level content",
        f"Share told of the surroundings ({window} x {window}), before and after the fusion; "
        "high-level content proper would need labels",
        "; ".join(numbers),
        verdict(checks),
        tuple(checks),
        tuple(notes),
    )


def radii(
    model: DCFNet, patches: Patches, names: Sequence[str] = BRANCHES, share: float = 0.5
) -> dict[str, np.ndarray]:
    """Radius of the effective receptive field at the centre of each patch, (B,), in PAN pixels."""
    fast = model.fused_for_inference(split_head=False, in_place=False)  # the same for less time
    fields = effective_fields(fast, names, *patches.inputs)
    return {n: np.array([field_radius(f, share) for f in of]) for n, of in fields.items()}


def receptive_fields(found: Mapping[str, np.ndarray]) -> Finding:
    """Claim 7: lower-resolution branches have larger receptive fields.

    The radius of the disc that holds half of the effective field, at the end of stage 3's
    branches, before their fusion: what `radii` finds.
    """
    r = [found[name] for name in BRANCHES]
    checks = [
        Check(f"branch {i} sees further than branch {i - 1}", r[i] - r[i - 1]) for i in (1, 2)
    ]
    return Finding(
        7,
        "Lower-resolution branches have larger receptive fields",
        "Radius of half the effective field, branches 0, 1, 2 (PAN pixels)",
        ", ".join(_spread(values, ".1f") for values in r),
        verdict(checks),
        tuple(checks),
    )


def activation_maps(
    model: DCFNet, patches: Patches, names: Sequence[str] = FUSED
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Grad-CAM of every band, brought to the MS image's size by means over pixels.

    Returns:
        The maps, at least 0, and the signed maps, before the ReLU that makes maps of them; each
        by part, (C, B, H/4, W/4).
    """
    height, width = patches.ms.shape[-2:]
    size = (height, width)
    with GradCAM(model, names) as cam:
        cam(*patches.inputs)
        found = {n: of.signed for n, of in cam.maps().items()}
    maps = {n: F.adaptive_avg_pool2d(s.relu(), size).cpu().numpy() for n, s in found.items()}
    return maps, {n: F.adaptive_avg_pool2d(s, size).cpu().numpy() for n, s in found.items()}


def similar_maps(
    maps: Mapping[str, np.ndarray],
    signed: Mapping[str, np.ndarray] | None = None,
    enough: float = 0.5,
    names: Sequence[str] = FUSED,
) -> Finding:
    """Claim 8: all branches have similar class activation maps.

    Branches are compared two by two, band by band and patch by patch, by rank correlation at the
    MS image's size. Similar means at least ``enough``; and more similar than maps of two patches
    are, one from each branch: both have to be so.

    Args:
        maps: From `activation_maps`, (C, B, h, w) each, B at least 2.
        signed: From there, too; what they say is noted.
        enough: Between 0 and 1.
        names: The parts in the order of the branches.
    """
    checks, numbers, notes = [], [], []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        same, other = _correlations(maps[names[i]], maps[names[j]])
        pair = f"branches {i} and {j}"
        above = np.where(same >= enough, np.maximum(same - enough, 1e-12), same - enough)
        what = f"{pair} correlate by at least {enough}, and more than different patches (excess)"
        checks.append(Check(what, np.minimum(above, same - other), "maps"))
        numbers.append(f"{_spread(same)} (other patch: {other.mean():.2f})")
        if signed is not None:
            before = _spread(_correlations(signed[names[i]], signed[names[j]])[0])
            notes.append(f"{pair}, signed maps: {before}")
    for i, name in enumerate(names):
        even = (maps[name] == maps[name][..., :1, :1]).all((-2, -1)).mean()
        notes.append(
            f"branch {i}: {even:.0%} of the maps are the same everywhere, as where all is 0"
        )
    return Finding(
        8,
        "All branches have similar class activation maps",
        "Rank correlation of the maps of branches 0-1, 0-2, 1-2, over patches and bands",
        ", ".join(numbers),
        verdict(checks),
        tuple(checks),
        tuple(notes),
    )


def _correlations(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the maps (C, B, h, w) of two parts: for the same patch, and for one patch and the next."""
    count, patches = first.shape[:2]
    same, other = (
        np.array(
            [
                # A map that is the same everywhere is like no other.
                np.nan_to_num(rank_correlation(first[c, p], second[c, (p + shift) % patches]))
                for c in range(count)
                for p in range(patches)
            ]
        )
        for shift in (0, 1)
    )
    return same, other


# --- Claims 9 and 10: without a part ------------------------------------------------------------


def pairs_of_runs(
    variant: str, seeds: Sequence[int] = (0, 1, 2), directory: str | None = None
) -> dict[int, tuple[DCFNet, DCFNet]]:
    """Retrained narrow networks, by seed: the whole one, and the one that differs from it.

    Args:
        variant: As in the name of the run, for example ``"without-pcft"``.
        seeds: Those to look for; seeds whose two runs are not both there and finished are left
            out.
        directory: The folder of all runs, ``data/runs`` unless given.
    """
    names = {s: (f"narrow-whole-{s}", f"narrow-{variant}-{s}") for s in seeds}
    runs = read_runs([name for pair in names.values() for name in pair], directory)
    done = {
        name for name, run in runs.items() if run.record.get("stopped") in ("epochs", "patience")
    }
    return {
        seed: (load_trained(pair[0], directory), load_trained(pair[1], directory))  # type: ignore[misc]
        for seed, pair in names.items()
        if done.issuperset(pair)
    }


def context(
    model: DCFNet,
    patches: Patches,
    retrained: Mapping[int, tuple[DCFNet, DCFNet]],
    whole: Mapping[str, np.ndarray] | None = None,
) -> Finding:
    """Claim 9: PCFT helps the branches capture global context.

    The effect is the radius of a branch's effective field with PCFT minus that without, at the
    end of stage 3's branches 1 and 2: in the trained network with both PCFTs switched off, one
    effect per patch; in networks retrained without, one effect per seed, the mean over patches.
    The check on seeds is open with fewer than two. What ERGAS does is noted.

    Args:
        model: The trained network.
        patches: Larger than the fields.
        retrained: From `pairs_of_runs`.
        whole: What `radii` finds for the trained network on these patches, where it is known.
    """
    names = BRANCHES[1:]
    whole, error = whole or radii(model, patches, names), errors(model, patches)
    with switched_off(model, ("pcft1", "pcft2")):
        off, error_off = radii(model, patches, names), errors(model, patches)
    pairs = {
        s: (radii(a, patches, names), radii(b, patches, names)) for s, (a, b) in retrained.items()
    }
    checks, numbers = [], []
    for i, name in enumerate(names, start=1):
        of_seeds = np.array([a[name].mean() - b[name].mean() for a, b in pairs.values()])
        effect = whole[name] - off[name]
        checks.append(Check(f"branch {i} sees further; switched off at inference", effect))
        checks.append(Check(f"branch {i} sees further; retrained without", of_seeds, "seeds", 2))
        numbers.append(
            f"branch {i} {_spread(effect, '+.1f')} (switched off), "
            f"{_spread(of_seeds, '+.1f')} (retrained)"
        )
    better = [errors(b, patches).mean() - errors(a, patches).mean() for a, b in retrained.values()]
    return Finding(
        9,
        "PCFT helps the branches capture global context",
        f"Radius of half the effective field, with minus without PCFT (PAN pixels; "
        f"{len(pairs)} seeds retrained)",
        "; ".join(numbers),
        verdict(checks),
        tuple(checks),
        (
            f"ERGAS without PCFT, switched off at inference: {_spread(error_off - error, '+.2f')}",
            f"ERGAS without PCFT, retrained: {_spread(np.array(better), '+.3f')} "
            f"over {len(better)} seeds",
        ),
    )


def cooperation(
    model: DCFNet,
    patches: Patches,
    retrained: Mapping[int, tuple[DCFNet, DCFNet]],
    narrow_patches: Patches | None = None,
    names: Sequence[str] | None = None,
) -> Finding:
    """Claim 10: parallel branches cooperate; without a transfer the result is worse.

    The effect is ERGAS without minus ERGAS with the part: each transfer switched off by itself at
    inference, one effect per patch, without sharing its weight out (what sharing does is noted);
    and narrow networks retrained without any transfer, one effect per seed. The check on seeds is
    open with fewer than two.

    Args:
        model: The trained network.
        patches: For it.
        retrained: From `pairs_of_runs`.
        narrow_patches: For those, which take less time; ``patches`` unless given.
        names: The transfers, all unless given.
    """
    names = names or [name for name in REMOVABLE if ".transfers." in name]
    whole = errors(model, patches)
    checks, shared, means = [], [], []
    for name in names:
        label = name.replace(".fusion.transfers.", ", ").replace("_to_", " to ")
        with switched_off(model, name):
            effect = errors(model, patches) - whole
        with switched_off(model, name, renormalise=True):
            shared.append(f"{label}: {_spread(errors(model, patches) - whole, '+.2f')}")
        means.append(np.median(effect))
        checks.append(Check(f"{label} switched off at inference", effect))
    with switched_off(model, names):
        every = errors(model, patches) - whole
    narrow = narrow_patches or patches
    of_seeds = np.array(
        [(errors(b, narrow) - errors(a, narrow)).mean() for a, b in retrained.values()]
    )
    checks.append(Check("no transfer at all, retrained", of_seeds, "seeds", 2))
    return Finding(
        10,
        "Parallel branches cooperate",
        f"ERGAS without transfers minus with them ({len(of_seeds)} seeds retrained)",
        f"one off at inference: medians {min(means):+.2f} to {max(means):+.2f}; "
        f"none at all, retrained: {_spread(of_seeds, '+.3f')}",
        verdict(checks),
        tuple(checks),
        (
            f"all off at inference: {_spread(every, '+.2f')}; ERGAS with all: {_spread(whole)}",
            "weight shared out among the others instead: " + "; ".join(shared),
        ),
    )
