"""A graph to layers, operations between them, and what becomes of every tensor. Needs no torch."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod

from lmd.sources.graph.step import Step
from lmd.sources.onnx.file.model import Constant, GraphProto, Model, Node
from lmd.sources.onnx.finders import dense, kernels, norms, quantised, recurrent, stacks, tables
from lmd.sources.onnx.heads.joined import joined
from lmd.sources.onnx.plan.branches import branch_step, has_branches, nodes_inside
from lmd.sources.onnx.plan.expressions import Applied, Expression, Leaf, leaves
from lmd.sources.onnx.plan.flattened import flattened
from lmd.sources.onnx.plan.naming import candidates
from lmd.sources.onnx.plan.view import Found, View, operation_of, view_of

__all__ = ["A_BIAS", "PEEPHOLES", "Layer", "Plan", "plan_of"]

Finder = Callable[[Node, View], Found | None]

_FINDERS: dict[str, Finder] = {
    "Gemm": dense.gemm,
    "MatMul": stacks.matmul,
    "Einsum": stacks.einsum,
    "Conv": kernels.conv,
    "ConvTranspose": kernels.conv_transpose,
    "BatchNormalization": norms.batch_norm,
    "InstanceNormalization": norms.instance_norm,
    "LayerNormalization": norms.layer_norm,
    "SimplifiedLayerNormalization": norms.rms_norm,
    "RMSNormalization": norms.rms_norm,
    "GroupNormalization": norms.group_norm,
    "Mul": norms.channel_scale,
    "Div": norms.channel_scale,
    **dict.fromkeys(("LSTM", "GRU", "RNN"), recurrent.recurrent),
    "com.microsoft.DynamicQuantizeLSTM": recurrent.dynamic_lstm,
    "Gather": tables.gather,
    "PRelu": tables.prelu,
    "QLinearConv": quantised.qlinear_conv,
    "QLinearMatMul": quantised.qlinear_matmul,
    "ConvInteger": quantised.conv_integer,
    "MatMulInteger": quantised.matmul_integer,
    "com.microsoft.QGemm": quantised.qgemm,
    "com.microsoft.MatMulNBits": quantised.matmul_nbits,
    "com.microsoft.GatherBlockQuantized": quantised.gather_blocks,
}
"""Who looks at which node."""
A_BIAS = "a bias: it shifts, it is no linear map"
PEEPHOLES = "peepholes of the gates: each entry of the cell's state times a number of its own, a diagonal without a row"
_START = "the state that a recurrent layer starts from"
_PLACES = {
    **dict.fromkeys(("LSTM", "GRU", "RNN"), (5, 7, _START)),
    "RotaryEmbedding": (1, 3, "a table of positions"),
    "QLinearConv": (8, 9, A_BIAS),
    "com.microsoft.QGemm": (6, 7, A_BIAS),
}
"""Inputs of a node that are no weights."""
_NCHWC = "com.microsoft.nchwc"
_BLOCKED = (1, 3, "a kernel or its bias in the blocked layout of onnxruntime's own, for one processor")
_REAL = frozenset(("bfloat16", "float16", "float32", "float64"))


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A layer under its path."""

    path: str
    found: Found


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a graph is.

    Attributes:
        layers: in the order of the graph.
        steps: those that the outputs need, in order.
        taken: values that steps take and that are tensors of the file, to those tensors.
        inputs: values that a call gives, to the shapes that the file declares.
        outputs: values that it returns.
        known: names of tensors that are no weights to what they are.
        heads: path of a module with the projections of an attention to what it says of its heads.
        version: of the standard's own operations.
        tables: codes that no layer has, by name, to the real numbers that operations take.
    """

    layers: tuple[Layer, ...]
    steps: tuple[Step, ...]
    taken: Mapping[str, Constant]
    inputs: Mapping[str, tuple[int | None, ...] | None]
    outputs: tuple[str, ...]
    known: Mapping[str, str]
    heads: Mapping[str, Mapping[str, object]]
    version: int
    tables: Mapping[str, Applied]


def plan_of(model: Model) -> Plan:
    """Look for layers node by node; the rest are operations."""
    graph = flattened(model.graph)
    return _Planner(view_of(graph, model.opsets), graph).plan()


@dataclass(slots=True, eq=False)
class _Planner:
    view: View
    graph: GraphProto
    layers: dict[str, Layer] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    known: dict[tuple[object, ...], str] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)

    def plan(self) -> Plan:
        absorbed: set[int] = set()
        for node in self.view.nodes:
            if id(node) not in absorbed:
                found = self._found(node)
                absorbed.update(map(id, found.absorbed if found else ()))
                self._add(node, found)
        self._look_inside()
        heads = self._join_attention()
        outputs = tuple(value.name for value in self.graph.outputs)
        needed = _needed(self.steps, outputs)
        taken: dict[str, Constant] = {}
        wanted = [*(value for step in needed for value in step.inputs), *outputs]
        steps = (*self._computed(wanted, taken), *needed)
        inputs = {value.name: value.shape for value in self.graph.inputs}
        layers, known = tuple(self.layers.values()), self._known_numbers()
        read = tables.read_tables((layer.found for layer in layers), self.view)
        return Plan(layers, steps, taken, inputs, outputs, known, heads, self.view.version, read)

    def _known_numbers(self) -> dict[str, str]:
        """Tensors that are no weights, by the place where a node takes them, to what they are."""
        found: dict[str, str] = {}
        for node in self.view.nodes:
            first, last, words = _BLOCKED if node.domain == _NCHWC else _PLACES.get(_called(node), (0, 0, ""))
            for value in node.inputs[first:last]:
                spread = self.view.makers.get(value)
                expanded = spread is not None and spread.op == "Expand" and spread.inputs
                constant = self.view.constants.get(spread.inputs[0] if spread is not None and expanded else value)
                for tensor in leaves(constant) if constant is not None else ():
                    found.setdefault(tensor.name, words)
        return found

    def _found(self, node: Node) -> Found | None:
        finder = _FINDERS.get(_called(node)) if node.inputs and node.outputs else None
        try:
            found = finder(node, self.view) if finder else None
        except (IndexError, KeyError, TypeError, ValueError):
            # a node with settings of another type or number than the standard's: the operation will refuse it
            return None
        return found if found is not None and all(map(_is_sound, found.roles.values())) else None

    def _add(self, node: Node, found: Found | None) -> None:
        path = self._path(node, found) if found else ""
        if found is None or not found.inputs:
            self.held.update((value, path) for value in node.outputs[:1] if path)
            self.steps.append(_operation(node, self.view))
            return
        for around in found.before:
            self.steps.append(_around(node, around))
        self.steps.append(Step(node.called, "", found.inputs, found.outputs, module=path))
        for around in found.after:
            self.steps.append(_around(node, around))

    def _look_inside(self) -> None:
        """Layers of branches and loops: modules that hold their weights, which are run as they are."""
        for node in [inner for outer in self.view.nodes for inner in nodes_inside(outer)]:
            found = self._found(node)
            if found is not None:
                self._path(node, Found(found.kind, found.roles, found.settings, note=found.note))

    def _join_attention(self) -> Mapping[str, Mapping[str, object]]:
        """Put the projections of attention layers under one module each, which says of its heads."""
        found = joined({path: layer.found for path, layer in self.layers.items()}, self.steps, self.view, self.held)
        self.layers = {path: Layer(path, one) for path, one in found.layers.items()}
        self.steps = found.steps
        return found.heads

    def _path(self, node: Node, found: Found) -> str:
        """The path of the layer; that of a layer met before if it is the same one, called again."""
        settings = tuple(sorted((key, str(value)) for key, value in found.settings.items()))
        key = (found.kind, settings, *((role, _same(e)) for role, e in sorted(found.roles.items())))
        if key in self.known:
            return self.known[key]
        bias = found.roles.get("bias") or found.roles.get("B")
        weight = _name(next(iter(found.roles.values())))
        names = candidates(node.name, node.op, weight, self._name_of_bias(bias), node.scope)
        path = next(path for path in names if path not in self.layers)
        self.layers[path] = Layer(path, found)
        self.known[key] = path
        return path

    def _name_of_bias(self, bias: Expression | None) -> str:
        """Its name, if it does not stand beside the weight of another layer: equal ones are stored once."""
        name = _name(bias) if bias else ""
        return "" if f"{name.rpartition('.')[0]}.weight" in self.graph.constants else name

    def _computed(self, wanted: list[str], taken: dict[str, Constant]) -> Iterator[Step]:
        """The steps that compute values of constants, and the tensors of the file that any step takes."""
        done: set[str] = set()
        for value in wanted:
            waiting = [value]
            while waiting:
                one = waiting[-1]
                node = self.view.made.get(one)
                ready = node is None or one in done or all(v in done or not v for v in node.inputs)
                if not ready and node is not None:
                    waiting.extend(v for v in node.inputs if v and v not in done)
                    continue
                waiting.pop()
                if one in done:
                    continue
                done.add(one)
                constant = self.view.constants.get(one)
                if isinstance(constant, Leaf):
                    taken[one] = constant.constant
                elif node is not None:
                    yield _operation(node, self.view)


def _called(node: Node) -> str:
    return f"{node.domain}.{node.op}" if node.domain else node.op


def _operation(node: Node, view: View) -> Step:
    if has_branches(node) and node.inputs:
        return branch_step(node, view.opsets)
    settings = node.attributes
    if node.op == "Split" and not node.domain and len(node.inputs) < 2 and not {"split", "num_outputs"} & set(settings):
        settings = {**settings, "num_outputs": len(node.outputs)}
    return Step(node.called, operation_of(node, view.opsets), node.inputs, node.outputs, settings)


def _around(node: Node, given: tuple[str, tuple[str, ...], tuple[str, ...], Mapping[str, object]]) -> Step:
    operation, inputs, outputs, attributes = given
    return Step(node.called, operation, inputs, outputs, attributes)


def _needed(steps: list[Step], outputs: tuple[str, ...]) -> list[Step]:
    """Those on the way to the outputs; nobody takes what the others make."""
    wanted, kept = set(outputs), []
    for step in reversed(steps):
        if wanted & set(step.outputs):
            kept.append(step)
            wanted.update(step.inputs)
    return [replace(step, outputs=tuple(v if v in wanted else "" for v in step.outputs)) for step in reversed(kept)]


def _is_sound(expression: Expression) -> bool:
    """Whether it is of real numbers that can be read, and no part of a tensor, which would be no layer of its own."""
    parts = list(leaves(expression))
    readable = all(constant.place is not None for constant in parts)
    # codes of a few bits fill their last block, which may be longer than the row
    packed = isinstance(expression, Applied) and expression.operation == "onnx.FromBits"
    whole = packed or prod(expression.shape) >= max((constant.elements for constant in parts), default=0)
    return readable and whole and expression.dtype in _REAL


def _same(expression: Expression) -> object:
    """What two uses of one weight have in common."""
    if isinstance(expression, Leaf):
        return expression.constant.name
    settings = tuple(sorted((key, str(value)) for key, value in expression.attributes.items()))
    return (expression.operation, settings, *(_same(part) if part is not None else None for part in expression.inputs))


def _name(expression: Expression) -> str:
    """Of the tensor with the most entries."""
    return max(leaves(expression), key=lambda constant: constant.elements).name
