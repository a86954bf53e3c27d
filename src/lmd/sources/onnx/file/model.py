"""What an ONNX file says, as records: its graph, its nodes, and where its numbers lie. Needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

__all__ = ["CHANGED", "Constant", "GraphProto", "Model", "Node", "Place", "Value"]

CHANGED = {
    "Softmax": 13,
    "LogSoftmax": 13,
    "Hardmax": 13,
    "Resize": 11,
    "GroupNormalization": 21,
    "Dropout": 0,
    "Scan": 9,
}
"""Operations that meant something else before a version of the standard."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the numbers of a tensor lie.

    Attributes:
        path: the file; '' for numbers that are in ``held``.
        offset: of the first byte, where they lie one behind the other as in memory.
        held: their bytes, where they do not, or are few.
    """

    path: str = ""
    offset: int = 0
    held: bytes = b""


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A tensor of the file.

    Attributes:
        name: of the value it is; unique in the whole file.
        dtype: torch's word, or ONNX's where torch has none.
        shape: as declared.
        place: None if it cannot be read.
        reason: why it cannot.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    place: Place | None
    reason: str = ""

    @property
    def elements(self) -> int:
        """Number of entries."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Value:
    """An input or an output of the graph; None for a length that is not known, or for a shape of unknown rank."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operation.

    Attributes:
        name: as in the file; may be empty.
        op: such as ``Conv``.
        domain: '' for the standard's own.
        inputs: names of values; '' for one left out.
        outputs: names of values; '' for one that nobody takes.
        attributes: numbers, texts, lists of them, ``Constant`` and ``GraphProto``.
        scope: path of the module it was exported from, where the exporter noted it.
    """

    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    scope: str = ""

    @property
    def called(self) -> str:
        """The name, or what it makes where it has none."""
        return self.name or next(filter(None, self.outputs), self.op)

    def takes(self, place: int) -> str:
        """The value it takes in one place; '' if none."""
        return self.inputs[place] if place < len(self.inputs) else ""


@dataclass(frozen=True, slots=True, eq=False)
class GraphProto:
    """A graph: of the whole file, or of a branch.

    Attributes:
        nodes: in the order of the file; nodes that are constants are among the constants instead.
        constants: initialisers and constant nodes, by the name of their value.
        inputs: those that a call gives.
        outputs: what it returns.
        ranks: number of axes of values, where the file tells.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, Constant]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    ranks: Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A whole file.

    Attributes:
        graph: the network.
        opsets: version of each domain.
        facts: what else it tells, as JSON values.
        files: the file itself, and those its numbers lie in.
    """

    graph: GraphProto
    opsets: Mapping[str, int]
    facts: Mapping[str, object]
    files: tuple[str, ...]
