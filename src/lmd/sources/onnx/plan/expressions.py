"""Values that depend on no input: a tensor of the file, or operations on such tensors, with their shapes."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy

from lmd.sources.onnx.file.model import Constant, Node
from lmd.sources.onnx.file.tensors import CODES_OF_BITS, DTYPES

__all__ = ["Applied", "Expression", "Leaf", "applied", "integers", "leaves", "main_leaf", "numbers"]

Shape = tuple[int, ...]
_DEEPEST = 32
_SMALL = 4096
"""Entries of a tensor of settings, such as a shape."""


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """A tensor of the file."""

    constant: Constant
    depth: int = 0

    @property
    def shape(self) -> Shape:
        """As declared."""
        return self.constant.shape

    @property
    def dtype(self) -> str:
        """As declared."""
        return self.constant.dtype


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """An operation on constants.

    Attributes:
        operation: its registered name.
        inputs: what it takes; None for one left out.
        attributes: its settings.
        shape: of the result.
        dtype: of the result.
        depth: operations one inside the other.
    """

    operation: str
    inputs: tuple["Expression | None", ...]
    attributes: Mapping[str, Any]
    shape: Shape
    dtype: str
    depth: int


Expression = Leaf | Applied
Inputs = tuple[Expression | None, ...]


def leaves(expression: Expression) -> Iterator[Constant]:
    """The tensors of the file it is made of, each once."""
    seen: dict[str, Constant] = {}
    waiting: list[Expression] = [expression]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Leaf):
            seen.setdefault(one.constant.name, one.constant)
        else:
            waiting.extend(part for part in reversed(one.inputs) if part is not None)
    yield from seen.values()


def main_leaf(expression: Expression) -> Constant | None:
    """The tensor with the most entries; None if it is made of none."""
    return max(leaves(expression), key=lambda constant: constant.elements, default=None)


def numbers(expression: Expression | None, most: int = _SMALL) -> numpy.ndarray | None:
    """The numbers of a tensor of the file of no more than so many; None for anything else."""
    if not isinstance(expression, Leaf) or expression.constant.elements > most:
        return None
    constant, place = expression.constant, expression.constant.place
    if place is None or constant.dtype.startswith(("bfloat", "float8")) or constant.dtype in CODES_OF_BITS:
        return None
    raw = place.held
    if place.path:
        with open(place.path, "rb") as file:
            file.seek(place.offset)
            raw = file.read(constant.elements * numpy.dtype(constant.dtype).itemsize)
    return numpy.frombuffer(raw, constant.dtype).reshape(constant.shape)


def integers(expression: Expression | None) -> list[int] | None:
    """The numbers of a small tensor of whole numbers, flat, computed ones too; None for anything else."""
    found = _folded(expression)
    return [int(n) for n in found.reshape(-1)] if found is not None and found.dtype.kind in "iu" else None


def _folded(expression: Expression | None) -> numpy.ndarray | None:
    """The numbers of a shape that is computed of constants."""
    if not isinstance(expression, Applied):
        return numbers(expression)
    rule = _FOLDS.get(expression.operation)
    if rule is None or prod(expression.shape) > _LONGEST_SHAPE:
        return None
    taken = [_folded(part) for part in expression.inputs]
    if any(part is None or part.dtype.kind not in "iu" for part in taken):
        return None
    return numpy.asarray(rule(taken)).reshape(expression.shape)


_LONGEST_SHAPE = 16
_FOLDS: dict[str, Callable[[list[Any]], Any]] = {
    "onnx.Add": lambda taken: taken[0] + taken[1],
    "onnx.Sub": lambda taken: taken[0] - taken[1],
    "onnx.Mul": lambda taken: taken[0] * taken[1],
    "onnx.Concat": lambda taken: numpy.concatenate([part.reshape(-1) for part in taken]),
    **dict.fromkeys(
        ["onnx.Identity", "onnx.Cast", "onnx.Unsqueeze", "onnx.Squeeze", "onnx.Reshape"], lambda taken: taken[0]
    ),
}
"""How whole numbers are computed of which shapes are made."""


def applied(node: Node, operation: str, inputs: Inputs) -> Applied | None:
    """The result of a node on constants; None if it is no operation that weights are computed with, or grows them."""
    rule = _RULES.get(node.op) if not node.domain else None
    present = [part for part in inputs if part is not None]
    if rule is None or not present or len(node.outputs) != 1:
        return None
    try:
        shape = rule(inputs, node.attributes)
    except (ValueError, IndexError, TypeError, ArithmeticError):
        # settings that contradict the shapes: the operation will say so if it is run
        return None
    depth = 1 + max(part.depth for part in present)
    if shape is None or depth > _DEEPEST or prod(shape) > max(_SMALL, sum(prod(part.shape) for part in present)):
        return None
    return Applied(operation, inputs, node.attributes, shape, _dtype(node, inputs), depth)


def _dtype(node: Node, inputs: Inputs) -> str:
    first = next(part.dtype for part in inputs if part is not None)
    if node.op == "Cast":
        return DTYPES.get(node.attributes.get("to", 0), "unknown")
    if node.op == "DequantizeLinear" and len(inputs) > 1 and inputs[1] is not None:
        return inputs[1].dtype
    if node.op == "QuantizeLinear":
        return inputs[2].dtype if len(inputs) > 2 and inputs[2] is not None else "uint8"
    return first


def _same(inputs: Inputs, attributes: Mapping[str, Any]) -> Shape | None:
    return inputs[0].shape if inputs[0] is not None else None


def _decoded(inputs: Inputs, attributes: Mapping[str, Any]) -> Shape | None:
    return _same(inputs, attributes) if len(inputs) > 1 and inputs[1] is not None else None


def _broadcast(inputs: Inputs, attributes: Mapping[str, Any]) -> Shape | None:
    if "axis" in attributes or len(inputs) != 2:
        # the first versions of the standard lay the axes out in another way
        return None
    return tuple(numpy.broadcast_shapes(*(part.shape for part in inputs if part is not None)))


def _transpose(inputs: Inputs, attributes: Mapping[str, Any]) -> Shape | None:
    shape = _same(inputs, attributes) or ()
    perm: list[int] = attributes.get("perm", [*reversed(range(len(shape)))])
    return tuple(shape[axis] for axis in perm) if sorted(perm) == [*range(len(shape))] else None


def _axes(inputs: Inputs, attributes: Mapping[str, Any], rank: int) -> set[int] | None:
    found = attributes.get("axes")
    if found is None and len(inputs) > 1 and inputs[1] is not None:
        found = integers(inputs[1])
        if found is None:
            return None
    chosen = {axis % rank for axis in found or ()} if rank else set()
    return chosen if all(-rank <= axis < rank for axis in found or ()) else None


def _reduce(inputs: Inputs, attributes: Mapping[str, Any]) -> Shape | None:
    shape = _same(inputs, attributes) or ()
    axes = _axes(inputs, attributes, len(shape))
    if axes is None:
        return None
    if not axes:
        axes = set() if attributes.get("noop_with_empty_axes") else {*range(len(shape))}
    keep = attributes.get("keepdims", 1)
    return tuple(1 if axis in axes else n for axis, n in enumerate(shape) if keep or axis not in axes)


def _squeeze(inputs: Inputs, attributes: Mapping[str, Any]) -> Shape | None:
    shape = _same(inputs, attributes) or ()
    axes = _axes(inputs, attributes, len(shape))
    if axes is None:
        return None
    dropped = axes or {axis for axis, n in enumerate(shape) if n == 1}
    return tuple(n for axis, n in enumerate(shape) if axis not in dropped)


def _unsqueeze(inputs: Inputs, attributes: Mapping[str, Any]) -> Shape | None:
    shape = _same(inputs, attributes) or ()
    found = attributes.get("axes") or integers(inputs[1] if len(inputs) > 1 else None)
    if not found:
        return None
    rank = len(shape) + len(found)
    axes, rest = {axis % rank for axis in found}, iter(shape)
    return tuple(1 if axis in axes else next(rest) for axis in range(rank)) if len(axes) == len(found) else None


def _reshape(inputs: Inputs, attributes: Mapping[str, Any]) -> Shape | None:
    shape, wanted = _same(inputs, attributes) or (), integers(inputs[1] if len(inputs) > 1 else None)
    if wanted is None or attributes.get("allowzero"):
        return None
    found = [shape[axis] if n == 0 else n for axis, n in enumerate(wanted)]
    if -1 in found:
        known = prod(n for n in found if n != -1)
        found[found.index(-1)] = prod(shape) // known if known else 0
    return tuple(found) if min(found, default=0) >= 0 and prod(found) == prod(shape) else None


def _flatten(inputs: Inputs, attributes: Mapping[str, Any]) -> Shape | None:
    shape, axis = _same(inputs, attributes) or (), attributes.get("axis", 1)
    return prod(shape[:axis]), prod(shape[axis:])


def _concat(inputs: Inputs, attributes: Mapping[str, Any]) -> Shape | None:
    shapes = [part.shape for part in inputs if part is not None]
    axis = attributes["axis"] % len(shapes[0])
    if len({(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}) != 1 or len({*map(len, shapes)}) != 1:
        return None
    return (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])


def _slice(inputs: Inputs, attributes: Mapping[str, Any]) -> Shape | None:
    shape = _same(inputs, attributes) or ()
    given = [integers(part) for part in (*inputs[1:], *[None] * 4)][:4]
    starts, ends, axes, steps = given
    starts, ends = starts or attributes.get("starts"), ends or attributes.get("ends")
    if starts is None or ends is None or (steps or [1]) != [1] * len(steps or [1]):
        return None
    axes = axes or attributes.get("axes") or [*range(len(starts))]
    found = list(shape)
    for start, end, axis in zip(starts, ends, axes, strict=True):
        found[axis] = len(range(*slice(start, end).indices(shape[axis])))
    return tuple(found)


def _matmul(inputs: Inputs, attributes: Mapping[str, Any]) -> Shape | None:
    """As in a spectral norm, whose sigma is made of the weight and two vectors."""
    left, right = (part.shape for part in inputs if part is not None)
    if not 0 < len(left) <= 2 or not 0 < len(right) <= 2 or left[-1] != right[0]:
        return None
    return (*left[:-1], *right[1:])


def _expand(inputs: Inputs, attributes: Mapping[str, Any]) -> Shape | None:
    shape, wanted = _same(inputs, attributes) or (), integers(inputs[1] if len(inputs) > 1 else None)
    return None if wanted is None else tuple(numpy.broadcast_shapes(shape, tuple(wanted)))


Rule = Callable[[Inputs, Mapping[str, Any]], Shape | None]
_EACH = "Identity Cast Neg Sqrt Exp Log Abs Reciprocal Tanh Sigmoid Relu Softplus Sign Clip QuantizeLinear"
_RULES: dict[str, Rule] = {
    **dict.fromkeys(_EACH.split(), _same),
    **dict.fromkeys(["Add", "Sub", "Mul", "Div", "Pow"], _broadcast),
    **dict.fromkeys(
        ["ReduceL1", "ReduceL2", "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSumSquare"], _reduce
    ),
    "DequantizeLinear": _decoded,
    "MatMul": _matmul,
    "Expand": _expand,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Slice": _slice,
}
