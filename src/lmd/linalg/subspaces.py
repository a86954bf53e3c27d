"""Angles between two subspaces, and those that chance alone would give."""

from functools import lru_cache

import numpy
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["largest_random_cosine", "principal_cosines", "random_cosines", "subspace_tilt"]

_DRAWS = 200
_LEVEL = 0.95


def principal_cosines(A: Float64[Tensor, "n k"], B: Float64[Tensor, "n k"]) -> Float64[Tensor, " k"]:
    """Cosines of the principal angles between the spans of two sets of orthonormal columns, descending.

    >>> A = torch.eye(3, dtype=torch.float64)
    >>> principal_cosines(A[:, :2], A[:, 1:])
    tensor([1., 0.], dtype=torch.float64)

    References:
        Björck & Golub 1973.
    """
    return torch.linalg.svdvals(A.T @ B).clamp(max=1.0)


def random_cosines(n: int, k: int) -> Float64[Tensor, " k"]:
    """The mean of each principal cosine, descending, between two independent random subspaces of ``k`` of ``n``.

    From 200 seeded draws; their mean square is ``k / n`` up to what 200 draws leave.

    Raises:
        ValueError: ``k`` is not between 1 and ``n``.
    """
    return torch.from_numpy(_drawn(n, k).mean(axis=0))


def largest_random_cosine(n: int, k: int) -> float:
    """What the largest principal cosine of two independent random subspaces stays below in 95 of 100 seeded draws.

    Raises:
        ValueError: ``k`` is not between 1 and ``n``.

    >>> largest_random_cosine(3, 3)
    1.0
    """
    return min(1.0, float(numpy.quantile(_drawn(n, k)[:, 0], _LEVEL)))


@lru_cache(maxsize=512)
def _drawn(n: int, k: int) -> NDArray[numpy.float64]:
    """Principal cosines, ``(draws, k)``: those of the first ``k`` coordinates with the span of a Gaussian matrix.

    Of the other ``n - k`` rows only the triangular factor matters, and its distribution is known, so that the cost
    does not depend on ``n`` (Bartlett 1933).
    """
    if not 1 <= k <= n:
        raise ValueError(f"k={k} must be between 1 and the dimension {n}; ask for fewer directions.")
    if k == n:
        return numpy.ones((_DRAWS, k))
    generator = numpy.random.default_rng(0)
    top = generator.standard_normal((_DRAWS, k, k))
    rest = min(n - k, k)
    below = numpy.triu(generator.standard_normal((_DRAWS, rest, k)), 1)
    degrees = numpy.arange(n - k, n - k - rest, -1)
    below[:, numpy.arange(rest), numpy.arange(rest)] = numpy.sqrt(generator.chisquare(degrees, (_DRAWS, rest)))
    Q, _ = numpy.linalg.qr(numpy.concatenate([top, below], axis=1))
    return numpy.linalg.svd(Q[:, :k], compute_uv=False).clip(0.0, 1.0)


def subspace_tilt(S: Float64[Tensor, " rank"], k: int, noise: float) -> float:
    """How far an error of this spectral norm may turn the space of the ``k`` leading directions: noise over gap.

    Returns:
        At most 1, a right angle, which is what a gap of nothing gives.

    References:
        Wedin 1972.

    >>> subspace_tilt(torch.tensor([3.0, 1.0], dtype=torch.float64), 1, 0.5)
    0.25
    """
    following = S[k].item() if k < S.numel() else 0.0
    gap = S[k - 1].item() - following
    return min(1.0, noise / gap) if gap > 0 else 1.0
