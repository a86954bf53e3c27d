"""Nodes of onnxruntime that its optimiser put in the place of several of the standard, as those again."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy

from lmd.sources.onnx.file.model import Constant, GraphProto, Node
from lmd.sources.onnx.file.tensors import of_numbers

__all__ = ["with_standard_nodes"]

_DOMAIN = "com.microsoft"
_Constants = dict[str, Constant]
_ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "Relu": (),
    "Sigmoid": (),
    "Tanh": (),
    "LeakyRelu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "Clip": ("min", "max"),
}
"""What may follow a fused convolution, and the names of its parameters."""


def with_standard_nodes(graph: GraphProto) -> GraphProto:
    """The graph with convolutions, products and norms apart from what stands before or behind them."""
    if not any(node.domain == _DOMAIN for node in graph.nodes):
        return graph
    constants = dict(graph.constants)
    nodes = tuple(made for node in graph.nodes for made in _apart(node, constants))
    return replace(graph, nodes=nodes, constants=constants)


def _apart(node: Node, constants: _Constants) -> Iterator[Node]:
    apart = _FUSED.get(node.op) if node.domain == _DOMAIN and node.outputs and len(node.inputs) > 1 else None
    yield from (apart(node, constants) if apart else None) or (node,)


def _kept(name: str, number: float, constants: _Constants, dtype: Any = numpy.float32) -> str:
    while name in constants:
        name += "_"
    constants[name] = of_numbers(name, numpy.array(number, dtype))
    return name


def _standard(node: Node, constants: _Constants) -> list[Node]:
    """The same operation, from before the standard had it for these types."""
    return [replace(node, domain="")]


def _convolution(node: Node, constants: _Constants) -> list[Node] | None:
    """``activation(conv(x) + z)``."""
    settings = {key: value for key, value in node.attributes.items() if not key.startswith("activation")}
    active, numbers = str(node.attributes.get("activation", "")), node.attributes.get("activation_params", [])
    words = _ACTIVATIONS.get(active)
    if words is None or not isinstance(numbers, list) or (numbers and len(numbers) != len(words)):
        return None
    made = node.outputs[0]
    summed, convolved = f"{made}/summed", f"{made}/convolved" if node.takes(3) else f"{made}/summed"
    nodes = [Node(node.name, "Conv", "", node.inputs[:3], (convolved,), settings)]
    if node.takes(3):
        nodes.append(Node(f"{node.called}/Add", "Add", "", (convolved, node.takes(3)), (summed,)))
    name, given, told = f"{node.called}/{active}", (summed,), dict(zip(words, numbers, strict=False))
    if active == "Clip":
        given, told = (summed, *(_kept(f"{name}/{word}", n, constants) for word, n in told.items())), {}
    return [*nodes, Node(name, active, "", given, node.outputs, told)]


def _product(node: Node, constants: _Constants) -> list[Node] | None:
    """``alpha a b``; matrices that are turned stay with the node."""
    settings = node.attributes
    if any(settings.get(key) for key in ("transA", "transB", "transBatchA", "transBatchB")):
        return None
    alpha, made = settings.get("alpha", 1.0), node.outputs[0]
    if alpha == 1.0:
        return [Node(node.name, "MatMul", "", node.inputs, node.outputs)]
    scale, product = _kept(f"{node.called}/alpha", alpha, constants), f"{made}/product"
    return [
        Node(node.name, "MatMul", "", node.inputs, (product,)),
        Node(f"{node.called}/Mul", "Mul", "", (product, scale), node.outputs),
    ]


def _norm_of_sum(node: Node, constants: _Constants) -> list[Node] | None:
    """A norm of a sum, which is the fourth output; its bias is that of the layer before it."""
    x, skip, made = node.inputs[0], node.takes(1), node.outputs[0]
    has_mean = node.op == "SkipLayerNormalization"
    bias = node.takes(4 if has_mean else 3)
    if any(node.outputs[1:3]):
        return None
    nodes = []
    if bias:
        nodes.append(Node(f"{node.called}/Bias", "Add", "", (x, bias), (f"{made}/shifted",)))
        x = f"{made}/shifted"
    summed = next(filter(None, node.outputs[3:4]), f"{made}/summed")
    nodes.append(Node(f"{node.called}/Add", "Add", "", (x, skip), (summed,)))
    op = "LayerNormalization" if has_mean else "SimplifiedLayerNormalization"
    settings = {"axis": -1, "epsilon": node.attributes.get("epsilon", 1e-12)}
    given = (summed, *node.inputs[2 : 4 if has_mean else 3])
    return [*nodes, Node(node.name, op, "", given, (made,), settings)]


def _shifted_gelu(node: Node, constants: _Constants) -> list[Node] | None:
    """``gelu(x + bias)``: the bias is that of the layer before it."""
    x, bias = node.inputs[:2]
    if not bias:
        return None
    shifted, op = f"{node.outputs[0]}/shifted", "Gelu" if node.op == "BiasGelu" else node.op
    return [
        Node(f"{node.called}/Bias", "Add", "", (x, bias), (shifted,)),
        Node(node.name, op, _DOMAIN, (shifted,), node.outputs),
    ]


def _attention(node: Node, constants: _Constants) -> list[Node] | None:
    """One projection to queries, keys and values, and the attention of those; both past states in one tensor."""
    x, weight, settings, made = node.inputs[0], node.inputs[1], dict(node.attributes), node.outputs[0]
    if settings.get("do_rotary") or node.takes(6) or any(node.outputs[2:]):
        return None
    sizes, joined = settings.pop("qkv_hidden_sizes", None), f"{made}/projected"
    nodes = [Node(f"{node.called}/MatMul", "MatMul", "", (x, weight), (joined,))]
    if node.takes(2):
        nodes.append(Node(f"{node.called}/Add", "Add", "", (joined, node.takes(2)), (f"{made}/shifted",)))
        joined = f"{made}/shifted"
    parts, cut = tuple(f"{made}/{part}" for part in ("query", "key", "value")), {"split": sizes} if sizes else {}
    nodes.append(Node(f"{node.called}/Split", "Split", "", (joined,), parts, {"axis": -1, **cut}))
    given, told = (*parts, "", node.takes(3), node.takes(5)), (made,)
    if node.takes(4):
        past = (f"{made}/past_key", f"{made}/past_value")
        for place, part in enumerate(past):
            at = _kept(f"{part}/place", place, constants, numpy.int64)
            nodes.append(Node(part, "Gather", "", (node.takes(4), at), (part,), {"axis": 0}))
        given = (*given, *past)
    if any(node.outputs[1:2]):
        told = (made, f"{made}/present_key", f"{made}/present_value")
    nodes.append(Node(node.name, "MultiHeadAttention", _DOMAIN, given, told, settings))
    for part in told[1:]:
        nodes.append(Node(part, "Unsqueeze", "", (part,), (f"{part}/alone",), {"axes": [0]}))
    if told[1:]:
        both = tuple(f"{part}/alone" for part in told[1:])
        nodes.append(Node(f"{made}/present", "Concat", "", both, node.outputs[1:2], {"axis": 0}))
    return nodes


def _of_codes(node: Node, constants: _Constants) -> list[Node] | None:
    """An operation from codes to codes as that on the real numbers they stand for, between two that translate."""
    op, count = _ON_CODES[node.op]
    settings = {key: value for key, value in node.attributes.items() if key not in ("opset", "channels_last")}
    old = node.attributes.get("opset") not in (None, *_NEW_SOFTMAX)
    if old or node.attributes.get("channels_last") or (count and len(node.inputs) < 3 * count + 1):
        return None
    given = (*node.inputs, "", "")[: 3 * count + 2] if count else (*node.inputs[2:], *node.inputs[:2])
    nodes, real, made = list[Node](), list[str](), f"{node.outputs[0]}/real"
    for place in range(0, len(given) - 2, 3):
        real.append(f"{made}/{place}")
        nodes.append(Node(real[-1], "DequantizeLinear", "", tuple(given[place : place + 3]), (real[-1],)))
    nodes.append(Node(node.name, op, "", tuple(real), (made,), settings))
    return [*nodes, Node(f"{node.called}/codes", "QuantizeLinear", "", (made, *given[-2:]), node.outputs)]


_NEW_SOFTMAX = range(13, 64)
_ON_CODES = {
    **{
        f"QLinear{op}": (op, 1)
        for op in ("Sigmoid", "LeakyRelu", "Softmax", "GlobalAveragePool", "AveragePool", "ReduceMean")
    },
    **{f"QLinear{op}": (op, 2) for op in ("Add", "Mul")},
    "QLinearConcat": ("Concat", 0),
}
"""Operations on codes to those on real numbers, and how many they take; 0 for any number behind those of the output."""
_FUSED: dict[str, Callable[[Node, _Constants], list[Node] | None]] = {
    "FusedConv": _convolution,
    "FusedMatMul": _product,
    "SkipLayerNormalization": _norm_of_sum,
    "SkipSimplifiedLayerNormalization": _norm_of_sum,
    **dict.fromkeys(("DequantizeLinear", "QuantizeLinear"), _standard),
    **dict.fromkeys(_ON_CODES, _of_codes),
    "Attention": _attention,
    "BiasGelu": _shifted_gelu,
    "FastGelu": _shifted_gelu,
}
