"""The emitted graphs in ONNX Runtime, as the page's worker uses them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from dcfnet.networks.dcfnet import DCFNet
from dcfnet.show.live.graphs import WEIGHTS_FILE, Weights, model_of
from dcfnet.show.live.ready import interpolation
from dcfnet.show.live.trace import trace


class Runtime:
    """A network's graphs, written to a folder and opened."""

    def __init__(self, model: DCFNet, folder: Path) -> None:
        self.trace = made = trace(model)
        weights = Weights()
        pieces = {"forward": made.forward}
        pieces.update({f"backward{i}": piece for i, piece in enumerate(made.backward)})
        models = {name: model_of(made, piece, weights) for name, piece in pieces.items()}
        models["fused"] = model_of(made, made.forward, weights, outputs=["fused"])
        (folder / WEIGHTS_FILE).write_bytes(b"".join(map(np.ndarray.tobytes, weights.arrays)))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.sessions = {}
        for name, proto in models.items():
            path = folder / f"{name}.onnx"
            onnx.save(proto, path)
            onnx.checker.check_model(path)
            self.sessions[name] = onnxruntime.InferenceSession(path, options)

    def fuse(self, pan, ms, lms, gates: Mapping[str, float] | None = None, graph="forward"):
        """(1, C, H, W). All values of the image stay, for `maps`."""
        self.values = {"pan": pan.numpy(), "ms": ms.numpy(), "lms": lms.numpy()}
        for name in self.trace.matrices:
            axis, start, end = name.split("_")
            size = pan.shape[-2 if axis == "rows" else -1]
            self.values[name] = interpolation(size // int(start), size // int(end)).numpy()
        opened = [(gates or {}).get(name, 1) for name in self.trace.gates]
        self.values["gates"] = np.array(opened, np.float32)
        self._run(graph)
        return self.values["fused"]

    def maps(self, band: int, region: np.ndarray) -> dict[str, np.ndarray]:
        """The signed map (h, w) of every part."""
        slopes = np.zeros_like(self.values["lms"])
        slopes[0, band] = region / region.sum()
        self.values["slopes"] = slopes
        for i in range(len(self.trace.backward)):
            self._run(f"backward{i}")
        return {
            layer: np.einsum("bk,bkhw->hw", self.values[alpha], self.values[activations])
            for layer, (activations, alpha) in self.trace.layers.items()
        }

    def _run(self, name: str) -> None:
        session = self.sessions[name]
        wanted = {value.name: self.values[value.name] for value in session.get_inputs()}
        names = [value.name for value in session.get_outputs()]
        self.values.update(zip(names, session.run(names, wanted), strict=True))
