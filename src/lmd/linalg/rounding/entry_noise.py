"""Independent noise in the entries of a matrix, seen along its singular directions."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from math import sqrt

import torch
from jaxtyping import Float64
from torch import Tensor

__all__ = ["DirectionNoise", "direction_noise", "even_noise", "factor_noise"]


@dataclass(frozen=True, slots=True, eq=False)
class DirectionNoise:
    """Variances of noise ``E`` along directions ``u_i`` and ``v_j`` that were kept.

    Attributes:
        pairs: ``Var u_i^T E v_j``.
        left: ``E |E v_j|^2``, over all of the output space.
        left_peak: the largest variance of ``x^T E v_j`` over unit vectors ``x``, or more.
        left_norm: Frobenius norm of the covariance of ``E v_j``, or more: how few units carry it.
        right: ``E |E^T u_i|^2``, over all of the input space.
        right_peak: the largest variance of ``u_i^T E y`` over unit vectors ``y``, or more.
        right_norm: Frobenius norm of the covariance of ``E^T u_i``, or more.
        total: ``E |E|_F^2``.
    """

    pairs: Float64[Tensor, "rank rank"]
    left: Float64[Tensor, " rank"]
    left_peak: Float64[Tensor, " rank"]
    left_norm: Float64[Tensor, " rank"]
    right: Float64[Tensor, " rank"]
    right_peak: Float64[Tensor, " rank"]
    right_norm: Float64[Tensor, " rank"]
    total: float

    def transposed(self) -> "DirectionNoise":
        """That of ``E^T``."""
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        left = {name: own[name.replace("left", "right")] for name in own if name.startswith("left")}
        right = {name: own[name.replace("right", "left")] for name in own if name.startswith("right")}
        return DirectionNoise(self.pairs.T, **left, **right, total=self.total)

    def times(self, factor: float) -> "DirectionNoise":
        """That of ``sqrt(factor) E``."""
        return DirectionNoise(**{one.name: factor * getattr(self, one.name) for one in fields(self)})

    def plus(self, other: "DirectionNoise") -> "DirectionNoise":
        """That of the sum of two independent noises."""
        return DirectionNoise(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})


def even_noise(shape: tuple[int, int], total: float, rank: int) -> DirectionNoise:
    """That of entries of equal variances, whatever the directions are."""
    each = torch.full((rank,), total / (shape[0] * shape[1]), dtype=torch.float64)
    left, right = ((each * side, each, each * sqrt(side)) for side in shape)
    return DirectionNoise(each.expand(rank, rank), *left, *right, total)


def direction_noise(
    variances: Iterable[Tensor],
    U: Float64[Tensor, "out rank"],
    Vh: Float64[Tensor, "rank in"],
    axis: int = 0,
) -> DirectionNoise:
    """Along pairs of directions, ``(U o U)^T T (V o V)`` for independent entries of the variances ``T``.

    Args:
        variances: ``T``, in panels, cut into rows (``axis`` 0) or columns (1).
        U: left directions in columns; need not be of unit length.
        Vh: right directions in rows.
        axis: along which the panels follow each other.
    """
    if axis == 1:
        return direction_noise((panel.T for panel in variances), Vh.T, U.T).transposed()
    outs, ins = U.square(), Vh.T.square()
    rank = U.shape[1]
    pairs = U.new_zeros(rank, rank)
    left, left_peak, squares = U.new_zeros(rank), U.new_zeros(rank), U.new_zeros(rank)
    across = U.new_zeros(rank, Vh.shape[1])
    start, total = 0, 0.0
    for panel in variances:
        # in the precision of the panel, which is enough for variances
        own = outs[start : start + len(panel)].to(panel.dtype)
        carried = (panel @ ins.to(panel.dtype)).double()
        pairs += own.double().T @ carried
        across += own.T @ panel
        left += carried.sum(dim=0)
        left_peak = torch.maximum(left_peak, carried.amax(dim=0))
        squares += carried.square().sum(dim=0)
        start, total = start + len(panel), total + panel.sum().item()
    on_right = across.sum(dim=1), across.amax(dim=1), torch.linalg.vector_norm(across, dim=1)
    return DirectionNoise(pairs, left, left_peak, squares.sqrt(), *on_right, total)


def factor_noise(
    variances: Float64[Tensor, "out inner"],
    R: Float64[Tensor, "inner in"],
    U: Float64[Tensor, "out rank"],
    Vh: Float64[Tensor, "rank in"],
) -> DirectionNoise:
    """Of the noise ``D R``, the entries of ``D`` independent, along the directions of a product ``L R``."""
    outs = U.square()
    carried, across = variances @ (R @ Vh.T).square(), outs.T @ variances
    G = R @ R.T
    sizes = G.diagonal()
    on_left = carried.sum(dim=0), carried.amax(dim=0), torch.linalg.vector_norm(carried, dim=0)
    largest = across.amax(dim=1) * G.abs().sum(dim=1).amax()
    norms = (across @ G.square() * across).sum(dim=1).sqrt()
    return DirectionNoise(outs.T @ carried, *on_left, across @ sizes, largest, norms, (variances @ sizes).sum().item())
