"""In JupyterLab the kernel answers what the network in a page answers, with the same controls.

The page's scripts ask a network, wherever it runs, to fuse a patch and for maps; here the questions
come as messages of a widget, and torch answers them. Needs anywidget (extra `lab`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from torch import Tensor

from dcfnet.inside.gradcam import LayerMaps
from dcfnet.networks.base import as_used
from dcfnet.networks.dcfnet import DCFNet
from dcfnet.show.live.trace import watched


class KernelPage(anywidget.AnyWidget):
    """A piece of a page as a widget whose questions the kernel answers, as worker.js does in pages.

    Args:
        html: The piece.
        scripts: What draws it.
        models: By the names under which pages load them.
    """

    html = traitlets.Unicode().tag(sync=True)

    def __init__(self, html: str, scripts: str, models: Mapping[str, DCFNet]) -> None:
        self._esm = scripts
        super().__init__(html=html)
        self.models = models
        self._fused = torch.empty(0)
        self._kept: dict[str, Tensor] = {}
        self.on_msg(self._answer)

    def fuse(
        self,
        network: str,
        images: Sequence[np.ndarray],
        gates: Mapping[str, float],
        maximum: float,
    ) -> np.ndarray:
        """The fused image of one patch, in digital numbers; its activations are kept for `maps`.

        ``images`` are ``pan`` (H, W), ``ms`` (C, H/4, W/4) and ``lms`` (C, H, W), ``maximum`` is
        the sensor's largest value. A gate, see `dcfnet.show.live.gate_names`, is 1 unless given.
        """
        model = self.models[network]
        like = next(model.parameters())
        pan, ms, lms = (torch.as_tensor(image).to(like)[None] / maximum for image in images)
        opened = {name: like.new_tensor(value) for name, value in gates.items()}
        with as_used(model), torch.enable_grad(), watched(model, opened, model.parts()) as kept:
            self._fused = model(pan[None], ms, lms)
        self._kept = kept
        return (self._fused.detach()[0] * maximum).cpu().numpy()

    def maps(
        self, weights: Sequence[float], mask: np.ndarray | None, layers: Sequence[str]
    ) -> dict[str, LayerMaps]:
        """Grad-CAM of the image that was fused last: a weight for each band, a region (H, W)."""
        fused = self._fused
        area = fused.new_ones(fused.shape[-2:]) if mask is None else torch.as_tensor(mask).to(fused)
        slopes = fused.new_tensor(weights)[:, None, None] * area / area.sum()
        kept = [self._kept[layer] for layer in layers]
        gradients = torch.autograd.grad(fused, kept, slopes[None], retain_graph=True)
        return {
            layer: LayerMaps(layer, activations.detach(), gradient.mean((-2, -1)))
            for layer, activations, gradient in zip(layers, kept, gradients, strict=True)
        }

    def _answer(self, _: object, question: dict[str, Any], buffers: Sequence[memoryview]) -> None:
        try:
            content, made = self._answered(question, buffers)
        except Exception as error:  # the page says it, and goes on
            content, made = {"error": f"{type(error).__name__}: {error}"}, []
        sent = [np.ascontiguousarray(each, np.float32).tobytes() for each in made]
        self.send({"id": question["id"], **content}, sent)

    def _answered(
        self, asked: Mapping[str, Any], buffers: Sequence[memoryview]
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        if asked["command"] == "fuse":
            images = [
                np.frombuffer(each, np.float32).reshape(shape)
                for each, shape in zip(buffers, asked["shapes"], strict=True)
            ]
            fused = self.fuse(asked["network"], images, asked["gates"], asked["maximum"])
            return {"shape": fused.shape}, [fused]
        mask = np.frombuffer(buffers[0], np.uint8).reshape(asked["size"]) if buffers else None
        found = self.maps(asked["weights"], mask, asked["layers"])
        shapes = {name: list(each.activations.shape[1:]) for name, each in found.items()}
        arrays = [
            values[0].cpu().numpy()
            for each in found.values()
            for values in (each.features, each.signed, each.map("before"), each.alpha)
        ]
        return {"shapes": shapes}, arrays
