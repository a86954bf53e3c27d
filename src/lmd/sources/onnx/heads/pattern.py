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
_MOVES = frozenset(
    (
        *("Reshape", "Transpose", "Unsqueeze", "Squeeze", "Gather", "Split", "Slice", "Mul", "Div", "Cast", "Identity"),
        *("Concat", "Neg", "Add", "Sub", "Expand", "RotaryEmbedding", "Tile", "Flatten", "Dropout"),
    )
)
_PRODUCTS = ("onnx.MatMul", "onnx.com.microsoft.FusedMatMul")
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
    makers: dict[str, Step]
    takers: dict[str, list[Step]]

    def stop(self, step: Step) -> bool:
        """Whether it is a layer that mixes the last axis, or any product."""
        return self.kinds.get(step.module, "") in ("dense", "conv") or step.operation in (*_PRODUCTS, "onnx.Gemm")

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
        return (step.module if step else ""), way

    def pattern(self, query: str, key: str, value: str, made: str, name: str) -> Pattern:
        """The attention of these values."""
        (q, way), (k, _), (v, _) = (self.projection(one) for one in (query, key, value))
        out, _ = self.ahead(made, _MOVES, self.stop)
        shapes = Shapes(self.constants, self.makers)
        cuts = [cut for step in way if step.operation == "onnx.Reshape" and (cut := cut_of(step, shapes))]
        turn, _ = self.back(query, _MOVES, lambda step: step.operation.removeprefix("onnx.") in _TURNS)
        # the Reshape nearest to the product is the one that has the heads
        return Pattern(q, k, v, out.module if out else "", cuts[0] if cuts else None, name, turn is not None)


_OF_MANY = frozenset(f"onnx.{name}" for name in ("Add", "Sub", "Mul", "Div", "Concat", "Where", "Max", "Min"))


def _products(search: _Search, softmax: Step) -> Pattern | None:
    first, _ = search.back(softmax.inputs[0], _OF_SCORES, search.stop)
    if first is None or first.operation not in _PRODUCTS:
        return None
    second, taken = search.ahead(softmax.outputs[0], _OF_SCORES, lambda step: step.operation in _PRODUCTS)
    if second is None or second.inputs[0] != taken:
        return None
    return search.pattern(first.inputs[0], first.inputs[1], second.inputs[1], second.outputs[0], softmax.name)


def patterns(steps: list[Step], kinds: Mapping[str, str], constants: Mapping[str, Expression]) -> Iterator[Pattern]:
    """Every attention of a graph.

    Args:
        steps: in order.
        kinds: path of each layer to the kind of its module.
        constants: value to what it is made of.
    """
    takers: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        for value in step.inputs:
            takers[value].append(step)
    search = _Search(kinds, constants, {value: step for step in steps for value in step.outputs if value}, takers)
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
