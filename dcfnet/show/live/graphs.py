"""Pieces of a traced network as ONNX models, which share one file of weights.

ONNX is the form in which a runtime in the browser takes a network. The rules below translate the
dozen operators that `trace` leaves; one that has no rule is refused.

Reference:
    Open Neural Network Exchange, operators of version 17, https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, fx

from dcfnet.imagery.filters import exp_upsample
from dcfnet.show.live.trace import Piece, Trace

WEIGHTS_FILE = "weights"
"""What the models call the file of weights, all float32, that they share."""

MARGIN = 9
"""MS pixels around an image that its interpolation looks at."""

_OPSET, _IR_VERSION = 17, 8
_SMALL = 16
"""Up to so many numbers stand in the model itself: shares, scalars."""

aten = torch.ops.aten


class Weights:
    """The weights that the models of one network share, each stored once."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []  # the file's content, float32, one after the other
        self._protos: dict[tuple[Any, ...], TensorProto] = {}
        self._end = 0

    def proto(self, value: Tensor) -> TensorProto:
        """A weight as a model refers to it; it is stored if it is new."""
        key = (value.data_ptr(), tuple(value.shape), value.stride())
        if key not in self._protos:
            name = f"w{len(self._protos)}"
            array = value.detach().contiguous().numpy().astype(np.float32)
            self._protos[key] = self._stored(name, array)
        return self._protos[key]

    def _stored(self, name: str, array: np.ndarray) -> TensorProto:
        if array.size <= _SMALL:
            return numpy_helper.from_array(array, name)
        proto = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=array.shape)
        proto.data_location = TensorProto.EXTERNAL
        place = {"location": WEIGHTS_FILE, "offset": self._end, "length": array.nbytes}
        for key, number in place.items():
            proto.external_data.add(key=key, value=str(number))
        self.arrays.append(array)
        self._end += array.nbytes
        return proto


class _Writer:
    """Translates nodes; `names` says what they are called in the model."""

    def __init__(self, trace: Trace, weights: Weights) -> None:
        self.values, self.weights = trace.values, weights
        self.names: dict[fx.Node, str] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.used: dict[str, TensorProto] = {}

    def name(self, node: fx.Node) -> str:
        if node not in self.values:
            return self.names.get(node, node.name)
        proto = self.weights.proto(self.values[node])
        self.used[proto.name] = proto
        return proto.name

    def whole_numbers(self, *numbers: int) -> str:
        name = "_".join(map(str, ("int64", *numbers)))
        self.used[name] = numpy_helper.from_array(np.array(numbers, np.int64), name)
        return name

    def add(self, kind: str, inputs: Iterable[fx.Node | str], output: str, **how: Any) -> str:
        names = [self.name(i) if isinstance(i, fx.Node) else i for i in inputs]
        self.nodes.append(helper.make_node(kind, names, [output], **how))
        return output

    def translate(self, node: fx.Node) -> None:
        if node.target not in _RULES:
            raise NotImplementedError(f"there is no rule to translate {node.target} to ONNX")
        # `add` has a factor for its second summand.
        if any(value != 1 for value in node.kwargs.values()):
            raise NotImplementedError(f"{node.target} is not expected with {node.kwargs}")
        _RULES[node.target](self, self.names.get(node, node.name), *node.args)


def _convolution(
    w: _Writer, out: str, x: fx.Node, weight: fx.Node, bias: fx.Node | None, *settings: Any
) -> None:
    stride, padding, dilation, transposed, output_padding, groups = settings
    how = {
        "kernel_shape": w.values[weight].shape[2:],
        "strides": stride,
        "pads": [*padding, *padding],
        "dilations": dilation,
        "group": groups,
    }
    if transposed:
        how["output_padding"] = output_padding
    inputs = [x, weight] if bias is None else [x, weight, bias]
    w.add("ConvTranspose" if transposed else "Conv", inputs, out, **how)


def _resize(w: _Writer, out: str, x: fx.Node, rows: fx.Node, cols: fx.Node) -> None:
    turned = w.add("Transpose", [cols], f"{out}_cols", perm=[1, 0])
    w.add("MatMul", [rows, w.add("MatMul", [x, turned], f"{out}_wide")], out)


def _around_mean(w: _Writer, out: str, x: fx.Node, gate: fx.Node) -> None:
    mean = w.add("ReduceMean", [x], f"{out}_mean", axes=[2, 3], keepdims=1)
    opened = w.add("Mul", [w.add("Sub", [x, mean], f"{out}_rest"), gate], f"{out}_opened")
    w.add("Add", [mean, opened], out)


def _mean(w: _Writer, out: str, x: fx.Node, axes: Sequence[int]) -> None:
    w.add("ReduceMean", [x], out, axes=[axis % 4 for axis in axes], keepdims=0)


def _slice(w: _Writer, out: str, x: fx.Node, axis: int, start: int, stop: int) -> None:
    if axis != 1:
        raise NotImplementedError("only channels are cut: a size of the image would stay fixed")
    w.add("Slice", [x, *(w.whole_numbers(n) for n in (start, stop, axis))], out)


_RULES: Mapping[Any, Callable[..., object]] = {
    aten.convolution.default: _convolution,
    aten.relu.default: lambda w, out, x: w.add("Relu", [x], out),
    aten.sign.default: lambda w, out, x: w.add("Sign", [x], out),
    aten.add.Tensor: lambda w, out, x, y: w.add("Add", [x, y], out),
    aten.mul.Tensor: lambda w, out, x, y: w.add("Mul", [x, y], out),
    aten.cat.default: lambda w, out, xs, axis: w.add("Concat", xs, out, axis=axis),
    aten.transpose.int: lambda w, out, x, *_: w.add("Transpose", [x], out, perm=[1, 0]),
    aten.mean.dim: _mean,
    aten.slice.Tensor: _slice,
    torch.ops.dcfnet.resize.default: _resize,
    torch.ops.dcfnet.around_mean.default: _around_mean,
}


def model_of(
    trace: Trace, piece: Piece, weights: Weights, outputs: Iterable[str] | None = None
) -> onnx.ModelProto:
    """A piece as an ONNX model for images of any size in multiples of 4.

    All gates come as one input ``gates``, in the order of ``trace.gates``.

    Args:
        trace: What the piece was cut from.
        piece: The piece.
        weights: Takes up the piece's weights; pass the same one for all pieces of a network.
        outputs: Which of the piece's outputs to give, all unless given.

    Raises:
        NotImplementedError: The piece holds an operator that has no rule.
    """
    writer = _Writer(trace, weights)
    gates = {name: node for name, node in piece.inputs.items() if name in trace.gates}
    images = {name: node for name, node in piece.inputs.items() if name not in gates}
    results = {n: piece.outputs[n] for n in (piece.outputs if outputs is None else outputs)}
    writer.names.update({node: name for name, node in {**images, **results}.items()})
    inputs = [_info(name, node) for name, node in images.items()]
    if gates:
        inputs.append(helper.make_tensor_value_info("gates", TensorProto.FLOAT, [len(trace.gates)]))
        for name, node in gates.items():
            index = trace.gates.index(name)
            ends = [writer.whole_numbers(n) for n in (index, index + 1)]
            writer.add("Slice", ["gates", *ends], node.name)
            writer.names[node] = node.name
    for node in piece.nodes:
        writer.translate(node)
    given = [_info(name, node) for name, node in results.items()]
    return _model(writer.nodes, inputs, given, writer.used.values())


def interpolating(bands: int) -> onnx.ModelProto:
    """MS interpolated as by `dcfnet.imagery.filters.exp_upsample`, as a model.

    From ``wide``, MS with `MARGIN` pixels around it, to ``ms`` and ``lms`` without them.
    """
    centre, reach = 4 * MARGIN + 2, 33  # of one MS pixel's influence, in pixels of PAN
    impulse = np.zeros((2 * MARGIN + 1, 2 * MARGIN + 1), np.float32)
    impulse[MARGIN, MARGIN] = 1
    response = exp_upsample(impulse)[centre]
    taps = response[centre - reach : centre + reach + 1] / np.sqrt(response[centre])
    constants = {
        "down": np.tile(taps[:, None], (bands, 1, 1, 1)).astype(np.float32),
        "across": np.tile(taps, (bands, 1, 1, 1)).astype(np.float32),
        "axes": np.array([2, 3]),
    }
    for at in (MARGIN, -MARGIN, 4 * MARGIN, -4 * MARGIN):
        constants[f"at {at}"] = np.array([at, at])
    spread = partial(helper.make_node, "ConvTranspose", group=bands)
    nodes = [
        spread(["wide", "down"], ["tall"], strides=[4, 1], pads=[31, 0, 32, 0]),
        spread(["tall", "across"], ["fine"], strides=[1, 4], pads=[0, 31, 0, 32]),
    ]
    for image, name, margin in (("wide", "ms", MARGIN), ("fine", "lms", 4 * MARGIN)):
        ends = [f"at {margin}", f"at {-margin}"]
        nodes.append(helper.make_node("Slice", [image, *ends, "axes"], [name]))
    images = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, bands, None, None])
        for name in ("wide", "ms", "lms")
    ]
    values = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    return _model(nodes, images[:1], images[1:], values)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    values: Iterable[TensorProto],
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "piece", inputs, outputs, list(values))
    opset = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)


def _info(name: str, node: fx.Node) -> onnx.ValueInfoProto:
    """Batch and channels are fixed, rows and columns are not."""
    shape = node.meta["val"].shape
    alpha = node.target is aten.mean.dim
    dims = list(shape) if alpha else [*shape[:-2], None, None]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
