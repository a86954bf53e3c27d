"""Eigenvalues of a general real matrix, and how far each can be off."""

from dataclasses import dataclass

import numpy
import scipy.linalg
import torch
from jaxtyping import Complex128, Float64
from torch import Tensor

__all__ = ["Eigenvalues", "eigenvalues"]

_EPS = 2.0**-52


@dataclass(frozen=True, slots=True, eq=False)
class Eigenvalues:
    """Eigenvalues by falling magnitude, and an estimate of the absolute error of each.

    Attributes:
        values: complex; pairs of conjugates stand beside each other.
        errors: of each, in the unit of the matrix.
    """

    values: Complex128[Tensor, " n"]
    errors: Float64[Tensor, " n"]


def eigenvalues(W: Float64[Tensor, "n n"], *, perturbation: float = 0.0) -> Eigenvalues:
    """LAPACK's ``geev``, which balances the matrix first, with vectors on both sides.

    The error of an eigenvalue is its condition number ``1 / |y^H x|`` times the backward error of its own pair,
    ``||W x - lambda x||`` plus the rounding of that product: first order (Bauer & Fike 1960; Wilkinson 1965), an
    estimate. Near a defective eigenvalue first order means nothing; there, Elsner's bound for any matrix is taken.

    Args:
        W: any real square matrix.
        perturbation: norm of what ``W`` itself may be off by; counts as backward error.

    Raises:
        ValueError: ``W`` contains NaN or Inf.

    References:
        Wilkinson 1965, chapter 2; Elsner 1985; Anderson et al. 1999 (LAPACK Users' Guide, 4.8).

    >>> eigenvalues(torch.tensor([[0.0, -2.0], [2.0, 0.0]], dtype=torch.float64)).values.abs().tolist()
    [2.0, 2.0]
    """
    if not torch.isfinite(W).all():
        raise ValueError("only finite numbers have eigenvalues; repair the weights or leave the layer out.")
    size = len(W)
    # scaled, so that sums of squares stay in range
    scale = W.abs().max().item() or 1.0
    matrix = (W / scale).numpy()
    values, left, right = scipy.linalg.eig(matrix, left=True, right=True)
    norm = float(numpy.linalg.norm(matrix))
    backward = numpy.linalg.norm(matrix @ right - right * values, axis=0) + numpy.sqrt(size) * _EPS * norm
    backward = backward + perturbation / scale
    overlap = numpy.abs(numpy.sum(left.conj() * right, axis=0))
    with numpy.errstate(divide="ignore"):
        first_order = backward / overlap
    elsner = (2 * norm + backward) ** (1 - 1 / size) * backward ** (1 / size)
    errors = numpy.minimum(numpy.where(numpy.isfinite(first_order), first_order, numpy.inf), elsner)
    order = numpy.lexsort((-values.imag, -values.real, -numpy.abs(values)))
    return Eigenvalues(
        torch.from_numpy(values[order] * scale).to(torch.complex128), torch.from_numpy(errors[order] * scale)
    )
