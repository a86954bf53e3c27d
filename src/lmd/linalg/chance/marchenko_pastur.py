"""What singular values an independent Gaussian matrix of a shape has."""

from functools import lru_cache
from math import sqrt
from typing import NamedTuple

import numpy
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["marchenko_pastur_quantiles", "noise_edge"]

_GRID = 512
_NEWTON_STEPS = 1


def noise_edge(shape: tuple[int, int]) -> float:
    """Where the singular values of a Gaussian matrix with entries of unit variance end; times their root mean square.

    >>> noise_edge((100, 25))
    15.0

    References:
        Bai & Yin 1993; Davidson & Szarek 2001: the expected largest value is at most this.
    """
    return sqrt(shape[0]) + sqrt(shape[1])


def marchenko_pastur_quantiles(shape: tuple[int, int], groups: int = 1) -> Float64[Tensor, " rank"]:
    """Singular values to expect of a Gaussian matrix with independent entries of unit variance, descending.

    Value i is the quantile ``1 - (i - 1/2) / rank`` of the Marchenko-Pastur law, accurate to 1e-8 of the edge.

    Args:
        shape: ``(out, in)`` of the whole map.
        groups: diagonal blocks; the values of all blocks are pooled, as they follow one law.

    >>> marchenko_pastur_quantiles((3, 3)).round(decimals=3)
    tensor([2.5080, 1.3990, 0.4550], dtype=torch.float64)

    References:
        Marchenko & Pastur 1967.
    """
    block = (shape[0] // groups, shape[1] // groups)
    return torch.from_numpy(_quantiles(max(block), min(block), groups).copy())


@lru_cache(maxsize=256)
def _quantiles(length: int, side: int, groups: int) -> NDArray[numpy.float64]:
    rank = side * groups
    if rank == 0:
        return numpy.zeros(0)
    share = (numpy.arange(rank) + 0.5) / rank
    grid = _grid(length, side)
    tail = _law(grid, length, side).tail
    theta = numpy.interp(share, tail, grid)
    cell = numpy.searchsorted(tail, share).clip(1, grid.size - 1)
    for _ in range(_NEWTON_STEPS):
        law = _law(theta, length, side)
        theta = (theta - (law.tail - share) / numpy.maximum(law.density, 1e-300)).clip(grid[cell - 1], grid[cell])
    return numpy.sqrt(_law(theta, length, side).eigenvalue)


def _grid(length: int, side: int) -> NDArray[numpy.float64]:
    grid = numpy.linspace(0.0, numpy.pi, _GRID + 1)
    gap = (sqrt(length) - sqrt(side)) / (sqrt(length) + sqrt(side))
    if gap == 0.0:
        return grid
    # near the lower edge of almost square shapes the density bends within an angle of `gap`
    close = numpy.pi - numpy.geomspace(gap / _GRID, numpy.pi / 4, _GRID)[::-1]
    return numpy.union1d(grid, close)


class _Law(NamedTuple):
    """At angles ``theta``: the eigenvalue, the density, and its integral from 0, the share of larger eigenvalues."""

    eigenvalue: NDArray[numpy.float64]
    density: NDArray[numpy.float64]
    tail: NDArray[numpy.float64]


def _law(theta: NDArray[numpy.float64], length: int, side: int) -> _Law:
    low, root = sqrt(length) - sqrt(side), sqrt(length * side)
    cosine, sine = numpy.cos(theta / 2), numpy.sin(theta / 2)
    # centre + half * cos(theta), written so that nothing cancels at the lower edge
    eigenvalue = low**2 + 4 * root * cosine**2
    if length == side:
        return _Law(eigenvalue, 2 * sine**2 / numpy.pi, (theta - 2 * sine * cosine) / numpy.pi)
    density = (4 * root * sine * cosine) ** 2 / (2 * numpy.pi * side * eigenvalue)
    bend = numpy.arctan2(low / (sqrt(length) + sqrt(side)) * sine, cosine)
    tail = (length + side) * theta - 4 * root * sine * cosine - 2 * (length - side) * bend
    return _Law(eigenvalue, density, tail / (2 * numpy.pi * side))
