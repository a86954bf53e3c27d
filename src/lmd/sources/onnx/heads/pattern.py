"""Attention as graphs spell it out: a product, a softmax, a product, and the layers around them."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from lmd.sources.graph.step import Step
from lmd.sources.onnx.heads.widths import Cut, Shapes, cut_of
from lmd.sources.onnx.plan.expressions import Expression

__all__ = ["Pattern", "patterns"]

_MOST = 60
"""Steps on the way from a product to a layer."""
_CODES = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
_MOVES = frozenset(
    (
        *("Reshape", "Transpose", "Unsqueeze", "Squeeze", "Gather", "Split", "Slice", "Mul", "Div", "Cast", "Identity"),
        *("Concat", "Neg", "Add", "Sub", "Expand", "RotaryEmbedding", "Tile", "Flatten", "Dropout"),
        *_CODES,
    )
)
_PRODUCTS = ("onnx.MatMul", "onnx.com.microsoft.FusedMatMul", "onnx.QLinearMatMul", "onnx.Einsum")
_WHOLE = frozenset(
    ("onnx.Attention", "onnx.com.microsoft.MultiHeadAttention", "onnx.com.microsoft.GroupQueryAttention")
)
"""Operations that are a whole attention of queries, keys and values."""
_TURNS = frozenset(("Neg", "Sub", "RotaryEmbedding"))
"""What rotary positions are made with, and nothing else on the way of a query."""
_NORMS = frozenset(("rms_norm", "layer_norm", "scale"))
_OF_SCORES = frozenset(
    (
        *("Add", "Sub", "Mul", "Div", "Where", "Cast", "Clip", "Tanh", "Reshape", "Identity", "Max", "Min", "Dropout"),
        *("Transpose", "Unsqueeze", "Squeeze", "IsNaN"),
        *_CODES,
    )
)


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """One attention.

    Attributes:
        query: path of the layer that makes the queries; '' if none does.
        key: the same of the keys.
        value: the same of the values.
        output: path of the layer behind it; '' if none is.
        cut: how the queries are cut into heads; None if the graph does not show it.
        name: of its softmax, which tells where it stands.
        turned: whether queries are turned by their position on the way.
    """

    query: str
    key: str
    value: str
    output: str
    cut: Cut | None
    name: str
    turned: bool


@dataclass(slots=True, eq=False)
class _Search:
    kinds: Mapping[str, str]
    constants: Mapping[str, Expression]
    held: Mapping[str, str]
    makers: dict[str, Step]
    takers: dict[str, list[Step]]

    def path(self, step: Step | None) -> str:
        """The layer that a step is, or that holds its weights; '' for others."""
        return "" if step is None else step.module or self.held.get(next(iter(step.outputs), ""), "")

    def stop(self, step: Step) -> bool:
        """Whether it is a layer that mixes the last axis, or any product."""
        return self.kinds.get(self.path(step), "") in ("dense", "conv") or step.operation in (*_PRODUCTS, "onnx.Gemm")

    def is_product(self, step: Step) -> bool:
        """Whether both of its factors are computed."""
        return step.operation in _PRODUCTS and not self.path(step)

    def back(self, value: str, moves: frozenset[str], wanted: Callable[[Step], bool]) -> tuple[Step | None, list[Step]]:
        """The nearest step before a value that is wanted, with the steps on the way there."""
        waiting: list[tuple[str, tuple[Step, ...]]] = [(value, ())]
        seen: set[str] = set()
        while waiting and len(seen) < _MOST:
            one, way = waiting.pop(0)
            step = self.makers.get(one)
            if step is None or one in seen:
                continue
            seen.add(one)
            if wanted(step):
                return step, list(way)
            if step.operation.removeprefix("onnx.") in moves or self.kinds.get(step.module) in _NORMS:
                data = step.inputs if step.operation in _OF_MANY else step.inputs[:1]
                waiting.extend((v, (*way, step)) for v in data)
        return None, []

    def ahead(self, value: str, moves: frozenset[str], wanted: Callable[[Step], bool]) -> tuple[Step | None, str]:
        """The nearest step behind a value that is wanted, and the value it takes."""
        waiting, seen = [value], set()
        while waiting and len(seen) < _MOST:
            one = waiting.pop(0)
            if one in seen:
                continue
            seen.add(one)
            for step in self.takers.get(one, ()):
                if wanted(step):
                    return step, one
                moved = step.operation.removeprefix("onnx.") in moves and step.inputs[0] == one
                if moved or step.operation in _OF_MANY:
                    waiting.extend(v for v in step.outputs if v)
        return None, ""

    def projection(self, value: str) -> tuple[str, list[Step]]:
        """Path of the layer that a value comes from, and what it went through."""
        step, way = self.back(value, _MOVES, self.stop)
        return self.path(step), way

    def pattern(self, query: str, key: str, value: str, made: str, name: str) -> Pattern:
        """The attention of these values."""
        (q, way), (k, _), (v, _) = (self.projection(one) for one in (query, key, value))
        out, _ = self.ahead(made, _MOVES, self.stop)
        shapes = Shapes(self.constants, self.makers)
        cuts = [cut for step in way if step.operation == "onnx.Reshape" and (cut := cut_of(step, shapes))]
        turn, _ = self.back(query, _MOVES, lambda step: step.operation.removeprefix("onnx.") in _TURNS)
        # the Reshape nearest to the product is the one that has the heads
        return Pattern(q, k, v, self.path(out), cuts[0] if cuts else None, name, turn is not None)


_OF_MANY = frozenset(f"onnx.{name}" for name in ("Add", "Sub", "Mul", "Div", "Concat", "Where", "Max", "Min"))


def _products(search: _Search, softmax: Step) -> Pattern | None:
    first, _ = search.back(softmax.inputs[0], _OF_SCORES, search.stop)
    if first is None or not search.is_product(first):
        return None
    second, taken = search.ahead(softmax.outputs[0], _OF_SCORES, search.is_product)
    if second is None or taken not in _factors(second):
        return None
    query, key = _factors(first)
    weights, value = _factors(second)
    if weights != taken and second.operation == "onnx.Einsum":
        weights, value = value, weights
    return search.pattern(query, key, value, second.outputs[0], softmax.name) if weights == taken else None


def _factors(product: Step) -> tuple[str, str]:
    """What a product takes: first that whose rows it makes, then that of its columns."""
    if product.operation == "onnx.QLinearMatMul":
        return product.inputs[0], product.inputs[3]
    first, second = product.inputs[:2]
    factors, _, made = str(product.attributes.get("equation", "")).replace(" ", "").partition("->")
    return (second, first) if made and made[-1] in factors.partition(",")[0] else (first, second)


def patterns(
    steps: list[Step], kinds: Mapping[str, str], constants: Mapping[str, Expression], held: Mapping[str, str]
) -> Iterator[Pattern]:
    """Every attention of a graph.

    Args:
        steps: in order.
        kinds: path of each layer to the kind of its module.
        constants: value to what it is made of.
        held: value that an operation makes to the path of the layer that holds its weights.
    """
    takers: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        for value in step.inputs:
            takers[value].append(step)
    search = _Search(kinds, constants, held, {value: step for step in steps for value in step.outputs if value}, takers)
    for step in steps:
        if step.operation in ("onnx.Softmax", "onnx.Softmax@old") and step.outputs:
            found = _products(search, step)
        elif step.operation in _WHOLE and len(step.inputs) > 2:
            found = search.pattern(*step.inputs[:3], step.outputs[0], step.name)
            heads = step.attributes.get("q_num_heads", step.attributes.get("num_heads", 0))
            cut = Cut(count=heads) if heads else found.cut
            found = replace(found, cut=cut)
        else:
            continue
        if found is not None:
            yield found
