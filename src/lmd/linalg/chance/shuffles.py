"""The same numbers in another order: what their sizes alone would give."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

import numpy
import torch
from jaxtyping import Float32
from torch import Tensor

__all__ = ["Shuffle", "quick_values", "shuffles"]

Shuffle = Literal["entries", "rows", "columns"]

_KEPT_ENTRIES = 1 << 20
"""Entries of a matrix up to which its permutation is kept for the next one of that shape."""
_LONG = 8
"""Times the other side."""


def shuffles(W: Float32[Tensor, "out in"], seed: int = 0) -> Iterator[tuple[Shuffle, Float32[Tensor, "out in"]]]:
    """Seeded shuffles: within each row; of all entries; within each column.

    Matrices of one shape are shuffled alike. All entries: within the rows, then within the columns. Lines longer than
    8 times the other side: one random order for all, each line turned by an offset of its own, so that any two entries
    meet as they do in a uniform shuffle.

    >>> dict(shuffles(torch.arange(6.0).reshape(2, 3)))["rows"].sort(dim=1).values.tolist()
    [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    """
    rows = _within(W, 1, seed)
    yield "rows", rows
    yield "entries", _within(rows, 0, seed + 1)
    del rows
    yield "columns", _within(W, 0, seed + 1)


def quick_values(W: Float32[Tensor, "out in"]) -> Float32[Tensor, " rank"]:
    """Singular values, descending, from a Gram matrix in single precision; to a thousandth of the largest."""
    G = W.T @ W if W.shape[0] >= W.shape[1] else W @ W.T
    return torch.linalg.eigvalsh(G).flip(0).clamp_min(0.0).sqrt()


def _within(W: Tensor, axis: int, seed: int) -> Tensor:
    """The entries of each line along ``axis`` in another order."""
    lines, length = W.shape[1 - axis], W.shape[axis]
    if W.numel() <= _KEPT_ENTRIES:
        return W.gather(axis, _places(tuple(W.shape), axis, seed))
    if length >= _LONG * lines:
        return _turned(W, axis, seed)
    generator = numpy.random.default_rng(seed)
    return torch.from_numpy(generator.permuted(W.contiguous().numpy(), axis=axis))


def _turned(W: Tensor, axis: int, seed: int) -> Tensor:
    generator = numpy.random.default_rng(seed)
    order = torch.from_numpy(generator.permutation(W.shape[axis]))
    offsets = generator.choice(W.shape[axis], W.shape[1 - axis], replace=False).tolist()
    lines = W.index_select(axis, order)
    lines = (lines if axis == 1 else lines.T).contiguous()
    turned = torch.empty_like(lines)
    for line, source, offset in zip(turned, lines, offsets, strict=True):
        line[:offset], line[offset:] = source[len(source) - offset :], source[: len(source) - offset]
    return turned if axis == 1 else turned.T


@lru_cache(maxsize=8)
def _places(shape: tuple[int, int], axis: int, seed: int) -> Tensor:
    generator = numpy.random.default_rng(seed)
    lines, length = shape[1 - axis], shape[axis]
    places = generator.permuted(numpy.tile(numpy.arange(length), (lines, 1)), axis=1)
    return torch.from_numpy(places if axis == 1 else numpy.ascontiguousarray(places.T))
