"""Weights that a graph computes from tensors of its file, and how far rounding may have moved them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from lmd.sources.graph.operations import operation_named
from lmd.sources.loaders import Combined, Loader
from lmd.sources.onnx.file.tensors import CODES_OF_BITS
from lmd.sources.onnx.finders.quantised import DECODED
from lmd.sources.onnx.plan.expressions import Applied, Expression, Leaf
from lmd.sources.rounding import float_errors, rounding_of

__all__ = ["Evaluation", "Rearranged"]

_HALF = ("float16", "bfloat16")
_CODES = ("int8", "uint8", "int16", "uint16", *CODES_OF_BITS)
_MOVES = frozenset(
    f"onnx.{name}"
    for name in ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Identity", "Flat", "LaidOut")
)


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What a weight is computed with: a function of the tensors of the file that it is made of."""

    expression: Expression
    names: tuple[str, ...]

    def __call__(self, *parts: Tensor) -> Tensor:
        """Compute it."""
        known = dict(zip(self.names, parts, strict=True))
        with torch.no_grad():
            return _value(self.expression, known)

    def errors(self, loader: Combined) -> Loader | None:
        """The errors of what it computes, from the same parts; None where they are not known."""
        if not _is_rounded(self.expression):
            return None
        return Combined(_Errors(self.expression, self.names), loader.parts, loader.size, loader.cuts)


def _value(one: Expression | None, known: Mapping[str, Tensor]) -> Any:
    if one is None:
        return None
    if isinstance(one, Leaf):
        return known[one.constant.name]
    taken = [_value(part, known) for part in one.inputs]
    return operation_named(one.operation)(*taken, **one.attributes)


def _is_rounded(one: Expression) -> bool:
    """Whether it is codes times a step, or half precision, moved about and scaled."""
    if isinstance(one, Leaf):
        return one.dtype in _HALF
    first = one.inputs[0]
    if one.operation == "onnx.DequantizeLinear":
        return first is not None and first.dtype in _CODES and not one.attributes.get("output_dtype")
    if one.operation == "onnx.FromBits":
        return True
    moved = one.operation in (*_MOVES, "onnx.Scaled", "onnx.Cast")
    return moved and one.dtype in ("float32", "float64", *_HALF) and first is not None and _is_rounded(first)


@dataclass(frozen=True, slots=True, eq=False)
class _Errors:
    """The root mean square error of each number of a weight: a step over the square root of 12."""

    expression: Expression
    names: tuple[str, ...]

    def __call__(self, *parts: Tensor) -> Tensor:
        """Compute them."""
        return _errors(self.expression, dict(zip(self.names, parts, strict=True)))


def _errors(one: Expression, known: Mapping[str, Tensor]) -> Tensor:
    if isinstance(one, Leaf):
        return float_errors(known[one.constant.name])
    if one.operation in DECODED:
        return _steps(one, known) / sqrt(12)
    first, *others = one.inputs
    assert first is not None
    inner = _errors(first, known)
    if one.operation == "onnx.Scaled":
        return abs(float(one.attributes["factor"])) * inner
    if one.operation == "onnx.Cast":
        return inner
    return operation_named(one.operation)(inner, *(_value(part, known) for part in others), **one.attributes)


def _steps(one: Applied, known: Mapping[str, Tensor]) -> Tensor:
    """The step of each number: what the code 1 stands for, beside the zero point."""
    codes, scale = _value(one.inputs[0], known), _value(one.inputs[1], known)
    if one.operation == "onnx.FromBits":
        zeros = torch.zeros_like(scale, dtype=torch.float64)
        ones = torch.full_like(codes, sum(1 << place for place in range(0, 8, one.attributes["bits"])))
        return operation_named(one.operation)(ones, scale.double().abs(), zeros, **one.attributes)
    dequantised = operation_named(one.operation)
    return dequantised(torch.ones_like(codes), scale.double().abs(), None, **one.attributes)


@dataclass(frozen=True, slots=True, eq=False)
class Rearranged:
    """A function that only picks and moves numbers of one tensor, so that their errors move along."""

    function: Callable[[Tensor], Tensor]

    def __call__(self, stored: Tensor) -> Tensor:
        """Move them."""
        return self.function(stored)

    def errors(self, loader: Combined) -> Loader | None:
        """The errors, moved in the same way."""
        inner = rounding_of(loader.parts[0])
        return None if inner is None else Combined(self, (inner,), loader.size, loader.cuts)
