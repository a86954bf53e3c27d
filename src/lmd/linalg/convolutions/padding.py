"""What a convolution does to the edges of its input, as a map of its own, axis by axis."""

from collections.abc import Sequence
from math import sqrt
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

__all__ = ["PaddingMode", "pad", "pad_adjoint", "padded_size", "padding_norm", "read_positions"]

PaddingMode = Literal["zeros", "circular", "reflect", "replicate"]
Pads = Sequence[tuple[int, int]]


def read_positions(size: int, pads: tuple[int, int], mode: PaddingMode) -> Int64[Tensor, " padded"]:
    """Position of the input that each position of the padded input repeats along one axis; -1 for a zero.

    >>> read_positions(3, (1, 2), "reflect").tolist(), read_positions(3, (1, 2), "zeros").tolist()
    ([1, 0, 1, 2, 1, 0], [-1, 0, 1, 2, -1, -1])
    """
    place = torch.arange(-pads[0], size + pads[1])
    if mode == "zeros":
        return place.where((place >= 0) & (place < size), -1)
    if mode == "circular":
        return place.remainder(size)
    if mode == "replicate":
        return place.clamp(0, size - 1)
    # a mirror at either end, which repeats after 2 (size - 1) steps
    period = max(2 * (size - 1), 1)
    return size - 1 - (place.remainder(period) - (size - 1)).abs()


def padded_size(size: Sequence[int], pads: Pads) -> tuple[int, ...]:
    """Spatial size after padding."""
    return tuple(n + before + after for n, (before, after) in zip(size, pads, strict=True))


def pad(x: Float[Tensor, "..."], pads: Pads, mode: PaddingMode) -> Float[Tensor, "..."]:
    """Pad the trailing axes of ``x``; a negative number of zeros cuts."""
    if mode == "zeros":
        flat = [n for pair in reversed(pads) for n in pair]
        return functional.pad(x, flat) if any(flat) else x
    for axis, pair in enumerate(pads, start=x.ndim - len(pads)):
        if pair != (0, 0):
            x = x.index_select(axis, read_positions(x.shape[axis], pair, mode))
    return x


def pad_adjoint(y: Float[Tensor, "..."], size: Sequence[int], pads: Pads, mode: PaddingMode) -> Float[Tensor, "..."]:
    """The transpose of ``pad``: what was read several times is summed.

    Args:
        y: of the padded size.
        size: spatial size before padding.
        pads: before and after, for each axis.
        mode: how it was padded.
    """
    if mode == "zeros":
        return pad(y, [(-before, -after) for before, after in pads], mode)
    for axis, (n, pair) in enumerate(zip(size, pads, strict=True), start=y.ndim - len(pads)):
        if pair != (0, 0):
            shape = (*y.shape[:axis], n, *y.shape[axis + 1 :])
            y = y.new_zeros(shape).index_add_(axis, read_positions(n, pair, mode), y)
    return y


def padding_norm(size: Sequence[int], pads: Pads, mode: PaddingMode) -> float:
    """Largest stretching of the padding map: along each axis the root of how often a position is read at most.

    >>> padding_norm((5, 5), ((1, 1), (1, 1)), "replicate")
    2.0
    """
    squares = 1
    for n, pair in zip(size, pads, strict=True):
        read = read_positions(n, pair, mode)
        squares *= int(torch.bincount(read[read >= 0], minlength=1).max())
    return sqrt(squares)
