"""Claims 4 to 6: what the features of the branches hold."""

from __future__ import annotations

import copy

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter, uniform_filter
from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dcfnet.inside.cams import Hook, transfer_part
from dcfnet.inside.claims.rule import Numbers
from dcfnet.inside.claims.trained import BRANCHES, FUSED, Found, Trained
from dcfnet.networks import DCFNet
from dcfnet.networks.bricks import Head, Transfer

HOOKS: dict[Hook, str] = {
    "arrives": "as they arrive",
    "last convolution": "at their last convolution",
}
OPPOSITE = ((0, 1), (0, 2), (1, 2))
"""Pairs of branches: high resolution, low resolution."""


def explained(features: Tensor, target: Numbers, margin: int = 0) -> Numbers:
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


def detail(each: Trained) -> Found:
    """Claim 4: the main branch keeps its resolution and is rich in detail.

    How much of PAN's detail, PAN minus its Gaussian blur of 2 pixels, do the pixels of each fused
    branch tell (`explained`), interpolated to PAN's size as the head does it? Rich shall mean at
    least half, and more than the other branches tell, which have more channels.
    """
    pan = each.patches.pan[:, 0].double().cpu().numpy()
    fine = pan - gaussian_filter(pan, (0, 2, 2))
    told = [
        explained(up(each.activations[name]), fine)
        for name, up in zip(FUSED, _head(each.model).up, strict=True)
    ]
    found = {("tells at least half of PAN's detail", ""): told[0] - 0.5}
    for i in (1, 2):
        found[f"tells more of PAN's detail than branch {i}", ""] = told[0] - told[i]
    return found


# --- Claim 5 ------------------------------------------------------------------------------------


def feature_means(each: Trained) -> Found:
    """Claim 5: means of the main branch and of high-to-low transfers exceed those of the others.

    Such a mean is not identifiable: `shifted` makes a network with the same output and another
    mean of a transfer, and what multiplies a branch can be divided out in the layer after it. So
    the checks that count ask for what the output sees, which no such change can move: of a branch,
    the spread over pixels that it brings into the head's first convolution, after BN; of a
    transfer, the spread of a_ij T_ij as a share of all that its target gets. The effect is the
    logarithm of the ratio. Differences of means, as the claim reads, stand beside.
    """
    found = {}
    brought = [_brought_to_head(each, i) for i in range(3)]
    sizes = [_mean(each, name) for name in FUSED]
    for i in (1, 2):
        what = f"branch 0 above branch {i}"
        found[what, ""] = np.log(brought[0] / brought[i])
        found[what, "means of branches"] = sizes[0] - sizes[i]
    for high, low in OPPOSITE:
        what = f"T{low}{high} above T{high}{low}"
        ways = ((high, low), (low, high))
        down, up = (_share(each, *way) for way in ways)
        found[what, ""] = np.log(down / up)
        for hook, where in HOOKS.items():
            down, up = (_mean(each, transfer_part(*way, hook)) for way in ways)
            found[what, f"means of transfers {where}"] = down - up
    return found


def _mean(each: Trained, part: str) -> Numbers:
    return each.activations[part].mean(dim=(1, 2, 3)).double().cpu().numpy()


def _spread(values: Tensor) -> Tensor:
    """Of each image, over pixels, the variance; summed over channels, (B,)."""
    return values.double().flatten(2).var(dim=2).sum(dim=1)


@torch.no_grad()
def _brought_to_head(each: Trained, branch: int) -> Numbers:
    """Standard deviation of what a branch brings into the head's first layer, (B,)."""
    head = _head(each.model)
    layer = fuse_conv_bn_eval(head.mix.conv, head.mix.norm)
    weight = torch.split(layer.weight, list(each.model.channels), dim=1)[branch]
    brought = F.conv2d(each.activations[FUSED[branch]], weight)
    return _spread(head.up[branch](brought)).sqrt().cpu().numpy()


def _head(model: DCFNet) -> Head:
    assert isinstance(model.head, Head), "a copy for inference has another head"
    return model.head


@torch.no_grad()
def _share(each: Trained, source: int, target: int) -> Numbers:
    """Spread of a transfer, of all that its target gets, (B,)."""
    shares = each.model.stage3.fusion.shares()[target]
    arrived = [shares[j] * each.activations[transfer_part(j, target)] for j in range(3)]
    whole = torch.stack(arrived).sum(dim=0)
    return (_spread(arrived[source]) / _spread(whole)).sqrt().cpu().numpy()


@torch.no_grad()
def shifted(model: DCFNet, source: int, target: int, by: float) -> DCFNet:
    """A copy with the same output, whose transfer has another mean.

    Every channel of the transfer gets the constant, and the other transfer to the same target
    takes it back: both end with a BN of their own, whose offsets are free.

    Args:
        model: A DCFNet.
        source: Where the transfer comes from.
        target: Where it arrives, another branch.
        by: What its mean rises by.
    """
    copied = copy.deepcopy(model)
    fusion = copied.stage3.fusion
    (other,) = {0, 1, 2} - {source, target}
    a = fusion.shares()[target]
    for j, change in ((source, by), (other, -by * float(a[source] / a[other]))):
        transfer = fusion.transfers[f"{j}_to_{target}"]
        assert isinstance(transfer, Transfer)
        transfer.last.norm.bias.add_(change)
    return copied


# --- Claim 6 ------------------------------------------------------------------------------------


def surroundings(each: Trained, window: int = 17) -> Found:
    """Claim 6: the main branch, supplemented by the others, carries high-level content.

    "High-level" has no measure without labels. A weaker sense is tested: knowledge of the
    surroundings, which a pixel of the image does not have. The targets are NDVI and the standard
    deviation of brightness, of the true image, over ``window`` x ``window`` pixels; `explained`
    says how much of them single pixels tell. Checked are whether the fused main branch tells more
    than PAN and ``lms`` do, and more than the same branch before its fusion.
    """
    sources = {
        "PAN and lms": torch.cat((each.patches.pan, each.patches.lms), 1),
        "before the fusion": each.activations[BRANCHES[0]],
    }
    found = {}
    for title, target in _around(each, window).items():
        told = explained(each.activations[FUSED[0]], target, window // 2)
        for other, features in sources.items():
            effect = told - explained(features, target, window // 2)
            found[f"{title}: tells more than {other}", ""] = effect
    return found


def _around(each: Trained, window: int) -> dict[str, Numbers]:
    """What surrounds each pixel of the truth, (B, H, W)."""
    gt, bands = each.patches.gt.double().cpu().numpy(), each.patches.sensor.bands
    red, near = gt[:, bands.index("R")], gt[:, bands.index("N")]

    def mean(image: Numbers) -> Numbers:
        return uniform_filter(image, (0, window, window))

    bright = gt.mean(axis=1)
    return {
        "NDVI": mean((near - red) / np.maximum(near + red, 1e-6)),
        "texture": np.sqrt(np.maximum(mean(bright**2) - mean(bright) ** 2, 0)),
    }
