"""DCFNet and its Grad-CAM, written out as graphs of a dozen operators.

A reader's browser has no torch: what it runs is a list of operators. Torch makes that list itself:
the forward pass and the derivatives of Grad-CAM are traced together, on small images, and cut into
*pieces*. The first piece is the forward pass; the others carry dy^c/d(fused) back through the
network, each from where the one before it ended, and give the alphas of Eq. 1 on their way. So a
map of the last fusion costs a few milliseconds, and only a map of the stem the whole way back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from dcfnet.inside.hooks import replaced
from dcfnet.networks.dcfnet import DCFNet
from dcfnet.show.live.ready import Resize, around_mean, gate_names, interpolation, ready

aten = torch.ops.aten

WAYS_BACK: tuple[tuple[str, ...], ...] = (
    ("head", "stage3"),
    ("pcft2", "stage2"),
    ("pcft1", "to_branch0", "stage1"),
    ("stem",),
)
"""Which parts each piece of the way back reaches, by the first words of their names."""

# Rows and columns of what is traced. No two lengths, of either axis at any resolution, are the
# same, so that none can be taken for another.
_SIZE = (32, 48)


@dataclass(frozen=True)
class Piece:
    """A part of a traced graph that is run by itself."""

    nodes: tuple[fx.Node, ...]  # its operators, in the order of use
    inputs: Mapping[str, fx.Node]  # images, gates, matrices, results of earlier pieces
    outputs: Mapping[str, fx.Node]  # what it gives


@dataclass(frozen=True)
class Trace:
    """A network as pieces of one graph, for images of any size in multiples of 4."""

    gates: tuple[str, ...]  # names, see `dcfnet.show.live.ready.gate_names`
    matrices: tuple[str, ...]  # names: ``rows_4_2`` leads from a quarter of the rows to half
    layers: Mapping[str, tuple[str, str]]  # of each part, the names of its activations and alpha
    values: Mapping[fx.Node, Tensor]  # weights: what is known before any image is
    forward: Piece  # images to the fused image, called ``fused``, and all activations
    backward: tuple[Piece, ...]  # dy^c/d(fused), (1, C, H, W), to alphas; each needs those before

    def way_back(self, layer: str) -> int:
        """The index of the piece of ``backward`` that gives a layer's alpha."""
        return next(i for i, words in enumerate(WAYS_BACK) if layer.split(".")[0] in words)


def trace(model: DCFNet) -> Trace:
    """A network as graphs: its forward pass, its gates, and Grad-CAM of all its parts.

    Args:
        model: Any DCFNet; it stays as it is.

    Raises:
        RuntimeError: It is a copy for inference, whose parts hold other values.
    """
    net, layers, gates = ready(model), tuple(model.parts()), gate_names(model)
    lengths = {n: (_SIZE[0] // n, _SIZE[1] // n) for n in (1, 2, 4)}
    matrices = {
        f"{axis}_{a}_{b}": interpolation(lengths[a][i], lengths[b][i])
        for i, axis in enumerate(("rows", "cols"))
        for a, b in ((4, 2), (2, 1), (4, 1))
    }
    inputs = {
        "pan": torch.rand(1, 1, *_SIZE),
        "ms": torch.rand(1, model.bands, *lengths[4]),
        "lms": torch.rand(1, model.bands, *_SIZE),
        "slopes": torch.rand(1, model.bands, *_SIZE),
        **matrices,
        **{name: torch.ones(1) for name in gates},
    }

    def joint(*tensors: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(inputs, tensors, strict=True))
        for module in net.modules():
            if isinstance(module, Resize):
                module.matrices = {tuple(given[name].shape): given[name] for name in matrices}
        with watched(net, {name: given[name] for name in gates}, layers) as kept:
            fused = net(given["pan"], given["ms"], given["lms"])
        activations = [kept[layer] for layer in layers]
        gradients = torch.autograd.grad(fused, activations, given["slopes"])
        return (fused, *activations, *(gradient.mean((-2, -1)) for gradient in gradients))

    module = make_fx(joint, decomposition_table=_DECOMPOSITIONS)(*inputs.values())
    return _cut(module, tuple(inputs), layers, tuple(matrices), gates)


@contextlib.contextmanager
def watched(
    net: DCFNet, gates: Mapping[str, Tensor], layers: Iterable[str]
) -> Iterator[dict[str, Tensor]]:
    """Inside the block the network has gates and keeps activations as `dcfnet.GradCAM` does.

    Args:
        net: The network.
        gates: By the names of `gate_names`.
        layers: The parts to keep, into the dictionary that the block gets.
    """
    kept: dict[str, Tensor] = {}

    def keep(output: Tensor, layer: str) -> Tensor:
        copied = output.clone()
        # Derivatives along the paths that leave from here only.
        kept[layer] = copied if copied.requires_grad else copied.detach().requires_grad_()
        return kept[layer].clone()

    pcfts = {n: partial(around_mean, gate=g) for n, g in gates.items() if n.startswith("pcft")}
    shares = {n: partial(torch.mul, g) for n, g in gates.items() if n not in pcfts}
    # A PCFT is looked at as it hands on, a transfer as it arrives, whatever its share.
    with (
        replaced(net, pcfts),
        replaced(net, {layer: partial(keep, layer=layer) for layer in layers}),
        replaced(net, shares),
    ):
        yield kept


# --- Operators of the way back ------------------------------------------------------------------


def _convolution_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, *settings: Any
) -> tuple[Tensor, None, None]:
    """With respect to the input alone: a transposed convolution."""
    _, stride, padding, dilation, transposed, _, groups, wanted = settings
    assert list(wanted) == [True, False, False] and not transposed
    missing = [
        x.shape[2 + i] - ((gradient.shape[2 + i] - 1) * stride[i] - 2 * padding[i] + kernel)
        for i, kernel in enumerate(weight.shape[2:])
    ]
    turned = nn.functional.conv_transpose2d(
        gradient, weight, None, stride, padding, missing, groups, dilation
    )
    return turned, None, None


def _threshold_backward(gradient: Tensor, result: Tensor, threshold: float) -> Tensor:
    return gradient * torch.sign(result)  # of a ReLU: 0 or above


_DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    aten.convolution_backward.default: _convolution_backward,
    aten.threshold_backward.default: _threshold_backward,
}
_NOTHING = {aten.clone.default, aten.detach.default, aten.alias.default, aten.view.default}
"""Operators that give what they get, in a graph where nothing works in place."""


# --- Cutting ------------------------------------------------------------------------------------


def _cut(
    module: fx.GraphModule,
    inputs: tuple[str, ...],
    layers: tuple[str, ...],
    matrices: tuple[str, ...],
    gates: tuple[str, ...],
) -> Trace:
    nodes = _without_nothing(module.graph)
    values = _known(module)
    given = dict(zip(inputs, (n for n in nodes if n.op == "placeholder"), strict=True))
    ends: Any = nodes[-1].args[0]
    fused, *rest = ends
    activations = dict(zip(layers, rest[: len(layers)], strict=True))
    alphas = dict(zip(layers, rest[len(layers) :], strict=True))

    # What follows from gates and matrices alone is quick to make: each piece makes its own.
    everywhere = {given[name] for name in (*matrices, *gates)}
    for node in nodes[:-1]:
        before = [n for n in node.all_input_nodes if n not in values]
        if before and everywhere.issuperset(before):
            everywhere.add(node)

    results = [[fused, *activations.values()]]
    for words in WAYS_BACK:
        results.append([alpha for layer, alpha in alphas.items() if layer.split(".")[0] in words])
    made: set[fx.Node] = set()
    parts = []
    for wanted in results:
        parts.append(_needed(nodes, wanted, made | values.keys()))
        made.update(node for node in parts[-1] if node not in everywhere)

    names = {**{node: node.name for node in nodes}, fused: "fused"}
    names.update({node: name for name, node in given.items()})
    pieces = []
    for index, own in enumerate(parts):
        outside = {n for node in own for n in node.all_input_nodes} - set(own) - values.keys()
        later = {n for part in parts[index + 1 :] for node in part for n in node.all_input_nodes}
        handed_on = [node for node in own if node in later and node not in everywhere]
        outputs = dict.fromkeys([*results[index], *handed_on])
        pieces.append(
            Piece(
                nodes=tuple(own),
                inputs={names[node]: node for node in nodes if node in outside},
                outputs={names[node]: node for node in outputs},
            )
        )
    return Trace(
        gates=gates,
        matrices=matrices,
        layers={layer: (names[activations[layer]], names[alphas[layer]]) for layer in layers},
        values=values,
        forward=pieces[0],
        backward=tuple(pieces[1:]),
    )


def _without_nothing(graph: fx.Graph) -> list[fx.Node]:
    for node in list(graph.nodes):
        if node.target in _NOTHING:
            given = node.all_input_nodes[0]
            assert node.meta["val"].shape == given.meta["val"].shape
            node.replace_all_uses_with(given)
            graph.erase_node(node)
    graph.eliminate_dead_code()
    return list(graph.nodes)


def _known(module: fx.GraphModule) -> dict[fx.Node, Tensor]:
    """The values that depend on no input: weights, and what is computed from them alone."""
    known: dict[fx.Node, Any] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            known[node] = getattr(module, node.target)
        elif node.op == "call_function" and known.keys() >= set(node.all_input_nodes):
            args = fx.node.map_arg(node.args, known.__getitem__)
            known[node] = node.target(*args, **node.kwargs)
    return known


def _needed(
    nodes: Sequence[fx.Node], ends: Iterable[fx.Node], there: Iterable[fx.Node]
) -> list[fx.Node]:
    """The operators that lead to the ends from what is there already, in the order of use."""
    todo, seen = list(ends), set(there)
    found = set()
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            found.add(node)
            todo += node.all_input_nodes
    return [node for node in nodes if node in found and node.op == "call_function"]
