"""``If`` nodes whose condition depends on the input: both branches as steps, with what they take from outside."""

from collections.abc import Iterator, Mapping

from lmd.sources.graph.step import Step
from lmd.sources.onnx.file.model import GraphProto, Node
from lmd.sources.onnx.plan.view import operation_of

__all__ = ["branch_step", "branches_of", "is_choice"]

Branch = tuple[tuple[Step, ...], tuple[str, ...]]
"""Steps, and the values that they give back."""


def is_choice(node: Node) -> bool:
    """Whether a node is an ``If`` with both branches."""
    return node.op == "If" and not node.domain and len(branches_of(node)) == 2


def branches_of(node: Node) -> list[GraphProto]:
    """The branches of an ``If``."""
    found = (node.attributes.get(name) for name in ("then_branch", "else_branch"))
    return [branch for branch in found if isinstance(branch, GraphProto)]


def branch_step(node: Node, opsets: Mapping[str, int]) -> Step:
    """The step that chooses: it takes the condition, then every value that a branch takes from outside."""
    names = tuple(dict.fromkeys(value for branch in branches_of(node) for value in _captured(branch)))
    then, otherwise = (_branch(branch, opsets) for branch in branches_of(node))
    settings = {"names": names, "then": then, "otherwise": otherwise}
    return Step(node.called, "onnx.If", (node.inputs[0], *names), node.outputs, settings)


def _branch(graph: GraphProto, opsets: Mapping[str, int]) -> Branch:
    steps = (
        branch_step(node, opsets)
        if is_choice(node)
        else Step(node.called, operation_of(node, opsets), node.inputs, node.outputs, node.attributes)
        for node in graph.nodes
    )
    return tuple(steps), tuple(value.name for value in graph.outputs)


def _captured(graph: GraphProto) -> Iterator[str]:
    """Values that a branch takes and does not make; its constants have been lifted out of it."""
    made: set[str] = set()
    for node in graph.nodes:
        inner = [value for branch in branches_of(node) for value in _captured(branch)]
        yield from (value for value in (*node.inputs, *inner) if value and value not in made)
        made.update(node.outputs)
    yield from (value.name for value in graph.outputs if value.name not in made)
