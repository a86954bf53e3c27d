"""What singular values an independent Gaussian matrix of a shape has."""

from functools import lru_cache
from math import sqrt

import numpy
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["marchenko_pastur_quantiles", "noise_edge"]

_GRID = 1024
_NEWTON_STEPS = 3


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

    Value i is the quantile ``1 - (i - 1/2) / rank`` of the Marchenko-Pastur law, accurate to 1e-9 of the edge.

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
    grid = numpy.linspace(0.0, numpy.pi, _GRID + 1)
    tail = _tail(grid, length, side)
    theta = numpy.interp(share, tail, grid)
    cell = numpy.searchsorted(tail, share).clip(1, _GRID)
    for _ in range(_NEWTON_STEPS):
        density = _density(theta, length, side)
        step = (_tail(theta, length, side) - share) / numpy.maximum(density, 1e-300)
        theta = numpy.clip(theta - step, grid[cell - 1], grid[cell])
    return numpy.sqrt(_eigenvalue(theta, length, side))


def _eigenvalue(theta: NDArray[numpy.float64], length: int, side: int) -> NDArray[numpy.float64]:
    # centre + half * cos(theta), written so that nothing cancels at the lower edge
    return (sqrt(length) - sqrt(side)) ** 2 + 4 * sqrt(length * side) * numpy.cos(theta / 2) ** 2


def _density(theta: NDArray[numpy.float64], length: int, side: int) -> NDArray[numpy.float64]:
    if length == side:
        return (1 - numpy.cos(theta)) / numpy.pi
    half = 2 * sqrt(length * side)
    return (half * numpy.sin(theta)) ** 2 / (2 * numpy.pi * side * _eigenvalue(theta, length, side))


def _tail(theta: NDArray[numpy.float64], length: int, side: int) -> NDArray[numpy.float64]:
    """Share of eigenvalues above ``eigenvalue(theta)``: the integral of the density from 0, in closed form."""
    half, gap = 2 * sqrt(length * side), length - side
    ratio = (sqrt(length) - sqrt(side)) / (sqrt(length) + sqrt(side))
    bend = numpy.arctan2(ratio * numpy.sin(theta / 2), numpy.cos(theta / 2)) if gap else 0.0
    return ((length + side) * theta - half * numpy.sin(theta) - 2 * gap * bend) / (2 * numpy.pi * side)
