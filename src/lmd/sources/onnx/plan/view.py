"""The graph as those see it who look for layers: constants by value, who takes what, and how many axes it has."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lmd.sources.onnx.file.model import CHANGED, GraphProto, Node
from lmd.sources.onnx.plan.expressions import Applied, Expression, Leaf, applied, integers

__all__ = ["Found", "View", "operation_of", "view_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A node, or several, that are a layer.

    Attributes:
        kind: of the module that holds its weights.
        roles: torch's name of each parameter and buffer to what it is.
        settings: further arguments of the module.
        inputs: values that the module is called on; empty if it only holds the weights and the node is run as it is.
        outputs: values it makes.
        before: operations on the way in: name, what it takes, what it makes, settings.
        after: operations on the way out.
        absorbed: nodes behind the first that are part of the layer.
        note: what to say of the weights.
    """

    kind: str
    roles: Mapping[str, Expression]
    settings: Mapping[str, object] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    before: tuple[tuple[str, tuple[str, ...], tuple[str, ...], Mapping[str, object]], ...] = ()
    after: tuple[tuple[str, tuple[str, ...], tuple[str, ...], Mapping[str, object]], ...] = ()
    absorbed: tuple[Node, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The graph.

    Attributes:
        nodes: those that are no constants, in an order in which each follows what it takes.
        constants: value to what it is made of.
        takers: value to the nodes that take it, once for each time.
        outputs: values that the graph returns.
        ranks: number of axes of values, where it is known.
        opsets: version of each domain.
        made: value that is computed of constants to the node that does.
        makers: every other value to the node that makes it.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, Expression]
    takers: Mapping[str, list[Node]]
    outputs: frozenset[str]
    ranks: Mapping[str, int]
    opsets: Mapping[str, int]
    made: Mapping[str, Node]
    makers: Mapping[str, Node]

    @property
    def version(self) -> int:
        """Of the standard's own operations."""
        return self.opsets.get("", 1)

    def weight(self, node: Node, place: int) -> Expression | None:
        """The constant real numbers that a node takes in one place; None if it takes something else there."""
        name = node.takes(place)
        found = self.constants.get(name)
        return found if found is not None and found.dtype.startswith(("float", "bfloat")) else None

    def follower(self, node: Node, *ops: str) -> Node | None:
        """The one node that takes the one output of ``node``, if it is one of ``ops``."""
        value = node.outputs[0]
        takers = self.takers.get(value, [])
        if len(takers) != 1 or value in self.outputs or takers[0].domain or takers[0].op not in ops:
            return None
        return takers[0]

    def other(self, node: Node, value: str) -> Expression | None:
        """What a node of two inputs takes beside ``value``, if those are constant real numbers."""
        if len(node.inputs) != 2 or len(node.outputs) != 1 or "axis" in node.attributes:
            return None
        return self.weight(node, 1 - node.inputs.index(value)) if value in node.inputs else None


def operation_of(node: Node, opsets: Mapping[str, int]) -> str:
    """The name an operation is registered under, which tells versions apart where their meaning differs."""
    if node.domain:
        return f"onnx.{node.domain}.{node.op}"
    old = opsets.get("", 1) < CHANGED.get(node.op, 0)
    return f"onnx.{node.op}@old" if old else f"onnx.{node.op}"


def view_of(graph: GraphProto, opsets: Mapping[str, int]) -> View:
    """Tell constants from the rest, and note who takes what."""
    constants: dict[str, Expression] = {value: Leaf(constant) for value, constant in graph.constants.items()}
    rest, makers = [], {}
    for node in _in_order(graph):
        made = _constant(node, constants, opsets)
        if made is None:
            rest.append(node)
        else:
            constants[node.outputs[0]], makers[node.outputs[0]] = made, node
    takers: dict[str, list[Node]] = defaultdict(list)
    for node in rest:
        for value in (*node.inputs, *_taken_inside(node)):
            takers[value].append(node)
    outputs = frozenset(value.name for value in graph.outputs)
    ranks = _ranks(rest, constants, graph.ranks)
    others = {value: node for node in reversed(rest) for value in node.outputs if value}
    return View(tuple(rest), constants, takers, outputs, ranks, opsets, makers, others)


def _taken_inside(node: Node) -> Iterator[str]:
    """Values that nodes of branches and loops take."""
    for setting in node.attributes.values():
        if isinstance(setting, GraphProto):
            for inner in setting.nodes:
                yield from (*inner.inputs, *_taken_inside(inner))
            yield from (value.name for value in setting.outputs)


def _constant(node: Node, constants: Mapping[str, Expression], opsets: Mapping[str, int]) -> Applied | None:
    if not all(value in constants for value in node.inputs if value) or not any(node.inputs):
        return None
    return applied(node, operation_of(node, opsets), tuple(constants.get(value) for value in node.inputs))


def _in_order(graph: GraphProto) -> list[Node]:
    """The nodes as the standard asks for: each behind those whose outputs it takes; as they are where that fails."""
    made = {value: node for node in graph.nodes for value in node.outputs if value}
    done: dict[int, Node] = {}
    for first in graph.nodes:
        waiting, open_nodes = [first], set()
        while waiting:
            node = waiting[-1]
            taken = (*node.inputs, *_taken_inside(node))
            needed = [made[v] for v in taken if v in made and id(made[v]) not in done and made[v] is not node]
            if id(node) in done or not needed or id(node) in open_nodes:
                done.setdefault(id(waiting.pop()), node)
                continue
            open_nodes.add(id(node))
            waiting.extend(needed)
    return list(done.values())


_KEEP = frozenset(
    (
        "Relu",
        "Sigmoid",
        "Tanh",
        "Elu",
        "Selu",
        "Celu",
        "LeakyRelu",
        "PRelu",
        "Softplus",
        "Softsign",
        "HardSigmoid",
        "HardSwish",
        "Gelu",
        "Mish",
        "Erf",
        "Exp",
        "Log",
        "Sqrt",
        "Abs",
        "Neg",
        "Identity",
        "Dropout",
        "Cast",
        "Clip",
        "Softmax",
        "LogSoftmax",
        "BatchNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "Conv",
        "MaxPool",
        "AveragePool",
        "LRN",
        "Pad",
        "Transpose",
        "Slice",
        "Resize",
        "Upsample",
        "ConvTranspose",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "QuantizeLinear",
        "DequantizeLinear",
    )
)
_WIDEST = frozenset(("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Where", "Sum", "Mean"))


def _ranks(nodes: list[Node], constants: Mapping[str, Expression], told: Mapping[str, int]) -> dict[str, int]:
    ranks = {value: len(found.shape) for value, found in constants.items()}
    ranks.update((value, rank) for value, rank in told.items() if value not in ranks)
    for node in nodes:
        rank = _rank(node, constants, ranks)
        if rank is not None and node.outputs:
            ranks.setdefault(node.outputs[0], rank)
    return ranks


def _rank(node: Node, constants: Mapping[str, Expression], ranks: Mapping[str, int]) -> int | None:
    taken = [ranks.get(value) for value in node.inputs if value]
    if node.op in _KEEP and taken:
        return taken[0]
    if node.op in ("Gemm", "Flatten"):
        return 2
    known = [rank for rank in taken if rank is not None]
    if node.op in _WIDEST and known and len(known) == len(taken):
        return max(known)
    if node.op == "MatMul" and len(known) == 2:
        return max(known) - (min(known) == 1) if max(known) > 1 else 0
    if node.op == "Reshape" and len(node.inputs) == 2:
        wanted = integers(constants.get(node.inputs[1]))
        return len(wanted) if wanted is not None else None
    return None
