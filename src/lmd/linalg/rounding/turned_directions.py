"""How far noise in the entries of a matrix turns each of its singular directions."""

from dataclasses import dataclass
from math import pi, radians, sin

import numpy
import torch
from jaxtyping import Bool, Float64, Int64
from scipy.special import chdtri, gammainccinv
from torch import Tensor

from lmd.linalg.rounding.entry_noise import DirectionNoise

__all__ = ["Turned", "turned_directions"]


@dataclass(frozen=True, slots=True, eq=False)
class Turned:
    """What noise does to the leading singular directions of a matrix, to first order.

    Attributes:
        left: root mean square angle in degrees of each left direction with what it becomes.
        right: of each right one.
        stable: whether both turn by at most the limit, at the level asked for.
        blocks: number of the block that a direction belongs to, from 0. A stable direction is a block of its own;
            others share one with the neighbours that they mix with, and only the space that those span means something.
    """

    left: Float64[Tensor, " rank"]
    right: Float64[Tensor, " rank"]
    stable: Bool[Tensor, " rank"]
    blocks: Int64[Tensor, " rank"]


@dataclass(frozen=True, slots=True, eq=False)
class _Mixed:
    """Of the squared sine, of both sides: means for each direction kept and for all others, and variance of the sum."""

    within: Float64[Tensor, "2 rank rank"]
    beyond: Float64[Tensor, "2 rank"]
    spread: Float64[Tensor, "2 rank"]

    @property
    def mean(self) -> Float64[Tensor, "2 rank"]:
        return self.within.sum(dim=1) + self.beyond


def turned_directions(
    values: Float64[Tensor, " full"],
    shape: tuple[int, int],
    noise: DirectionNoise,
    *,
    degrees: float,
    level: float,
) -> Turned:
    """First-order angles under independent entry noise ``E``.

    Direction j takes on a share of direction i whose mean square is ``(s_j^2 Var u_i^T E v_j + s_i^2 Var u_j^T E v_i) /
    (s_j^2 - s_i^2)^2`` on the left, and the same with the two variances exchanged on the right. What the noise has
    outside the directions kept goes to the values beyond them, as much as possible to the nearest: a bound from above.
    The sum
    of squares of Gaussian numbers has the quantile of the gamma law of the same mean and variance.

    Args:
        values: every singular value, descending; those left out are 0.
        shape: ``(out, in)``.
        noise: along the leading directions.
        degrees: limit for what counts as stable.
        level: probability that a direction that just counts as stable turns by more.

    References:
        Stewart & Sun 1990, V.2; Stewart 1990; Satterthwaite 1946.
    """
    limit = sin(radians(degrees)) ** 2
    mixed = _mixed(values, shape, noise)
    stable = (_quantile(mixed, level) <= limit).all(dim=0)
    # a single term has one degree of freedom, and no sum has fewer
    blocks = _blocks(mixed.within.amax(dim=0), mixed.beyond.amax(dim=0), stable, limit / float(chdtri(1, level)))
    left, right = _degrees(mixed.mean)
    return Turned(left, right, stable, blocks)


def _mixed(values: Tensor, shape: tuple[int, int], noise: DirectionNoise) -> _Mixed:
    squares, rank = values.square(), len(noise.left)
    own, others = squares[:rank], squares[rank:]
    # the left side first; the right one is the left side of the transpose
    pairs, whole = torch.stack([noise.pairs, noise.pairs.T]), torch.stack([noise.left, noise.right])
    peak, norm = torch.stack([noise.left_peak, noise.right_peak]), torch.stack([noise.left_norm, noise.right_norm])
    amount = whole - pairs.sum(dim=1)
    poured = _nearest_first(amount, peak, len(others))
    within, near = _terms(own, own, pairs)
    beyond, far = _terms(own, others, poured)
    # directions without a singular value take the rest, which lies on as many of them as the peak tells
    has_more = torch.tensor([[side > len(values)] for side in shape])
    rest = (amount - poured.sum(dim=1)).clamp_min(0.0) * has_more
    outside = torch.where(rest > 0, rest / own, 0.0)
    square = torch.where(rest > 0, outside * torch.minimum(rest, peak) / own, 0.0)
    # few units that carry the noise leave it few degrees of freedom, over however many directions it spreads
    few = torch.where(whole > 0, norm / whole, 0.0).square()
    first, second = near[0] + far[0] + outside, near[1] + far[1]
    crowded = few * first.square() + few.flip(0) * second.square()
    spread = 2 * (within.square().sum(dim=1) + beyond.square().sum(dim=1) + square + crowded)
    return _Mixed(within, beyond.sum(dim=1) + outside, spread)


def _terms(own: Tensor, others: Tensor, variances: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Row i, column j: what direction j of squared value ``own[j]`` takes on of one of squared value ``others[i]``.

    And the sums over i of its two parts.
    """
    gaps = (own - others[:, None]).square()
    weights = gaps.reciprocal_()
    if others is own:
        weights.fill_diagonal_(0.0)
    # equal values stay infinite without any noise too
    parts = own * variances * weights, others[:, None] * variances.flip(0) * weights
    first, second = (torch.nan_to_num(part, nan=torch.inf, posinf=torch.inf) for part in parts)
    return first + second, (first.sum(dim=1), second.sum(dim=1))


def _nearest_first(amount: Tensor, peak: Tensor, count: int) -> Tensor:
    """An amount poured into ``count`` places in order, each holding at most ``peak``."""
    places = torch.arange(count, dtype=amount.dtype)[:, None]
    return torch.minimum((amount[:, None] - places * peak[:, None]).clamp_min_(0.0), peak[:, None])


def _quantile(mixed: _Mixed, level: float) -> Tensor:
    m, v = mixed.mean.numpy(), mixed.spread.numpy()
    known = numpy.isfinite(m) & numpy.isfinite(v) & (v > 0)
    shape, scale = (numpy.divide(a, b, out=numpy.ones_like(m), where=known) for a, b in ((m**2, v), (v, m)))
    found = gammainccinv(shape, level) * scale
    return torch.from_numpy(numpy.where(known, found, numpy.where(m == 0, 0.0, numpy.inf)))


def _blocks(within: Tensor, beyond: Tensor, stable: Tensor, limit: float) -> Tensor:
    """Cut where nobody before mixes with all that follow, nor the reverse; and on both sides of a stable direction."""
    rank = len(stable)
    if rank == 0:
        return torch.zeros(0, dtype=torch.int64)
    before = within.cumsum(dim=0)[:-1]
    after = within.flip(0).cumsum(dim=0).flip(0)[1:] + beyond
    # row c is the cut behind direction c
    earlier = torch.ones(rank - 1, rank, dtype=torch.bool).tril()
    crossing = torch.where(earlier, after, before).amax(dim=1)
    cuts = (crossing <= limit) | stable[1:] | stable[:-1]
    return torch.cat([torch.zeros(1, dtype=torch.int64), cuts.long().cumsum(0)])


def _degrees(mean: Tensor) -> Tensor:
    sine = torch.nan_to_num(mean, nan=1.0, posinf=1.0).sqrt().clamp(max=1.0)
    return torch.asin(sine) * 180 / pi
