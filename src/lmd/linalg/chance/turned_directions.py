"""How far noise in the entries of a matrix turns each of its singular directions."""

from dataclasses import dataclass
from math import pi

import numpy
import torch
from jaxtyping import Bool, Float64, Int64
from scipy.stats import chi2, gamma
from torch import Tensor

__all__ = ["Turned", "turned_directions"]

_ROWS = 512


@dataclass(frozen=True, slots=True, eq=False)
class Turned:
    """What noise does to the singular directions of a matrix, to first order.

    Attributes:
        right: root mean square angle in degrees of each right direction with what it becomes.
        left: of each left one.
        stable: whether both turn by at most the limit, at the level asked for.
        blocks: number of the block that a direction belongs to, from 0: neighbours that can mix by more than the limit
            share one, and only the space that they span means something.
    """

    right: Float64[Tensor, " rank"]
    left: Float64[Tensor, " rank"]
    stable: Bool[Tensor, " rank"]
    blocks: Int64[Tensor, " rank"]


def turned_directions(
    values: Float64[Tensor, " rank"], shape: tuple[int, int], variance: float, *, degrees: float, level: float
) -> Turned:
    """First-order angles under independent entry noise.

    ``E sin^2`` of direction j is ``sum_{i != j} t (s_i^2 + s_j^2) / (s_j^2 - s_i^2)^2``, plus ``t |out - in| / s_j^2``
    on the longer side. It is a sum of squares of Gaussian numbers; its quantile is that of the gamma law of the same
    mean and variance.

    Args:
        values: every singular value, descending.
        shape: ``(out, in)``.
        variance: ``t``, of the noise in each entry.
        degrees: limit for what counts as stable.
        level: probability that a direction that just counts as stable turns by more.

    References:
        Stewart & Sun 1990, V.2; Stewart 1990; Satterthwaite 1946.
    """
    limit = float(numpy.sin(numpy.deg2rad(degrees)) ** 2)
    mean, spread, neighbour = _sums(values, variance)
    angles, stable = [], torch.ones(len(values), dtype=torch.bool)
    for side in range(2):
        more = max(shape[side] - shape[1 - side], 0)
        each = variance / values.square()
        angles.append(_degrees(mean + more * each))
        stable &= _quantile(mean + more * each, spread + 2 * more * each.square(), level) <= limit
    mixing = neighbour * float(chi2.isf(level, 1)) > limit
    blocks = torch.cat([torch.zeros(1, dtype=torch.int64), (~mixing).long().cumsum(0)])[: len(values)]
    return Turned(angles[1], angles[0], stable, blocks)


def _sums(values: Tensor, variance: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance of the squared sine within the matrix's own directions, and the term of the next neighbour."""
    squares = values.square()
    mean, spread = torch.empty_like(values), torch.empty_like(values)
    for start in range(0, len(values), _ROWS):
        own = squares[start : start + _ROWS, None]
        terms = variance * (own + squares) / (own - squares).square()
        terms.diagonal(start).zero_()
        mean[start : start + _ROWS] = terms.sum(dim=1)
        spread[start : start + _ROWS] = 2 * terms.square().sum(dim=1)
    neighbour = variance * (squares[1:] + squares[:-1]) / (squares[:-1] - squares[1:]).square()
    return mean, spread, neighbour


def _degrees(mean: Tensor) -> Tensor:
    sine = torch.nan_to_num(mean, nan=1.0, posinf=1.0).sqrt().clamp(max=1.0)
    return torch.asin(sine) * 180 / pi


def _quantile(mean: Tensor, spread: Tensor, level: float) -> Tensor:
    m, v = mean.numpy(), spread.numpy()
    with numpy.errstate(all="ignore"):
        found = gamma.isf(level, m**2 / v, scale=v / m)
    # nothing to turn by, and neighbours that are equal
    found = numpy.where(m == 0, 0.0, numpy.where(numpy.isfinite(m) & numpy.isfinite(v), found, numpy.inf))
    return torch.from_numpy(numpy.nan_to_num(found, nan=numpy.inf))
