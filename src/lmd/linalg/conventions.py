"""Whether two matrices are one and the same written by other conventions: rows in another order, or scaled."""

from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

__all__ = ["Scaling", "row_order", "row_scaling"]

Matrix = Float64[Tensor, "rows columns"]
_PARALLEL = 1 - 1e-5
_ALIKE = 1 - 1e-3
"""As close as rows are that were rounded to eight bits."""


class Scaling(NamedTuple):
    """The least and the largest factor from a row of one matrix to the same row of another."""

    least: float
    most: float


def row_scaling(A: Matrix, B: Matrix) -> Scaling | None:
    """The factors between rows if every row of ``B`` is a multiple of that of ``A``; None if not.

    >>> A = torch.eye(2, dtype=torch.float64)
    >>> row_scaling(A, 3 * A), row_scaling(A, A + 1)
    (Scaling(least=3.0, most=3.0), None)
    """
    a, b = A.norm(dim=1), B.norm(dim=1)
    kept = (a > 0) & (b > 0)
    if not bool(kept.any()):
        return None
    cosines = (A * B).sum(dim=1)[kept] / (a * b)[kept]
    if cosines.abs().min().item() < _PARALLEL:
        return None
    ratio = (b / a.clamp_min(torch.finfo(torch.float64).tiny))[kept] * cosines.sign()
    return Scaling(ratio.min().item(), ratio.max().item())


def row_order(A: Matrix, B: Matrix) -> list[int] | None:
    """For each row of ``B`` the row of ``A`` that it is, if it is another order of all of them; None if not.

    >>> row_order(torch.eye(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)[[2, 0, 1]])
    [2, 0, 1]
    """
    tiny = torch.finfo(torch.float64).tiny
    cosines = (B / B.norm(dim=1, keepdim=True).clamp_min(tiny)) @ (A / A.norm(dim=1, keepdim=True).clamp_min(tiny)).T
    best, places = cosines.max(dim=1)
    order = places.tolist()
    if best.min().item() < _ALIKE or sorted(order) != list(range(len(order))) or order == list(range(len(order))):
        return None
    close = (A[places].norm(dim=1) - B.norm(dim=1)).abs() <= (1 - _ALIKE) * 10 * A[places].norm(dim=1) + tiny
    return order if bool(close.all()) else None
