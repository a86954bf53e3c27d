"""Branches that are always the same taken into the graph around them; of the others, their constants."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from lmd.sources.onnx.file.model import Constant, GraphProto, Node
from lmd.sources.onnx.plan.branches import branches_of, has_branches
from lmd.sources.onnx.plan.expressions import Leaf, numbers

__all__ = ["all_constants", "flattened"]


def flattened(graph: GraphProto) -> GraphProto:
    """The graph with the chosen branch in the place of each ``If`` whose condition is a constant of the file."""
    constants = dict(graph.constants)
    nodes = tuple(_without_choices(graph.nodes, constants))
    return replace(graph, nodes=nodes, constants=constants)


def _without_choices(nodes: tuple[Node, ...], constants: dict[str, Constant]) -> Iterator[Node]:
    for node in nodes:
        branch = _chosen(node, constants)
        if branch is None:
            _lift(node, constants)
            yield node
            continue
        constants.update(branch.constants)
        yield from _without_choices(branch.nodes, constants)
        for made, given in zip(node.outputs, branch.outputs, strict=False):
            if made:
                yield Node(node.called, "Identity", "", (given.name,), (made,))


def _lift(node: Node, constants: dict[str, Constant]) -> None:
    """Take the constants out of the graphs inside a node."""
    for branch in branches_of(node) if has_branches(node) else ():
        constants.update(branch.constants)
        for inner in branch.nodes:
            _lift(inner, constants)


def _chosen(node: Node, constants: Mapping[str, Constant]) -> GraphProto | None:
    if node.op != "If" or node.domain or not node.inputs or node.inputs[0] not in constants:
        return None
    condition = numbers(Leaf(constants[node.inputs[0]]))
    if condition is None or condition.size != 1:
        return None
    branch = node.attributes.get("then_branch" if condition.any() else "else_branch")
    return branch if isinstance(branch, GraphProto) else None


def all_constants(graph: GraphProto) -> Iterator[tuple[Constant, str]]:
    """Every tensor of a graph; those inside branches and loops with the name of the node that has them."""
    for constant in graph.constants.values():
        yield constant, ""
    for node in graph.nodes:
        for value in node.attributes.values():
            for inner in value if isinstance(value, list) else [value]:
                if isinstance(inner, GraphProto):
                    yield from ((constant, f"{node.op} {node.called!r}") for constant, _ in all_constants(inner))
