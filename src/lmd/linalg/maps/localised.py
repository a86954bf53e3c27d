"""Which coordinates carry a direction, and how even the energies of rows are, against chance."""

from math import sqrt
from statistics import NormalDist

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

__all__ = [
    "chi_square_quantile",
    "energy_outliers",
    "inverse_participation",
    "leading_units",
    "random_participation",
    "random_participation_limit",
]

_MAD = 1.4826
"""Standard deviation of a normal variable over its median absolute deviation."""


def inverse_participation(vectors: Float64[Tensor, "n rank"]) -> Float64[Tensor, " rank"]:
    """``sum_i v_i^4`` of each unit column: 1 for one coordinate, ``1/m`` for ``m`` equal ones.

    >>> inverse_participation(torch.eye(2, dtype=torch.float64)).tolist()
    [1.0, 1.0]

    References:
        Bell & Dean 1970.
    """
    return vectors.square().square().sum(dim=0)


def random_participation(size: int) -> float:
    """Mean of ``sum v^4`` over random unit vectors: ``3 / (n + 2)``.

    >>> random_participation(1)
    1.0

    References:
        Porter & Thomas 1956.
    """
    return 3.0 / (size + 2)


def random_participation_limit(size: int) -> float:
    """What a random unit vector hardly exceeds: five standard deviations above the mean."""
    # moments of a point on the sphere: E v^8 and E v_i^4 v_j^4
    down = size * (size + 2) * (size + 4) * (size + 6)
    second = (size * 105 + size * (size - 1) * 9) / down
    mean = random_participation(size)
    return mean + 5 * sqrt(max(second - mean**2, 0.0))


def leading_units(vectors: Float64[Tensor, "n rank"], count: int) -> tuple[Int64[Tensor, "rank c"], Tensor]:
    """The ``count`` coordinates of largest magnitude of each column, and their entries."""
    places = vectors.abs().topk(min(count, len(vectors)), dim=0).indices
    return places.T.contiguous(), vectors.gather(0, places).T.contiguous()


def chi_square_quantile(probability: float, freedom: int) -> float:
    """Of a mean of ``freedom`` squared normal variables, by a cube root that is nearly normal.

    References:
        Wilson & Hilferty 1931.
    """
    variance = 2 / (9 * freedom)
    return max(1 - variance + NormalDist().inv_cdf(probability) * sqrt(variance), 0.0) ** 3


def energy_outliers(energies: Float64[Tensor, " n"], freedom: int) -> Float64[Tensor, " n"]:
    """How many standard deviations each energy lies above the median energy.

    The deviation is that of a mean of ``freedom`` squared normal variables, or the one that the energies themselves
    show (median absolute deviation), whichever is larger: an even spread is no outlier, however wide. Taken of cube
    roots, which are nearly normal.
    """
    middle = energies.median()
    if middle <= 0:
        return torch.where(energies > 0, torch.inf, 0.0).to(energies.dtype)
    roots = (energies / middle).pow(1 / 3)
    centre = roots.median()
    spread = _MAD * (roots - centre).abs().median()
    return (roots - centre) / spread.clamp_min(sqrt(2 / (9 * freedom)))
