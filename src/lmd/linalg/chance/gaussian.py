"""The spectrum a random layer of the same shape and size would have."""

from functools import cache
from math import log, sqrt

import numpy
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

from lmd.linalg.chance.marchenko_pastur import marchenko_pastur_quantiles, noise_edge

__all__ = ["bulk_edge", "entry_scale", "gaussian_product_spectrum", "gaussian_spectrum"]

_SMALL_BLOCK = 16


def entry_scale(shape: tuple[int, int], frobenius_norm: float, *, groups: int = 1) -> float:
    """Root mean square of the entries inside the diagonal blocks, in the unit of the entries."""
    out, inn = shape
    return frobenius_norm / sqrt(out * inn / groups)


def gaussian_spectrum(shape: tuple[int, int], frobenius_norm: float, *, groups: int = 1) -> Float64[Tensor, " rank"]:
    """Singular values, descending, of an iid Gaussian matrix with this shape and Frobenius norm.

    Marchenko-Pastur quantiles, rescaled so that the sum of squares is exact: the limit of large matrices, used as it is
    for small ones. For ``groups`` diagonal blocks the union over the blocks; many small blocks scatter about the limit,
    so that for them it is one seeded draw, of blocks whose smaller side is below 16.

    References:
        Marchenko & Pastur 1967.
    """
    small = groups > 1 and min(shape) // groups < _SMALL_BLOCK
    quantiles = _blocks_draw(shape, groups) if small else marchenko_pastur_quantiles(shape, groups)
    norm = quantiles.square().sum().sqrt().item()
    return quantiles * (frobenius_norm / norm if norm else 0.0)


@cache
def _blocks_draw(shape: tuple[int, int], groups: int) -> Float64[Tensor, " rank"]:
    rows, columns = shape[0] // groups, shape[1] // groups
    generator = numpy.random.default_rng(0)
    if min(rows, columns) == 1:
        # the one singular value of a vector is its length
        return torch.from_numpy(numpy.sqrt(-numpy.sort(-generator.chisquare(max(rows, columns), groups))))
    values = numpy.linalg.svd(generator.standard_normal((groups, rows, columns)), compute_uv=False)
    return torch.from_numpy(-numpy.sort(-values.ravel()))


def gaussian_product_spectrum(shape: tuple[int, int], inner: int, frobenius_norm: float) -> Float64[Tensor, " rank"]:
    """Singular values, descending, of the product of two independent iid Gaussian factors with this Frobenius norm.

    One seeded draw, not a limit: the values scatter about their means by a share of the order ``1 / inner``. Only the
    triangular factors are drawn, whose distribution is known (Bartlett 1933), so that the cost does not depend on the
    sides.

    Args:
        shape: ``(out, in)`` of the product.
        inner: width of the factors; at most either side counts.
        frobenius_norm: to scale to.
    """
    values = _product_draw(shape, inner)
    return values * frobenius_norm


@cache
def _product_draw(shape: tuple[int, int], inner: int) -> Float64[Tensor, " rank"]:
    generator = numpy.random.default_rng(0)
    left, right = (_triangular_draw(side, inner, generator) for side in shape)
    values = torch.linalg.svdvals(torch.from_numpy(left @ right.T))
    return values / values.norm()


def _triangular_draw(rows: int, columns: int, generator: numpy.random.Generator) -> NDArray[numpy.float64]:
    """``R`` of the QR factorisation of a Gaussian matrix: chi variables on the diagonal, normal ones above."""
    r = min(rows, columns)
    R = numpy.triu(generator.standard_normal((r, columns)), 1)
    numpy.fill_diagonal(R, numpy.sqrt(generator.chisquare(numpy.arange(rows, rows - r, -1))))
    return R


def bulk_edge(shape: tuple[int, int], frobenius_norm: float, *, groups: int = 1) -> float:
    """``s (sqrt(out) + sqrt(in))``, ``s`` the root mean square entry: where the noise spectrum ends.

    Of a block-diagonal map ``s (sqrt(out) + sqrt(in) + sqrt(2 log(20 groups)))`` of one block: all the blocks of a
    random map stay below that with a probability of at least 95 %.

    References:
        Davidson & Szarek 2001, theorem II.13.
    """
    out, inn = shape
    beyond = sqrt(2 * log(20 * groups)) if groups > 1 else 0.0
    scale = entry_scale(shape, frobenius_norm, groups=groups)
    return scale * (noise_edge((out // groups, inn // groups)) + beyond)
