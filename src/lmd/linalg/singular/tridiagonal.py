"""Symmetric matrix to tridiagonal form once; all eigenvalues and any leading eigenvectors from there."""

from dataclasses import dataclass

import numpy
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal, get_lapack_funcs
from torch import Tensor

__all__ = ["Tridiagonal", "leading_eigenvectors", "tridiagonalise"]

_sytrd, _sytrd_lwork, _ormqr = get_lapack_funcs(("sytrd", "sytrd_lwork", "ormqr"), dtype=numpy.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Tridiagonal:
    """``A = Q T Q^T``; ``Q`` is kept as the reflectors below the subdiagonal of ``reflectors``."""

    diagonal: NDArray[numpy.float64]
    subdiagonal: NDArray[numpy.float64]
    reflectors: NDArray[numpy.float64]
    tau: NDArray[numpy.float64]

    def eigenvalues(self) -> Float64[Tensor, " n"]:
        """All of them, ascending."""
        if self.diagonal.size < 2:
            return torch.from_numpy(self.diagonal.copy())
        values = eigh_tridiagonal(self.diagonal, self.subdiagonal, eigvals_only=True, check_finite=False)
        return torch.from_numpy(numpy.asarray(values))


def tridiagonalise(A: NDArray[numpy.float64]) -> Tridiagonal:
    """Reduce a symmetric matrix by Householder reflections (LAPACK ``sytrd``), which costs 4/3 n^3 once.

    Args:
        A: Fortran-ordered lower triangle; overwritten.
    """
    lwork = max(1, int(_sytrd_lwork(A.shape[0], lower=1)[0]))
    reflectors, diagonal, subdiagonal, tau, info = _sytrd(A, lower=1, lwork=lwork, overwrite_a=1)
    assert info == 0
    return Tridiagonal(diagonal, subdiagonal, reflectors, tau)


def leading_eigenvectors(reduced: Tridiagonal, count: int) -> Float64[Tensor, "n count"]:
    """Eigenvectors of the ``count`` largest eigenvalues, in columns, largest first (LAPACK ``stemr``, ``ormqr``).

    The cost is O(n count) and the back-transformation of 2 n^2 count operations, where the subset drivers of
    ``eigh`` reduce the matrix a second time.
    """
    n = reduced.diagonal.size
    if n < 2:
        return torch.ones(n, count, dtype=torch.float64)
    chosen = (n - count, n - 1)
    _, vectors = eigh_tridiagonal(
        reduced.diagonal,
        reduced.subdiagonal,
        select="i",
        select_range=chosen,
        lapack_driver="stemr",
        check_finite=False,
    )
    lower = numpy.asfortranarray(vectors[1:])
    householder = reduced.reflectors[1:, :-1]
    lwork = int(_ormqr("L", "N", householder, reduced.tau, lower, -1)[1][0])
    turned, _, info = _ormqr("L", "N", householder, reduced.tau, lower, lwork)
    assert info == 0
    return torch.from_numpy(numpy.vstack([vectors[:1], turned])[:, ::-1].copy())
