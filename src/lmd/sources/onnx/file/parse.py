"""An ONNX file to its ``Model``: every message of the format that says what a network is or does."""

import mmap
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy

from lmd.sources.errors import UnreadableModelError
from lmd.sources.file_head import known_as, looks_like
from lmd.sources.onnx.file.checks import check
from lmd.sources.onnx.file.classical import with_tensors
from lmd.sources.onnx.file.functions import Function, inlined
from lmd.sources.onnx.file.fused import with_standard_nodes
from lmd.sources.onnx.file.model import Constant, GraphProto, Model, Node, Value
from lmd.sources.onnx.file.tensors import DTYPES, TensorReader, of_numbers
from lmd.sources.onnx.file.wire import Message, Wire

__all__ = ["STANDARD", "read_model"]

STANDARD = ("", "ai.onnx")
"""The two names of the standard's own operations."""
_DEEPEST = 16
"""Branches inside branches."""

# numbers of the fields of each message
_IR, _PRODUCER, _PRODUCER_VERSION, _GRAPH, _OPSETS, _METADATA, _FUNCTIONS = 1, 2, 3, 7, 8, 14, 25
_DOMAIN, _VERSION = 1, 2
_NODES, _INITIALISERS, _INPUTS, _OUTPUTS, _VALUES, _SPARSE = 1, 5, 11, 12, 13, 15
_TAKES, _MAKES, _NAME, _OP, _ATTRIBUTES, _NODE_DOMAIN, _NOTES = 1, 2, 3, 4, 5, 7, 9
_KEY, _VALUE = 1, 2
_NUMBER, _INTEGER, _TEXT, _TENSOR, _SUBGRAPH, _NUMBERS, _INTEGERS, _TEXTS, _TENSORS, _SUBGRAPHS = range(2, 12)
_KIND, _REFERENCE, _SPARSE_TENSOR = 20, 21, 22
_SPARSE_VALUES, _SPARSE_DIMS = 1, 3
_KINDS = {1: _NUMBER, 2: _INTEGER, 3: _TEXT, 4: _TENSOR, 5: _SUBGRAPH, 6: _NUMBERS, 7: _INTEGERS, 8: _TEXTS, 10: 11}
"""Declared kind of an attribute to the field that holds it."""


def read_model(path: str) -> Model:
    """Read everything but the numbers of large tensors.

    Raises:
        UnreadableModelError: not a whole ONNX file, one without a graph, or with one that contradicts itself.
        UnsafeModelError: some of its numbers are in files outside its folder.
    """
    path = os.path.abspath(path)
    try:
        with open(path, "rb") as file:
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as fault:
        words = looks_like(path) if os.path.isfile(path) else "not a file; name a file or a folder with weights"
        raise UnreadableModelError(f"{path} cannot be read as ONNX: it is {words}.") from fault
    wire = Wire(path, memoryview(memory))
    try:
        message = wire.message((0, len(memory)))
    except UnreadableModelError as fault:
        words = known_as(bytes(memory[:512]))
        raise (UnreadableModelError(f"{path} cannot be read as ONNX: it is {words}.") if words else fault) from fault
    if _GRAPH not in message.spans:
        raise UnreadableModelError(f"{path} cannot be read as ONNX: it holds no graph. It is {looks_like(path)}.")
    reader = _Reader(TensorReader(wire, path))
    opsets = _opsets(message, _OPSETS)
    functions = dict(reader.function(found) for found in message.messages(_FUNCTIONS))
    graph = reader.graph(message.message(_GRAPH), 0)
    graph = with_standard_nodes(with_tensors(inlined(graph, functions, opsets)))
    check(graph, wire)
    return Model(graph, opsets, _facts(message, opsets, graph), (path, *reader.tensors.files))


def _opsets(message: Message, field_number: int) -> dict[str, int]:
    found = {entry.text(_DOMAIN): entry.number(_VERSION) for entry in message.messages(field_number)}
    return {("" if domain in STANDARD else domain): version for domain, version in found.items()}


def _facts(message: Message, opsets: Mapping[str, int], graph: GraphProto) -> dict[str, object]:
    producer = f"{message.text(_PRODUCER)} {message.text(_PRODUCER_VERSION)}".strip()
    entries = {entry.text(_DOMAIN): entry.text(_VERSION) for entry in message.messages(_METADATA)}
    return {
        "format": "ONNX",
        "opsets": {domain or "ai.onnx": version for domain, version in opsets.items()},
        "inputs": [_described(value) for value in graph.inputs],
        **_example(graph.inputs),
        "outputs": [_described(value) for value in graph.outputs],
        **({"producer": producer} if producer else {}),
        **({"metadata": entries} if entries else {}),
    }


def _described(value: Value) -> dict[str, object]:
    return {"name": value.name, "dtype": value.dtype, "shape": None if value.shape is None else list(value.shape)}


def _example(inputs: tuple[Value, ...]) -> dict[str, object]:
    """The shape of one example, where there is one input of real numbers whose shape says it."""
    if len(inputs) != 1 or inputs[0].dtype != "float32" or not inputs[0].shape:
        return {}
    batch, *rest = inputs[0].shape
    return {"input_shape": rest} if batch in (None, 1) and rest and None not in rest else {}


def _shortest(number: float) -> float:
    """The decimal number that was meant: 1e-05, which single precision holds as 9.99999974737875e-06."""
    return float(str(numpy.float32(number)))


@dataclass(slots=True)
class _Reader:
    """Graphs inside graphs, whose constants keep names of their own.

    Attributes:
        tensors: reads the tensors.
        taken: names of constants seen so far, in the whole file.
    """

    tensors: TensorReader
    taken: set[str] = field(default_factory=set)

    def graph(self, message: Message, depth: int) -> GraphProto:
        """Read one graph.

        Raises:
            UnreadableModelError: it is nested too deep, or two of its constants have one name.
        """
        if depth > _DEEPEST:
            raise self.tensors.wire.broken(f"graphs nested more than {_DEEPEST} deep")
        constants: dict[str, Constant] = {}
        for constant in (*self._initialisers(message), *self._sparse(message)):
            self._add(constants, constant.name, constant)
        nodes = []
        for found in message.messages(_NODES):
            node = self._node(found, depth)
            constant = self._constant_of(node)
            if constant is None:
                nodes.append(node)
            else:
                self._add(constants, node.outputs[0], constant)
        inputs = tuple(v for v in map(self._value, message.messages(_INPUTS)) if v.name not in constants)
        outputs = tuple(map(self._value, message.messages(_OUTPUTS)))
        known = (*inputs, *map(self._value, message.messages(_VALUES)), *outputs)
        ranks = {value.name: len(value.shape) for value in known if value.shape is not None}
        return GraphProto(tuple(nodes), constants, inputs, outputs, ranks)

    def _add(self, constants: dict[str, Constant], value: str, constant: Constant) -> None:
        if value in constants:
            raise self.tensors.wire.broken(f"two tensors named {value!r}")
        name, count = value, 2
        while name in self.taken:
            name, count = f"{value}_{count}", count + 1
        self.taken.add(name)
        constants[value] = Constant(name, constant.dtype, constant.shape, constant.place, constant.reason)

    def _initialisers(self, message: Message) -> Iterator[Constant]:
        return (self.tensors.constant(found) for found in message.messages(_INITIALISERS))

    def _sparse(self, message: Message) -> Iterator[Constant]:
        return (self._sparse_tensor(found) for found in message.messages(_SPARSE))

    def _sparse_tensor(self, message: Message) -> Constant:
        values = self.tensors.constant(message.message(_SPARSE_VALUES))
        shape = tuple(message.integers(_SPARSE_DIMS))
        if any(n < 0 or n > 1 << 40 for n in shape):
            raise self.tensors.wire.broken(f"sparse tensor {values.name!r} declares the shape {shape}")
        reason = f"stored as a sparse tensor of {values.elements} numbers, which lmd does not spread out"
        return Constant(values.name, values.dtype, values.shape, None, reason)

    def _node(self, message: Message, depth: int) -> Node:
        domain = message.text(_NODE_DOMAIN)
        return Node(
            message.text(_NAME),
            message.text(_OP),
            "" if domain in STANDARD else domain,
            tuple(message.texts(_TAKES)),
            tuple(message.texts(_MAKES)),
            dict(self._attribute(found, depth) for found in message.messages(_ATTRIBUTES)),
            next((scope for entry in message.messages(_NOTES) if (scope := _scope_in(entry))), ""),
        )

    def _attribute(self, message: Message, depth: int) -> tuple[str, Any]:
        name, reference = message.text(1), message.text(_REFERENCE)
        if reference:
            return name, Function.Reference(reference)
        kind = _KINDS.get(message.number(_KIND), message.number(_KIND) and -1)
        present = (n for n in (*range(2, 12), _SPARSE_TENSOR) if n in message.spans or n in message.numbers)
        # files of the first versions leave the kind out
        return name, self._setting(message, kind or next(present, _INTEGER), name, depth)

    def _setting(self, message: Message, kind: int, name: str, depth: int) -> Any:
        readers: dict[int, Any] = {
            _NUMBER: lambda: _shortest((message.floats(_NUMBER) or [0.0])[-1]),
            _INTEGER: lambda: message.number(_INTEGER),
            _TEXT: lambda: message.text(_TEXT),
            _TENSOR: lambda: self.tensors.constant(message.message(_TENSOR)),
            _SUBGRAPH: lambda: self.graph(message.message(_SUBGRAPH), depth + 1),
            _NUMBERS: lambda: message.floats(_NUMBERS),
            _INTEGERS: lambda: message.integers(_INTEGERS),
            _TEXTS: lambda: message.texts(_TEXTS),
            _SUBGRAPHS: lambda: [self.graph(found, depth + 1) for found in message.messages(_SUBGRAPHS)],
            _SPARSE_TENSOR: lambda: self._sparse_tensor(message.message(_SPARSE_TENSOR)),
        }
        return readers[kind]() if kind in readers else f"an attribute of kind {message.number(_KIND)}"

    def _constant_of(self, node: Node) -> Constant | None:
        """The constant that a node is; None for any other node."""
        if node.op != "Constant" or node.domain or len(node.outputs) != 1 or not node.outputs[0]:
            return None
        (key, value), *_ = [*node.attributes.items(), ("", None)]
        name = node.outputs[0]
        if isinstance(value, Constant):
            return value
        types = {"value_float": "float32", "value_floats": "float32", "value_int": "int64", "value_ints": "int64"}
        if key in types and isinstance(value, float | int | list):
            return of_numbers(name, numpy.array(value, types[key]))
        return Constant(name, "string", (), None, "text is no number") if key.startswith("value_string") else None

    @staticmethod
    def _value(message: Message) -> Value:
        tensor = message.message(2).message(1)
        shape: tuple[int | None, ...] | None = None
        if 2 in tensor.spans:
            dims = tensor.message(2).messages(1)
            shape = tuple(n if 1 in d.numbers and (n := d.number(1)) > 0 else None for d in dims)
        return Value(message.text(1), DTYPES.get(tensor.number(1), "unknown"), shape)

    def function(self, message: Message) -> tuple[tuple[str, str], Function]:
        """Read a function of the file: nodes that another node stands for."""
        found = self.graph(Message(message.wire, {}, {_NODES: message.spans.get(7, [])}), 0)
        domain = message.text(10)
        defaults = dict(self._attribute(entry, 0) for entry in message.messages(11))
        function = Function(tuple(message.texts(4)), tuple(message.texts(5)), defaults, found, _opsets(message, 9))
        return ("" if domain in STANDARD else domain, message.text(1)), function


_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch's exporter notes the modules around a node, outermost first and its own name last."""


def _scope_in(entry: Message) -> str:
    if entry.text(_KEY) != _SCOPES:
        return ""
    names = re.findall(r"'([^']*)'", entry.text(_VALUE))
    return names[-2] if len(names) > 1 else ""
