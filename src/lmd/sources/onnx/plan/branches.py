"""Nodes with graphs inside, ``If``, ``Loop`` and ``Scan``: those as steps, with what they take from outside."""

from collections.abc import Iterator, Mapping

from lmd.sources.graph.step import Step
from lmd.sources.onnx.file.model import GraphProto, Node
from lmd.sources.onnx.plan.view import operation_of

__all__ = ["branch_step", "branches_of", "has_branches", "nodes_inside"]

Branch = tuple[tuple[Step, ...], tuple[str, ...]]
"""Steps, and the values that they give back."""
_BRANCHES = {"If": ("then_branch", "else_branch"), "Loop": ("body",), "Scan": ("body",)}


def has_branches(node: Node) -> bool:
    """Whether a node is one of these, with all of its graphs."""
    return not node.domain and node.op in _BRANCHES and len(branches_of(node)) == len(_BRANCHES[node.op])


def branches_of(node: Node) -> list[GraphProto]:
    """The graphs inside a node."""
    found = (node.attributes.get(name) for name in _BRANCHES.get(node.op, ()))
    return [branch for branch in found if isinstance(branch, GraphProto)]


def nodes_inside(node: Node) -> Iterator[Node]:
    """The nodes of the graphs inside one, at any depth."""
    for branch in branches_of(node) if has_branches(node) else ():
        for inner in branch.nodes:
            yield inner
            yield from nodes_inside(inner)


def branch_step(node: Node, opsets: Mapping[str, int]) -> Step:
    """The step that runs them: it takes what the node takes, then every value that they take from outside."""
    names = tuple(dict.fromkeys(value for branch in branches_of(node) for value in _captured(branch)))
    made = [_branch(branch, opsets) for branch in branches_of(node)]
    settings: dict[str, object] = {"names": names}
    if node.op == "If":
        settings |= {"then": made[0], "otherwise": made[1]}
    else:
        others = {name: value for name, value in node.attributes.items() if name != "body"}
        inner = tuple(value.name for value in branches_of(node)[0].inputs)
        settings |= {**others, "body": made[0], "given": inner}
    return Step(node.called, operation_of(node, opsets), (*node.inputs, *names), node.outputs, settings)


def _branch(graph: GraphProto, opsets: Mapping[str, int]) -> Branch:
    steps = (
        branch_step(node, opsets)
        if has_branches(node)
        else Step(node.called, operation_of(node, opsets), node.inputs, node.outputs, node.attributes)
        for node in graph.nodes
    )
    return tuple(steps), tuple(value.name for value in graph.outputs)


def _captured(graph: GraphProto) -> Iterator[str]:
    """Values that a graph takes and does not make; its constants have been lifted out of it."""
    made = {value.name for value in graph.inputs}
    for node in graph.nodes:
        inner = [value for branch in branches_of(node) for value in _captured(branch)]
        yield from (value for value in (*node.inputs, *inner) if value and value not in made)
        made.update(node.outputs)
    yield from (value.name for value in graph.outputs if value.name not in made)
