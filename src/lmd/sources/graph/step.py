"""A graph of operations: which node takes which values and makes which. Needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Graph", "Step"]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One node, in the order of execution.

    Attributes:
        name: of the node in its file.
        operation: name under which the operation is registered (``onnx.Relu``, ``keras.Flatten``); '' for a module.
        inputs: names of the values it takes; '' for one left out.
        outputs: names of the values it makes; '' for one that nobody takes.
        attributes: settings of the node, given to the operation by keyword.
        module: path of the child that is called on the inputs; '' for an operation.
    """

    name: str
    operation: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    module: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """What a file says of how its network is run.

    Attributes:
        steps: in the order of execution.
        inputs: names of the values that a call gives, in order.
        outputs: names of the values that a call returns: one alone, or a tuple.
        constants: values that are always the same, such as shapes, by name; they are no weights.
        shapes: of inputs as the file declares them, by name; None for a length that it leaves open.
        unknown: why the graph cannot be called, beside operations that are not known: a sentence each.
    """

    steps: tuple[Step, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, "Tensor"] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    shapes: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
