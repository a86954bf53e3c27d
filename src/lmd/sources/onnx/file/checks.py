"""What no graph may be: values that nobody makes, that two nodes make, or that need themselves."""

from graphlib import CycleError, TopologicalSorter

from lmd.sources.onnx.file.model import GraphProto, Node
from lmd.sources.onnx.file.wire import Wire

__all__ = ["check"]


def check(graph: GraphProto, wire: Wire) -> None:
    """Refuse a graph that contradicts itself; the order of its nodes may be any.

    Raises:
        UnreadableModelError: what it says cannot be.
    """
    known = {"", *graph.constants, *(value.name for value in graph.inputs)}
    makers: dict[str, Node] = {}
    for node in graph.nodes:
        for value in filter(None, node.outputs):
            if value in known or value in makers:
                raise wire.broken(f"node {node.called!r} makes {value!r}, which is made elsewhere too")
            makers[value] = node
    for words, values in (*((f"node {node.called!r}", node.inputs) for node in graph.nodes), _returned(graph)):
        strange = next((value for value in values if value not in known and value not in makers), None)
        if strange is not None:
            raise wire.broken(f"{words} takes {strange!r}, which no node makes")
    sorter = TopologicalSorter({node: {makers[v] for v in node.inputs if v in makers} for node in graph.nodes})
    try:
        sorter.prepare()
    except CycleError as fault:
        raise wire.broken(f"node {fault.args[1][0].called!r} takes what is made of its own output") from fault


def _returned(graph: GraphProto) -> tuple[str, tuple[str, ...]]:
    return "the output", tuple(value.name for value in graph.outputs)
