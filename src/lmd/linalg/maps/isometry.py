"""How far singular values are from those of a scaled isometry, and the volume they make."""

import torch
from jaxtyping import Float64
from torch import Tensor

__all__ = ["isometry_constant", "isometry_distance", "log_volume", "numerical_rank"]

_EPS = torch.finfo(torch.float64).eps


def isometry_distance(S: Float64[Tensor, " rank"]) -> Float64[Tensor, ""]:
    """``1 - (sum s)^2 / (r sum s^2)``: squared relative distance to the nearest scaled isometry.

    >>> isometry_distance(torch.tensor([2.0, 2.0], dtype=torch.float64)).item()
    0.0

    References:
        Fan & Hoffman 1955: the nearest isometry is the polar factor; its best scale is the mean singular value.
    """
    p = S / S[0]
    # the variance over the mean square, which does not cancel for equal values
    return (p - p.mean()).square().mean() / p.square().mean()


def isometry_constant(S: Float64[Tensor, " rank"]) -> Float64[Tensor, ""]:
    """``max |s^2 / mean(s^2) - 1|``: the largest relative change of a squared length, the mean of ``s^2`` scaled to 1.

    >>> isometry_constant(torch.tensor([3.0, 1.0], dtype=torch.float64)).item()
    0.8
    """
    q = (S / S[0]).square()
    return (q / q.mean() - 1).abs().max()


def numerical_rank(S: Float64[Tensor, " rank"], side: int, *, floor: float = 0.0) -> int:
    """How many values, descending, are above rounding: ``side`` times eps times the first, or ``floor``."""
    return int((max(side * _EPS * S[0].item(), floor) < S).sum()) if S.numel() else 0


def log_volume(S: Float64[Tensor, " rank"], count: int) -> Float64[Tensor, ""]:
    """``sum log s`` of the ``count`` leading values.

    >>> log_volume(torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64), 2).item()
    0.0
    """
    return S[:count].log().sum()
