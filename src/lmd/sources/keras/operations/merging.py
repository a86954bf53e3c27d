"""Layers that take several values."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lmd.sources.graph.operations import operation

__all__ = ["PAIRWISE"]

PAIRWISE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "Subtract": torch.sub,
    "Multiply": torch.mul,
    "Maximum": torch.maximum,
    "Minimum": torch.minimum,
    "Divide": torch.div,
    "Matmul": torch.matmul,
}


@operation("keras.merge")
def _merge(*values: Tensor, how: str) -> Tensor:
    values = _of_equal_rank(values)
    if how == "Average":
        return reduce(torch.add, values) / len(values)
    return reduce(PAIRWISE[how], values)


def _of_equal_rank(values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Keras puts the missing axes behind that of the batch."""
    rank = max(value.ndim for value in values)
    return tuple(value[(slice(None), *(None,) * (rank - value.ndim))] for value in values)


@operation("keras.concatenate")
def _concatenate(*values: Tensor, axis: int) -> Tensor:
    return torch.cat(values, dim=axis)


@operation("keras.dot")
def _dot(x: Tensor, y: Tensor, *, axes: Sequence[int], normalize: bool) -> Tensor:
    """Sums over one axis of each, example by example; what is left of the second comes last."""
    first, second = (axis % value.ndim for axis, value in zip(axes, (x, y), strict=True))
    if normalize:
        x, y = functional.normalize(x, dim=first), functional.normalize(y, dim=second)
    left, right = x.movedim(first, -1), y.movedim(second, 1)
    rest, others = left.shape[1:-1], right.shape[2:]
    product = left.reshape(len(x), -1, left.shape[-1]) @ right.reshape(len(y), right.shape[1], -1)
    found = product.reshape(len(x), *rest, *others)
    return found if found.ndim > 1 else found.unsqueeze(1)


@operation("keras.attend")
def _attend(
    query: Tensor,
    value: Tensor,
    key: Tensor,
    *more: Tensor | None,
    additive: bool,
    causal: bool,
    scores: bool,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attention without projections: scores of all pairs, softmax, mean of the values; ``more``: masks and scale."""
    query_mask, value_mask, scale = more
    if additive:
        sums = torch.tanh(query.unsqueeze(-2) + key.unsqueeze(-3))
        found = (sums if scale is None else sums * scale).sum(dim=-1)
    else:
        found = query @ key.transpose(-1, -2)
        found = found if scale is None else found * scale
    if value_mask is not None:
        found = found.masked_fill(~value_mask.bool().unsqueeze(-2), -1e9)
    if causal:
        later = torch.ones(found.shape[-2:], dtype=torch.bool).triu(1)
        found = found.masked_fill(later, -1e9)
    weights = torch.softmax(found, dim=-1)
    result = weights @ value
    if query_mask is not None:
        result = result * query_mask.unsqueeze(-1).to(result.dtype)
    return (result, weights) if scores else result


@operation("keras.einsum")
def _einsum(x: Tensor, kernel: Tensor, bias: Tensor | None = None, *, equation: str) -> Tensor:
    found = torch.einsum(equation, x, kernel)
    return found if bias is None else found + bias


@operation("keras.plus")
def _plus(x: Tensor, bias: Tensor) -> Tensor:
    return x + bias


@operation("keras.pair")
def _pair(x: Tensor, y: Tensor | None = None, *, how: str, constant: Any = 0.0, turned: bool = False) -> Tensor:
    """An operation of two values, or of one and a number or array, which may come first."""
    other = torch.as_tensor(constant, dtype=x.dtype, device=x.device) if y is None else y
    return PAIRWISE[how](other, x) if turned else PAIRWISE[how](x, other)
