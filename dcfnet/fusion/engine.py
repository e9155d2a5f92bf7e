"""What computes a network on a CPU: OpenVINO where it is installed, and torch everywhere else.

OpenVINO knows the whole network before it begins, so it joins what torch does one after the other,
and stores weights and values between in blocks that suit the processor.
"""

import importlib.util
import warnings

import torch
from torch import Tensor, nn

from dcfnet.errors import DataError, unknown
from dcfnet.networks import PansharpeningNetwork

ENGINES = ("torch", "openvino")

WORTH_IT = 32
"""Tiles from which on OpenVINO's start, two seconds for DCFNet, is soon made good."""


def engine_for(model: nn.Module, device: torch.device, asked: str | None, tiles: int) -> str:
    """The engine for a network on a device, and so many tiles.

    By default it is OpenVINO where that is installed, the device a CPU and the scene not small.
    """
    if asked not in (None, *ENGINES):
        raise ValueError(unknown("engine", asked, ENGINES))
    can = device.type == "cpu" and isinstance(model, PansharpeningNetwork)
    there = importlib.util.find_spec("openvino") is not None
    if asked == "openvino" and not can:
        raise ValueError("OpenVINO computes this package's networks on a CPU: leave engine out")
    if asked == "openvino" and not there:
        raise DataError("OpenVINO is not installed: pip install 'dcfnet[fast]', or leave it out")
    return asked or ("openvino" if can and there and tiles >= WORTH_IT else "torch")


class OpenVINO:
    """A network made ready by OpenVINO, with convolutions in that precision, called as it is."""

    def __init__(self, model: PansharpeningNetwork, precision: str) -> None:
        import openvino
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        shapes = ((1, 32), (model.bands, 8), (model.bands, 32))
        images = [torch.zeros(1, bands, side, side) for bands, side in shapes]
        with torch.inference_mode(), warnings.catch_warnings():
            # Tracing notes each check of a shape; all tiles have one, and the result is tested.
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(model.fused_for_inference().cpu(), images, check_trace=False)
        # As `openvino.convert_model` does it, which may also report its use to its makers.
        reader = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(traced)  # the reader does not keep it
        self.network = reader.convert(reader.load(decoder))
        self.settings = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
        }
        self._compile = openvino.Core().compile_model
        self._shapes: list[list[int]] = []

    def __call__(self, *images: Tensor) -> Tensor:
        """``pan``, ``ms``, ``lms`` to the fused image. All tiles of a scene have one shape."""
        shapes = [list(image.shape) for image in images]
        if shapes != self._shapes:
            self.network.reshape(dict(zip(self.network.inputs, shapes, strict=True)))
            compiled = self._compile(self.network, "CPU", self.settings)
            self._request, self._shapes = compiled.create_infer_request(), shapes
        arrays = [image.contiguous().numpy() for image in images]
        return torch.from_numpy(self._request.infer(arrays, share_inputs=True)[0].copy())
