"""Stored tensors that are no plain matrix, read as the matrix they stand for, slice by slice."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lmd.sources.joined import Joined
from lmd.sources.loaders import Combined, Loader, cut_shape

__all__ = ["HeadStack", "Pointwise", "ScaledRows", "batch_norm_gain", "batch_norm_shift"]


@dataclass(frozen=True, slots=True, eq=False)
class Pointwise:
    """A kernel of one position, ``(out, in / groups, 1, ...)``, as the matrix ``(out, in)``; zero between groups.

    Attributes:
        kernel: of the rows that are read.
        groups: of the whole kernel.
        whole: rows of the whole kernel.
        start: the first row that is read.
        columns: first column and number of columns, None for all.
    """

    kernel: Loader
    groups: int
    whole: int
    start: int = 0
    columns: tuple[int, int] | None = None

    @property
    def tensors(self) -> tuple[str, ...]:
        """Of the kernel."""
        return self.kernel.tensors

    @property
    def shape(self) -> tuple[int, ...]:
        """``(rows, columns)`` that are read."""
        return self.kernel.shape[0], self.columns[1] if self.columns else self.kernel.shape[1] * self.groups

    def __call__(self) -> Tensor:
        """Read the rows and spread each group over its own columns."""
        rows = self.kernel().flatten(1)
        if self.groups > 1:
            width, height = rows.shape[1], self.whole // self.groups
            spread = rows.new_zeros(len(rows), width * self.groups)
            for index, row in enumerate(rows):
                place = (self.start + index) // height * width
                spread[index, place : place + width] = row
            rows = spread
        return rows if self.columns is None else rows.narrow(1, *self.columns)

    def narrow(self, dim: int, start: int, length: int) -> "Pointwise":
        """The slice; of columns the whole rows are read."""
        if dim == 0:
            kernel = self.kernel.narrow(0, start, length)
            return Pointwise(kernel, self.groups, self.whole, self.start + start, self.columns)
        if not 0 <= start <= start + length <= self.shape[1]:
            raise ValueError(f"columns [{start}, {start + length}) leave the shape {self.shape}; stay inside it.")
        before = self.columns[0] if self.columns else 0
        return Pointwise(self.kernel, self.groups, self.whole, self.start, (before + start, length))


@dataclass(frozen=True, slots=True, eq=False)
class HeadStack:
    """A tensor with an axis of heads, as the matrix ``(heads * width, rest)`` or, of two axes, ``(heads * width,)``.

    Attributes:
        stack: the stored tensor.
        heads: its axis of heads.
        width: its axis of what each head has.
    """

    stack: Loader
    heads: int
    width: int

    @property
    def tensors(self) -> tuple[str, ...]:
        """Of the stack."""
        return self.stack.tensors

    @property
    def shape(self) -> tuple[int, ...]:
        """``(heads * width, rest)``."""
        sizes = self.stack.shape
        return (sizes[self.heads] * sizes[self.width], *(sizes[axis] for axis in self._rest()))

    def __call__(self) -> Tensor:
        """Read the stack; heads one behind the other."""
        return self.stack().permute(self.heads, self.width, *self._rest()).reshape(self.shape)

    def narrow(self, dim: int, start: int, length: int) -> Loader:
        """The slice; of rows only those heads are read that it touches."""
        cut_shape(self.shape, (dim, start, length))
        if dim == 1:
            return HeadStack(self.stack.narrow(self._rest()[0], start, length), self.heads, self.width)
        width = self.stack.shape[self.width]
        pieces: list[Loader] = []
        while length:
            head, within = divmod(start, width)
            count = length // width if within == 0 and length >= width else 1
            step = count * width if within == 0 and length >= width else min(length, width - within)
            piece = self.stack.narrow(self.heads, head, count)
            if step < width:
                piece = piece.narrow(self.width, within, step)
            pieces.append(HeadStack(piece, self.heads, self.width))
            start, length = start + step, length - step
        return pieces[0] if len(pieces) == 1 else Joined(tuple(pieces))

    def _rest(self) -> list[int]:
        return [axis for axis in range(len(self.stack.shape)) if axis not in (self.heads, self.width)]


@dataclass(frozen=True, slots=True, eq=False)
class ScaledRows:
    """``diag(gain) W``, in float64."""

    weight: Loader
    gain: Loader

    @property
    def tensors(self) -> tuple[str, ...]:
        """Of both."""
        return (*self.weight.tensors, *self.gain.tensors)

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the weight."""
        return self.weight.shape

    def __call__(self) -> Tensor:
        """Read and scale."""
        return self.weight().double() * self.gain().double()[:, None]

    def narrow(self, dim: int, start: int, length: int) -> "ScaledRows":
        """The slice, of both where it is one of rows."""
        gain = self.gain.narrow(0, start, length) if dim == 0 else self.gain
        return ScaledRows(self.weight.narrow(dim, start, length), gain)


def batch_norm_gain(weight: Loader, variance: Loader, eps: float) -> Loader:
    """What batch normalisation multiplies each channel with in evaluation mode."""
    return Combined(partial(_gain, eps=eps), (weight, variance), weight.shape)


def batch_norm_shift(loaders: tuple[Loader, Loader, Loader, Loader], bias: Loader | None, eps: float) -> Loader:
    """What batch normalisation adds to each channel behind a layer with this bias.

    Args:
        loaders: weight, variance, mean and bias of the normalisation.
        bias: of the layer before it.
        eps: of the normalisation.
    """
    parts = loaders if bias is None else (*loaders, bias)
    return Combined(partial(_shift, eps=eps), parts, loaders[0].shape)


def _gain(weight: Tensor, variance: Tensor, *, eps: float) -> Tensor:
    return weight.double() / torch.sqrt(variance.double() + eps)


def _shift(weight: Tensor, variance: Tensor, mean: Tensor, shift: Tensor, *biases: Tensor, eps: float) -> Tensor:
    before = sum((bias.double() for bias in biases), torch.zeros_like(mean, dtype=torch.float64))
    return shift.double() + _gain(weight, variance, eps=eps) * (before - mean.double())
