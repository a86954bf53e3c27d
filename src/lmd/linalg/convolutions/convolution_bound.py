"""The norm of a convolution's operator, bounded from above by a torus it is a part of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, cos, inf, pi, prod, sqrt
from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.linalg.convolutions.borders import Border, borders
from lmd.linalg.convolutions.convolution import Convolution
from lmd.linalg.convolutions.padding import padded_size
from lmd.linalg.convolutions.symbol import block_cost, block_extremes, block_shape, half_frequencies

__all__ = ["NormBound", "norm_bound", "random_kernel_norm"]

_BUDGET = 2e11
"""Multiplications that a bound may take: some ten seconds of one core."""
_FINE, _COARSE = 32, 4
"""Frequencies of a grid for each turn of the symbol: at best, and at least for a grid to be worth its while."""
_ALLOWANCE = 16 * 2.0**-53

Method = Literal["torus", "grid", "patches", "borders", "matrix"]


@dataclass(frozen=True, slots=True)
class NormBound:
    """An upper bound of an operator norm, rounding allowed for.

    Attributes:
        value: no less than the norm.
        method: ``torus``, the largest value over the frequencies of a torus that holds the operator; ``grid``, that
            over a coarser grid, times what a trigonometric polynomial can rise between its points; ``patches``, the
            norm of the kernel matrix times the root of how many patches share an input; ``borders``, ``torus`` with
            what the padding repeats added; ``matrix``, the largest singular value of the whole matrix.
        turns: frequency of the largest value, in turns for each output along each axis; empty if none was looked for.
    """

    value: float
    method: Method
    turns: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class _Torus:
    """A circular convolution that the operator is ``factor`` times a part of, but for the borders of a padded input."""

    geometry: Convolution
    size: tuple[int, ...]
    factor: float = 1.0
    padded: bool = False

    @property
    def coarse(self) -> tuple[int, ...]:
        return tuple(n // s for n, s in zip(self.size, self.geometry.stride, strict=True))

    @property
    def cost(self) -> float:
        return prod(self.coarse) / 2 * block_cost(self.geometry)


def norm_bound(
    geometry: Convolution, kernel: Float64[Tensor, "..."], size: Sequence[int], *, budget: float = _BUDGET
) -> NormBound:
    """Bound the operator norm on inputs of one size from above.

    Zero padding: rows of the operator are rows of a circular one on a torus with room for the padding on one side,
    ``N >= H + max(padding)``, its input 0 outside the image. Circular: the torus of the input itself, exactly, where
    the stride divides it and no output comes twice; else the smaller of two bounds. Reflected or replicated: the
    unpadded convolution after the padding map, whose squared norm is at most that of the convolution alone and those
    of what it makes of borders and corners (see ``borders``).

    Args:
        geometry: the convolution; a transposed one has the norm of the convolution it transposes.
        kernel: as torch stores it, finite.
        size: spatial size of the input.
        budget: multiplications that may be spent; beyond it cheaper bounds are taken.

    References:
        Sedghi, Gupta & Long 2019; Yi 2020 (zero padding); Ehlich & Zeller 1964 (grids).
    """
    inputs = geometry.output_size(size) if geometry.transposed else tuple(size)
    plain = replace(geometry, transposed=False, channels=_plain_channels(geometry), output_padding=())
    bounds = [_bound(torus, kernel, inputs, budget) for torus in _tori(plain, inputs)]
    return min(bounds, key=_value)


def _bound(torus: _Torus, kernel: Tensor, size: tuple[int, ...], budget: float) -> NormBound:
    alone = _torus_bound(torus, kernel, budget)
    if not torus.padded:
        return alone
    squares, method = alone.value**2, "borders" if alone.method == "torus" else alone.method
    for border in borders(torus.geometry, kernel, size):
        whole = border.weight * alone.value
        squares += min(whole, _border_norm(border, budget)) ** 2
    return NormBound(sqrt(squares) * (1 + _ALLOWANCE * 2**torus.geometry.dimensions), method, alone.turns)


def _border_norm(border: Border, budget: float) -> float:
    if border.kernel is None:
        return inf
    if border.kernel.numel() == 0:
        # the stride passes it by
        return 0.0
    if border.geometry is None:
        terms = border.kernel.shape[-2] + border.kernel.shape[-1]
        return _gram_norm(border.kernel) * (1 + _ALLOWANCE * terms)
    none = ((0, 0),) * border.geometry.dimensions
    return _torus_bound(_Torus(border.geometry, _room(border.geometry, border.size, none)), border.kernel, budget).value


def random_kernel_norm(geometry: Convolution, frobenius_norm: float) -> float:
    """Where the spectrum of a large convolution ends whose kernel is independent Gaussian with this Frobenius norm.

    At every frequency a block of its symbol is a Gaussian matrix with the same variance, so that the symbol is flat,
    and the end is that of Marchenko & Pastur 1967.
    """
    o, i = block_shape(geometry)
    variance = frobenius_norm**2 / prod(geometry.kernel_shape)
    # each phase of the input is read by as many taps as there are for each
    taps = prod(geometry.kernel_size) * geometry.kernel_shape[1] / i
    return sqrt(variance * taps) * (sqrt(o) + sqrt(i))


def _value(bound: NormBound) -> float:
    return bound.value


def _plain_channels(geometry: Convolution) -> tuple[int, int]:
    out, inn = geometry.channels
    return (inn, out) if geometry.transposed else (out, inn)


def _tori(geometry: Convolution, size: tuple[int, ...]) -> Iterator[_Torus]:
    if geometry.mode == "zeros":
        yield _Torus(geometry, _room(geometry, size, geometry.pads))
        return
    if geometry.mode == "circular":
        circular = _circular(geometry, size)
        yield circular
        if circular.geometry is geometry and circular.factor == 1.0:
            return
    none = ((0, 0),) * geometry.dimensions
    yield _Torus(geometry, _room(geometry, padded_size(size, geometry.pads), none), padded=True)


def _room(geometry: Convolution, size: Sequence[int], pads: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    # what is read before the input and what is read after it may be the same zeros
    needed = (n + max(0, *pair) for n, pair in zip(size, pads, strict=True))
    return tuple(s * ceil(n / s) for n, s in zip(needed, geometry.stride, strict=True))


def _circular(geometry: Convolution, size: tuple[int, ...]) -> _Torus:
    """The torus of the input; along axes that the stride does not divide all rows of stride 1 are taken."""
    squares, outputs = 1, geometry.output_size(size)
    strides = tuple(s if n % s == 0 else 1 for n, s in zip(size, geometry.stride, strict=True))
    for n, m, s in zip(size, outputs, geometry.stride, strict=True):
        squares *= int(torch.bincount((torch.arange(m) * s).remainder(n)).max())
    same = strides == geometry.stride
    return _Torus(geometry if same else replace(geometry, stride=strides), size, sqrt(squares))


def _torus_bound(torus: _Torus, kernel: Tensor, budget: float) -> NormBound:
    if torus.cost <= budget:
        return _rounded_up(torus, *_largest(torus.geometry, kernel, torus.coarse), "torus")
    geometry = torus.geometry
    # without a stride a dilated symbol runs through the same values as the undilated one
    gaps = tuple(1 if s == 1 else d for s, d in zip(geometry.stride, geometry.dilation, strict=True))
    scale = [d // gap for d, gap in zip(geometry.dilation, gaps, strict=True)]
    geometry = replace(geometry, dilation=gaps)
    turns = [(e - 1) // s for e, s in zip(geometry.extent, geometry.stride, strict=True)]
    for density in (_FINE, _FINE // 2, 2 * _COARSE, _COARSE):
        grid = tuple(max(1, density * n) for n in turns)
        if prod(grid) / 2 * block_cost(geometry) <= budget:
            rise = prod(1 / cos(pi * n / (2 * m)) for n, m in zip(turns, grid, strict=True))
            value, where = _largest(geometry, kernel, grid)
            where = tuple(turn / d for turn, d in zip(where, scale, strict=True))
            return _rounded_up(torus, rise * value, where, "grid")
    return _rounded_up(torus, _patches(geometry, kernel), (), "patches")


def _largest(geometry: Convolution, kernel: Tensor, coarse: tuple[int, ...]) -> tuple[float, tuple[float, ...]]:
    """The largest value over the frequencies of a grid, and where it is, in turns."""
    frequencies, _ = half_frequencies(coarse)
    values = block_extremes(geometry, kernel, frequencies, coarse)[:, 0]
    place = int(values.argmax())
    return values[place].item(), tuple(f / n for f, n in zip(frequencies[place].tolist(), coarse, strict=True))


def _patches(geometry: Convolution, kernel: Tensor) -> float:
    shared = 1
    for k, s, d in zip(geometry.kernel_size, geometry.stride, geometry.dilation, strict=True):
        shared *= int(torch.bincount(torch.arange(k) * d % s).max())
    return sqrt(shared) * _gram_norm(kernel.reshape(geometry.groups, kernel.shape[0] // geometry.groups, -1))


def _gram_norm(blocks: Float64[Tensor, "group o i"]) -> float:
    G = blocks @ blocks.mT if blocks.shape[1] <= blocks.shape[2] else blocks.mT @ blocks
    return sqrt(max(torch.linalg.eigvalsh(G)[:, -1].max().item(), 0.0))


def _rounded_up(torus: _Torus, value: float, turns: tuple[float, ...], method: Method) -> NormBound:
    terms = sum(block_shape(torus.geometry)) + prod(torus.geometry.kernel_size)
    return NormBound(torus.factor * value * (1 + _ALLOWANCE * terms), method, turns)
