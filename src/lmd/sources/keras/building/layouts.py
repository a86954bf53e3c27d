"""Keras's layouts of weights to torch's; functions at module level, so that loaders pickle."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt

import torch
from torch import Tensor

from lmd.sources.joined import Joined
from lmd.sources.loaders import Combined, Loader
from lmd.sources.rounding import RoundingErrors, rounding_of

__all__ = ["Constant", "Dequantised", "Permuted", "cudnn_input", "depthwise", "flat", "gates_in_order", "rows"]


@dataclass(frozen=True, slots=True, eq=False)
class Permuted:
    """A tensor with its axes in another order; a slice reads no more than the slice."""

    stored: Loader
    axes: tuple[int, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of what is permuted."""
        return self.stored.tensors

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in the new order."""
        return tuple(self.stored.shape[axis] for axis in self.axes)

    def __call__(self) -> Tensor:
        """The tensor in the new order, contiguous as if it had been stored so."""
        return self.stored().permute(self.axes).contiguous()

    def narrow(self, dim: int, start: int, length: int) -> "Permuted":
        """The slice."""
        return Permuted(self.stored.narrow(self.axes[dim], start, length), self.axes)


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A number everywhere, where torch has a tensor and Keras none; of no stored tensor."""

    shape: tuple[int, ...]
    value: float = 0.0
    dtype: torch.dtype = torch.float32

    @property
    def tensors(self) -> tuple[str, ...]:
        """None."""
        return ()

    def __call__(self) -> Tensor:
        """The tensor."""
        return torch.full(self.shape, self.value, dtype=self.dtype)

    def narrow(self, dim: int, start: int, length: int) -> "Constant":
        """A slice of it."""
        return Constant((*self.shape[:dim], length, *self.shape[dim + 1 :]), self.value, self.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Dequantised:
    """Whole numbers ``(out, in)`` divided by the scale of their row, as Keras 3 computes with weights of 8 bits."""

    codes: Loader
    scale: Loader

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of both."""
        return (*self.codes.tensors, *self.scale.tensors)

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the codes."""
        return self.codes.shape

    def __call__(self) -> Tensor:
        """The real numbers, in float32."""
        return self.codes().float() / self.scale().float().unsqueeze(1)

    def narrow(self, dim: int, start: int, length: int) -> "Dequantised":
        """The slice, read without the rest."""
        scale = self.scale.narrow(0, start, length) if dim == 0 else self.scale
        return Dequantised(self.codes.narrow(dim, start, length), scale)


def _errors_of_codes(loader: Dequantised) -> Tensor:
    # rounding to the nearest whole number errs evenly over one of them
    step = loader.scale().double().abs().reciprocal() / sqrt(12)
    return step.unsqueeze(1).expand(loader.shape)


@rounding_of.register
def _of_dequantised(loader: Dequantised) -> Loader | None:
    return RoundingErrors(loader, _errors_of_codes)


@rounding_of.register
def _of_permuted(loader: Permuted) -> Loader | None:
    inner = rounding_of(loader.stored)
    return None if inner is None else Permuted(inner, loader.axes)


def _depthwise(kernel: Tensor) -> Tensor:
    *size, channels, times = kernel.shape
    moved = kernel.permute(kernel.ndim - 2, kernel.ndim - 1, *range(len(size)))
    return moved.reshape(channels * times, 1, *size)


def depthwise(kernel: Loader) -> Loader:
    """``(..., channels, times)`` to ``(channels * times, 1, ...)``."""
    *size, channels, times = kernel.shape
    return Combined(_depthwise, (kernel,), (channels * times, 1, *size))


def _reshaped(tensor: Tensor, *, shape: tuple[int, ...]) -> Tensor:
    return tensor.reshape(shape)


def flat(bias: Loader, shape: tuple[int, ...]) -> Loader:
    """The same numbers in another shape."""
    return bias if bias.shape == shape else Combined(partial(_reshaped, shape=shape), (bias,), shape)


def rows(matrix: Loader, order: Sequence[int], count: int) -> Loader:
    """The ``count`` equal pieces along the first axis, in another order."""
    height = matrix.shape[0] // count
    if list(order) == list(range(count)):
        return matrix
    return Joined(tuple(matrix.narrow(0, piece * height, height) for piece in order))


def _cudnn_input(kernel: Tensor, *, gates: int) -> Tensor:
    # cuDNN's own matrix (units, in) of each gate, kept in the shape (in, units) without being transposed
    units = kernel.shape[1] // gates
    return torch.cat([piece.reshape(units, -1) for piece in kernel.split(units, dim=1)])


def _cudnn_hidden(kernel: Tensor, *, gates: int) -> Tensor:
    return torch.cat(kernel.split(kernel.shape[1] // gates, dim=1))


def cudnn_input(kernel: Loader, gates: int, *, hidden: bool = False) -> Loader:
    """The kernel of a layer for cuDNN, ``(in, gates * units)``, to torch's ``(gates * units, in)``."""
    function = _cudnn_hidden if hidden else _cudnn_input
    return Combined(partial(function, gates=gates), (kernel,), (kernel.shape[1], kernel.shape[0]))


def gates_in_order(gates: int) -> tuple[int, ...]:
    """Torch's order of the gates, as places in Keras's: update and reset change places in a GRU."""
    return (1, 0, 2) if gates == 3 else tuple(range(gates))
