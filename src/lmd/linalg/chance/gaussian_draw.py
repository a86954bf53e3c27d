"""Singular values of one random matrix, gaps included, without the matrix."""

from functools import lru_cache

import numpy
import torch
from jaxtyping import Float64
from scipy.linalg import eigvalsh_tridiagonal
from torch import Tensor

__all__ = ["gaussian_draw"]


def gaussian_draw(shape: tuple[int, int], frobenius_norm: float) -> Float64[Tensor, " rank"]:
    """Singular values, descending, of one seeded Gaussian matrix, scaled to a Frobenius norm.

    Its bidiagonal form alone is drawn, whose entries are independent chi variables. Unlike quantiles of the limit law
    the values of a draw lie as close together as those of a random matrix do.

    References:
        Dumitriu & Edelman 2002.
    """
    values = _draw(max(shape), min(shape))
    return values * (frobenius_norm / values.norm())


@lru_cache(maxsize=256)
def _draw(longer: int, shorter: int) -> Tensor:
    generator = numpy.random.default_rng(0)
    diagonal = generator.chisquare(numpy.arange(longer, longer - shorter, -1))
    beside = generator.chisquare(numpy.arange(shorter - 1, 0, -1)) if shorter > 1 else numpy.zeros(0)
    squares = diagonal + numpy.concatenate([numpy.zeros(1), beside])
    found = eigvalsh_tridiagonal(squares, numpy.sqrt(diagonal[:-1] * beside))
    return torch.from_numpy(numpy.sqrt(numpy.maximum(found[::-1], 0.0)))
