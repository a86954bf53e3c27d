"""Functions of an ONNX file: nodes that one node stands for, put in its place."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from lmd.sources.errors import UnreadableModelError
from lmd.sources.onnx.file.model import CHANGED, Constant, GraphProto, Node

__all__ = ["Function", "inlined"]

_DEEPEST = 16
_MOST_NODES = 200_000
"""After inlining: functions that call functions can multiply."""


@dataclass(frozen=True, slots=True)
class _Reference:
    """An attribute that the calling node gives."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """One function.

    Attributes:
        inputs: names of its values that the caller gives.
        outputs: names of those it gives back.
        defaults: attributes that the caller may leave out.
        body: its nodes and constants.
        opsets: version of each domain in it.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    defaults: Mapping[str, Any]
    body: GraphProto
    opsets: Mapping[str, int]

    Reference: ClassVar[type[_Reference]] = _Reference


def inlined(graph: GraphProto, functions: Mapping[tuple[str, str], Function], opsets: Mapping[str, int]) -> GraphProto:
    """The graph with the nodes of functions in the places of the nodes that call them.

    A function is left alone whose operations mean something else in the version of the standard that it was written
    for: its caller is then an unknown operation.

    Raises:
        UnreadableModelError: functions call each other without end.
    """
    usable = {key: found for key, found in functions.items() if _means_the_same(found, opsets.get("", 0))}
    if not usable:
        return graph
    constants: dict[str, Constant] = dict(graph.constants)
    nodes = list(_expanded(graph.nodes, usable, constants, 0))
    return replace(graph, nodes=tuple(nodes), constants=constants)


def _means_the_same(function: Function, version: int) -> bool:
    own = function.opsets.get("", 0) or version
    limits = [CHANGED[node.op] for node in function.body.nodes if node.op in CHANGED and not node.domain]
    return all((own < limit) == (version < limit) for limit in limits)


def _expanded(
    nodes: tuple[Node, ...], functions: Mapping[tuple[str, str], Function], constants: dict[str, Constant], depth: int
) -> Iterator[Node]:
    if depth > _DEEPEST:
        raise UnreadableModelError(
            f"the functions of the file call each other more than {_DEEPEST} deep; it is damaged or forged. "
            f"Export it again."
        )
    for node in nodes:
        function = functions.get((node.domain, node.op))
        if function is None:
            yield node
            continue
        if len(constants) > _MOST_NODES:
            raise UnreadableModelError(f"the functions of the file make more than {_MOST_NODES} constants; forged.")
        called = tuple(_called(node, function, constants))
        yield from _counted(_expanded(called, functions, constants, depth + 1))


def _counted(nodes: Iterator[Node]) -> Iterator[Node]:
    for number, node in enumerate(nodes):
        if number > _MOST_NODES:
            raise UnreadableModelError(
                f"the functions of the file stand for more than {_MOST_NODES} nodes; it is forged. Export it again."
            )
        yield node


def _called(node: Node, function: Function, constants: dict[str, Constant]) -> Iterator[Node]:
    """The nodes of a function as one call of it sees them: values of its own have the caller's name in front."""
    given = (*node.inputs, *[""] * (len(function.inputs) - len(node.inputs)))
    names = dict(zip(function.inputs, given, strict=False))
    names.update(zip(function.outputs, node.outputs, strict=False))
    settings = {**function.defaults, **node.attributes}
    prefix = next(filter(None, node.outputs), node.called)

    def value(name: str) -> str:
        return names.get(name, f"{prefix}/{name}") if name else ""

    for name, constant in function.body.constants.items():
        constants[value(name)] = replace(constant, name=value(name))
    for inner in function.body.nodes:
        yield replace(
            inner,
            name=f"{node.called}/{inner.name or inner.op}",
            inputs=tuple(map(value, inner.inputs)),
            outputs=tuple(map(value, inner.outputs)),
            attributes=dict(_settled(inner.attributes, settings)),
        )


def _settled(attributes: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, wanted in attributes.items():
        if not isinstance(wanted, _Reference):
            yield key, wanted
        elif wanted.name in settings:
            yield key, settings[wanted.name]
