"""Grad-CAM for a network that outputs an image.

Grad-CAM asks which features a class score y^c rests on. A pansharpening network has no classes;
here a band of the fused image stands for one, and y^c is that band's mean over a region. Everything
else is as for a classifier: a layer has the activations A^k, k = 1..K, of h x w pixels, and

    alpha_k = 1 / (h w) sum_ij dy^c / dA^k_ij                                         (Eq. 1)
    map     = ReLU(sum_k alpha_k A^k)                                                 (Eq. 2)

`GradCAM` keeps the activations of any number of layers in one forward pass, and then needs one
backward pass for each y^c, whatever the number of layers. `LayerMaps` is what it finds at a layer.

Reference:
    R. R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh and D. Batra, "Grad-CAM: Visual
    Explanations from Deep Networks via Gradient-based Localization", ICCV 2017. Equation numbers
    are those of the supplement of Wu et al., ICCV 2021.
"""

import contextlib
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from dcfnet.inside.hooks import replaced, require_parts
from dcfnet.networks.base import as_used

Region = tuple[int | slice, int | slice] | np.ndarray | Tensor | None
"""Where a band is averaged: what indexes a (H, W) array, see `GradCAM.maps`."""


@dataclass(frozen=True, eq=False)
class LayerMaps:
    """What Grad-CAM finds at one layer, at the layer's own resolution of h x w pixels.

    B is the number of images of the forward pass. ``*T`` is nothing where one y^c was asked for,
    and the number of them where a list was. All tensors are detached, on the network's device.

    Attributes:
        layer: The layer's dotted name.
        activations: A, (B, K, h, w).
        alpha: The weight of each activation, Eq. 1, ``(*T, B, K)``.
    """

    layer: str
    activations: Tensor
    alpha: Tensor

    @property
    def features(self) -> Tensor:
        """The feature map: the mean of A over its channels, (B, h, w). It knows no y^c."""
        return self.activations.mean(dim=1)

    @property
    def signed(self) -> Tensor:
        """Sum over k of alpha_k A^k, ``(*T, B, h, w)``: negative where A speaks against y^c."""
        return _weighted_sum(self.alpha, self.activations)

    def map(self, relu: Literal["after", "before"] = "after") -> Tensor:
        """The class activation map, ``(*T, B, h, w)``, at least 0.

        Args:
            relu: ``"after"`` the sum over k, as Eq. 2 is printed; or ``"before"`` it, the sum of
                ReLU(alpha_k A^k). The second is nowhere less than the first: what channels say
                against y^c no longer cancels what others say for it.
        """
        if relu == "after":
            return self.signed.relu()
        if relu == "before":
            # A product is positive where both factors are, or neither is.
            alpha, activations = self.alpha, self.activations
            both = _weighted_sum(alpha.relu(), activations.relu())
            return both + _weighted_sum((-alpha).relu(), (-activations).relu())
        raise ValueError(f'relu must be "after" or "before" the sum over channels, got {relu!r}')


def _weighted_sum(alpha: Tensor, activations: Tensor) -> Tensor:
    return torch.einsum("...bk,bkhw->...bhw", alpha, activations)


class GradCAM:
    """Class activation maps of chosen layers, for any band and region of the fused image.

    The network is looked at as it is used, in eval mode; hooks, modes and frozen parameters last
    only as long as the forward pass, after which the network is as it was, also after an error.
    What the layers put out is kept until the end of the ``with`` block, or the next forward pass.

    A layer's activations are the tensor that its module returns, as it returns it: a step in place
    after it changes nothing, and y^c is differentiated along the paths that leave from there only.

    Args:
        model: Any network that returns an image (B, C, H, W): the six networks here, or your own.
        layers: Dotted names of modules, one or several; ``model.parts()`` lists those of a DCFNet,
            ``model.named_modules()`` all of any network. A layer must be called once in a forward
            pass and return a tensor (B, K, h, w).

    Raises:
        ValueError: The network has no layer of that name; there are no names; or the network is a
            copy for inference, whose layers hold other values.

    Example:
        >>> with GradCAM(model, ["stage3.fusion.fused.0", "head.concat"]) as cam:
        ...     fused = cam(pan, ms, lms)
        ...     maps = cam.maps(4)                                    # band 4, whole image
        ...     boxes = cam.maps([4, 6], region=np.s_[10:20, 30:40])  # two bands, rows 10 to 19
        >>> maps["head.concat"].map()[0]                              # (H, W), of the first image
    """

    def __init__(self, model: nn.Module, layers: str | Iterable[str]) -> None:
        if getattr(model, "for_inference", False):
            raise ValueError(
                "this copy was made by fused_for_inference(), where a convolution has taken in "
                "what followed it: pass the network that it was made from"
            )
        self.layers = require_parts(model, [layers] if isinstance(layers, str) else layers)
        if not self.layers:
            raise ValueError("no layer to look at: pass at least one name, see model.named_modules")
        self.model = model
        self._fused: Tensor | None = None
        self._activations: dict[str, Tensor] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget the forward pass, which frees its memory. Results already returned stay."""
        self._fused, self._activations = None, {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        """One forward pass of ``pan, ms, lms``, for all layers and all maps that follow.

        There may be B images: in eval mode none influences another, so each gets its own maps. The
        fused image, (B, C, H, W), is returned detached.
        """
        self.close()
        kept: dict[str, Tensor] = {}
        with contextlib.ExitStack() as stack:
            stack.enter_context(as_used(self.model))
            hooks = {layer: partial(self._keep, kept, layer) for layer in self.layers}
            stack.enter_context(replaced(self.model, hooks))
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            fused = self.model(*(image.detach().clone() for image in inputs))
        if missed := [layer for layer in self.layers if layer not in kept]:
            raise ValueError(
                f"the forward pass did not call {', '.join(map(repr, missed))}: pass modules that "
                f"the network calls{self._inside(missed[0])}"
            )
        if not isinstance(fused, Tensor) or fused.ndim != 4:
            what = tuple(fused.shape) if isinstance(fused, Tensor) else type(fused).__name__
            raise TypeError(
                f"the network must return an image (B, C, H, W) for its bands to stand for "
                f"classes, got {what}"
            )
        self._fused = fused
        self._activations = {layer: kept[layer] for layer in self.layers}
        return fused.detach().clone()  # to do with as one likes

    def maps(
        self, bands: int | Sequence[int] | Mapping[int, float] | None = None, region: Region = None
    ) -> dict[str, LayerMaps]:
        """Grad-CAM at every layer, with one backward pass for each y^c.

        Args:
            bands: Which y^c, bands counted from 0. A number: that band's mean. A list: each of
                these bands by itself. A dictionary, band to weight: the weighted sum of these
                bands' means, for example ``{4: 0.5, 2: 0.5}``. None: every band by itself.
            region: The pixels of the fused image over which the mean is taken: all, unless given.
                Indexes a (H, W) array as in numpy: a pixel ``(row, column)``, a box
                ``np.s_[top:bottom, left:right]``, or a boolean mask (H, W).

        Returns:
            By layer, in the order in which they were named.
        """
        fused = self._seen()
        weights = _band_weights(bands, fused.shape[1])
        area = _region_weights(region, *fused.shape[-2:])
        alpha: dict[str, list[Tensor]] = {layer: [] for layer in self.layers}
        # One by one: batched gradients (vmap) take more time on a CPU, and all the memory.
        for row in weights.reshape(-1, fused.shape[1]):
            for layer, gradient in self._gradients(row, area).items():
                alpha[layer].append(gradient.mean(dim=(-2, -1)))
        found = {}
        with torch.inference_mode(False):
            for layer, activations in self._activations.items():
                shape = *weights.shape[:-1], *activations.shape[:2]
                each = torch.stack(alpha[layer]).reshape(shape)
                found[layer] = LayerMaps(layer, activations.detach(), each)
        return found

    def gradients(
        self, band: int | Mapping[int, float], region: Region = None
    ) -> dict[str, Tensor]:
        """The derivatives dy^c/dA, which Eq. 1 averages, of one y^c: (B, K, h, w) by layer."""
        fused = self._seen()
        weights = _band_weights(band, fused.shape[1])
        return self._gradients(weights, _region_weights(region, *fused.shape[-2:]))

    def _seen(self) -> Tensor:
        if self._fused is None:
            raise RuntimeError(
                "there is no forward pass to look at: call cam(pan, ms, lms) first, and the maps "
                "before the with block ends"
            )
        return self._fused

    def _keep(self, kept: dict[str, Tensor], layer: str, output: Any) -> Tensor:
        if not isinstance(output, Tensor):
            raise TypeError(
                f"layer {layer!r} returns a {type(output).__name__}, not a tensor: pass modules "
                f"that return one{self._inside(layer)}"
            )
        if output.ndim != 4:
            raise ValueError(
                f"layer {layer!r} returns a tensor of shape {tuple(output.shape)}: expected "
                "(B, K, h, w)"
            )
        if layer in kept:
            raise ValueError(
                f"layer {layer!r} is called more than once in a forward pass, so it has no one set "
                "of activations: pass a module that is called once"
            )
        # Two copies, one to keep and one for the network, which may overwrite what it gets.
        copy = output.clone()
        # The graph of derivatives starts here, unless it has done so at an earlier layer.
        kept[layer] = copy if copy.requires_grad else copy.requires_grad_()
        return kept[layer].clone()

    def _gradients(self, weights: np.ndarray, area: np.ndarray) -> dict[str, Tensor]:
        """dy^c/dA of every layer, given the weight of each band and each pixel in y^c."""
        fused, activations = self._seen(), list(self._activations.values())
        gradients: Sequence[Tensor | None] = [None] * len(activations)
        with torch.inference_mode(False):
            if fused.requires_grad:
                slopes = torch.from_numpy(weights[:, None, None] * area).to(fused).expand_as(fused)
                gradients = torch.autograd.grad(
                    fused, activations, slopes, retain_graph=True, allow_unused=True
                )
        found = {}
        for layer, gradient in zip(self.layers, gradients, strict=True):
            if gradient is None:
                raise ValueError(
                    f"the fused image does not depend on layer {layer!r}: its output goes nowhere, "
                    "or is detached on its way"
                )
            found[layer] = gradient
        return found

    def _inside(self, layer: str) -> str:
        within = self.model.get_submodule(layer).named_modules(prefix=layer)
        inside = [name for name, _ in within][1:]
        return f", for example {' or '.join(map(repr, inside[:3]))}" if inside else ""


def _band_weights(
    bands: int | Sequence[int] | Mapping[int, float] | None, count: int
) -> np.ndarray:
    """The weight of each band in each y^c, (*T, count)."""
    if bands is None:
        bands = range(count)
    many = list(bands) if isinstance(bands, Iterable) else [bands]
    indices = [operator.index(band) for band in many]
    if not indices or not all(0 <= band < count for band in indices):
        raise ValueError(
            f"bands must be out of 0 to {count - 1}, at least one of the {count} of the fused "
            f"image, got {bands!r}"
        )
    each = np.eye(count)[indices]
    if isinstance(bands, Mapping):
        return np.array(list(bands.values()), np.float64) @ each
    return each if isinstance(bands, Iterable) else each[0]


def _region_weights(region: Region, height: int, width: int) -> np.ndarray:
    """The weight of each pixel in the mean, (height, width), together 1."""
    if isinstance(region, Tensor):
        region = region.cpu().numpy()
    if isinstance(region, np.ndarray) and region.dtype == bool:
        valid = region.shape == (height, width)
    elif isinstance(region, tuple) and len(region) == 2:
        valid = all(isinstance(index, (Integral, slice)) for index in region)
    else:
        valid = region is None
    if not valid:
        found = repr(region)
        if isinstance(region, np.ndarray):
            found = f"an array of shape {region.shape} and type {region.dtype}"
        raise TypeError(
            "region must be a pixel (row, column), a box np.s_[top:bottom, left:right] or a "
            f"boolean mask of shape {(height, width)}, got {found}"
        )
    weights = np.zeros((height, width))
    try:
        weights[... if region is None else region] = 1
    except IndexError as error:
        raise ValueError(
            f"the pixel {region} lies outside the fused image of {height} x {width} pixels"
        ) from error
    if not weights.any():
        raise ValueError(
            f"the region holds no pixel of the fused image of {height} x {width} pixels"
        )
    return weights / weights.sum()
