"""What a convolution does to a whole input, and to a periodic one."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.modules.conv import _ConvNd

from lmd.layers.layer_matrix import LayerMatrix
from lmd.linalg.convolutions.convolution import Convolution
from lmd.linalg.panels import to_float64
from lmd.linalg.singular.lanczos import LinearMap

__all__ = ["ConvolutionMap", "ConvolutionOperator", "ConvolutionSymbol", "geometry_of"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ConvolutionMap(LayerMatrix):
    """A convolution on inputs of one size; the loader reads the kernel.

    Rows are outputs and columns inputs, channel by channel, each channel row by row.

    Attributes:
        geometry: all of it but the kernel.
        size: spatial size of the input.
    """

    geometry: Convolution
    size: tuple[int, ...]

    def kernel(self) -> Float64[Tensor, "..."]:
        """The kernel as torch stores it, in float64.

        Raises:
            ValueError: it is complex.
        """
        stored = self.form(self.loader())
        return to_float64(stored.flatten(1)).reshape(stored.shape)

    def load(self) -> Float64[Tensor, "out in"]:
        """The whole matrix, in float64: the square of what a picture holds, so for small inputs only."""
        return self.geometry.matrix(self.kernel(), self.size)

    def panels(self) -> Iterator[Float64[Tensor, "out in"]]:
        """The matrix in one piece."""
        yield self.load()

    def linear_map(self, kernel: Float[Tensor, "..."]) -> LinearMap:
        """The map with this kernel and its transpose, in the kernel's type; the matrix is not made."""
        return LinearMap(self.shape, partial(_applied, self, kernel), partial(_adjoint, self, kernel), kernel.dtype)


def _applied(layer: ConvolutionMap, kernel: Tensor, V: Float[Tensor, "k in"]) -> Float[Tensor, "k out"]:
    x = V.reshape(len(V), layer.geometry.channels[1], *layer.size)
    return layer.geometry.apply(kernel, x).flatten(1)


def _adjoint(layer: ConvolutionMap, kernel: Tensor, U: Float[Tensor, "k out"]) -> Float[Tensor, "k in"]:
    geometry = layer.geometry
    y = U.reshape(len(U), geometry.channels[0], *geometry.output_size(layer.size))
    return torch.flatten(geometry.adjoint(kernel, y, layer.size), 1)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ConvolutionOperator(ConvolutionMap):
    """The convolution on inputs of the size that the network gives it, its padding included."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ConvolutionSymbol(ConvolutionMap):
    """The convolution on a torus, where waves of one frequency stay among themselves.

    Attributes:
        coarse: frequencies along each axis; the torus has the stride times as many positions.
    """

    coarse: tuple[int, ...]


def geometry_of(module: _ConvNd) -> Convolution:
    """What a module's settings make of its kernel."""
    mode: Any = module.padding_mode
    if isinstance(module.padding, str):
        pads = tuple(_same(d * (k - 1)) if module.padding == "same" else (0, 0) for k, d in _reach(module))
    else:
        pads = tuple((n, n) for n in module.padding)
    return Convolution(
        (module.out_channels, module.in_channels),
        tuple(module.kernel_size),
        tuple(module.stride),
        tuple(module.dilation),
        pads,
        mode,
        module.groups,
        module.transposed,
        tuple(module.output_padding) if module.transposed else (),
    )


def _reach(module: _ConvNd) -> Iterator[tuple[int, int]]:
    return zip(module.kernel_size, module.dilation, strict=True)


def _same(total: int) -> tuple[int, int]:
    # an odd one goes to the end, as in torch
    return total // 2, total - total // 2
