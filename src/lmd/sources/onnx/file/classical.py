"""Linear models and scalers of ``ai.onnx.ml``, whose numbers are settings of their nodes, as tensors and nodes."""

from collections.abc import Iterator
from dataclasses import replace

import numpy

from lmd.sources.onnx.file.model import Constant, GraphProto, Node
from lmd.sources.onnx.file.tensors import of_numbers

__all__ = ["with_tensors"]

_DOMAIN = "ai.onnx.ml"
_LINEAR = ("LinearRegressor", "LinearClassifier")


def with_tensors(graph: GraphProto) -> GraphProto:
    """The graph with a ``Gemm`` in the place of each linear model, and gains and shifts in that of each scaler.

    What a classifier makes of its scores stays a node of its own, which takes them.
    """
    if not any(node.domain == _DOMAIN for node in graph.nodes):
        return graph
    constants = dict(graph.constants)
    nodes = tuple(made for node in graph.nodes for made in _spelled_out(node, constants))
    return replace(graph, nodes=nodes, constants=constants)


def _spelled_out(node: Node, constants: dict[str, Constant]) -> Iterator[Node]:
    if node.domain == _DOMAIN and node.op in _LINEAR and node.inputs and node.outputs:
        yield from _linear(node, constants)
    elif node.domain == _DOMAIN and node.op == "Scaler" and node.inputs and node.outputs:
        yield from _scaler(node, constants)
    else:
        yield node


def _numbers(node: Node, name: str) -> numpy.ndarray:
    found = node.attributes.get(name)
    sound = isinstance(found, list) and all(isinstance(one, float) for one in found)
    return numpy.array(found if sound else [], numpy.float32)


def _kept(node: Node, role: str, numbers: numpy.ndarray, constants: dict[str, Constant]) -> str:
    name = f"{node.called}.{role}"
    while name in constants:
        name += "_"
    constants[name] = of_numbers(name, numbers)
    return name


def _linear(node: Node, constants: dict[str, Constant]) -> Iterator[Node]:
    weights, shifts = _numbers(node, "coefficients"), _numbers(node, "intercepts")
    rows = node.attributes.get("targets", 1) if node.op == "LinearRegressor" else max(len(shifts), 1)
    if not isinstance(rows, int) or rows < 1 or not len(weights) or len(weights) % rows or len(shifts) not in (0, rows):
        yield node
        return
    names = [_kept(node, "weight", weights.reshape(rows, -1), constants)]
    if len(shifts):
        names.append(_kept(node, "bias", shifts, constants))
    rest = {name: value for name, value in node.attributes.items() if name not in ("coefficients", "intercepts")}
    whole = node.op == "LinearRegressor" and rest.get("post_transform", "NONE") == "NONE"
    made = node.outputs[0] if whole else f"{node.outputs[0]}/scores"
    yield Node(node.called, "Gemm", "", (node.inputs[0], *names), (made,), {"transB": 1})
    if not whole:
        yield Node(node.name, node.op, node.domain, (made,), node.outputs, rest)


def _scaler(node: Node, constants: dict[str, Constant]) -> Iterator[Node]:
    shifts, gains = _numbers(node, "offset"), _numbers(node, "scale")
    if not len(shifts) or not len(gains):
        yield node
        return
    moved = f"{node.outputs[0]}/moved"
    yield Node(f"{node.called}/Sub", "Sub", "", (node.inputs[0], _kept(node, "offset", shifts, constants)), (moved,))
    yield Node(node.called, "Mul", "", (moved, _kept(node, "weight", gains, constants)), node.outputs)
