"""Leading singular triples, and how good they are, measured."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.linalg.panels import Operator
from lmd.linalg.signs import fix_signs
from lmd.linalg.singular.thin_svd import thin_svd
from lmd.linalg.singular.tridiagonal import Tridiagonal, leading_eigenvectors

__all__ = [
    "Defects",
    "Triples",
    "all_triples",
    "defects_of",
    "leading_triples",
    "orthogonality_defect",
    "signed_triples",
    "spectral_norm",
]

_SMALLEST_RATIO = 1e-4
_LARGEST_RESIDUAL = 1e-11
_MEASURED_SIDE = 64


@dataclass(frozen=True, slots=True, eq=False)
class Triples:
    """``U (out, rank)``, ``S (rank,)`` descending, ``Vh (rank, in)``, signs fixed."""

    U: Float64[Tensor, "out rank"]
    S: Float64[Tensor, " rank"]
    Vh: Float64[Tensor, "rank in"]

    def leading(self, count: int) -> "Triples":
        """The first ``count`` of them, in memory of their own."""
        return Triples(self.U[:, :count].clone(), self.S[:count].clone(), self.Vh[:count].clone())


@dataclass(frozen=True, slots=True)
class Defects:
    """How far triples are from singular triples, in the spectral norm (beyond 64 triples a bound of it from above).

    Attributes:
        residual: ``max(||W V - U S||, ||W^T U - V S||)``, in the unit of ``W``.
        orthogonality: ``max(||U^T U - I||, ||V^T V - I||)``.
    """

    residual: float
    orthogonality: float


def leading_triples(operator: Operator, reduced: Tridiagonal, count: int) -> tuple[Triples, Defects] | None:
    """Leading triples by Rayleigh-Ritz on eigenvectors of the Gram matrix.

    Args:
        operator: the matrix.
        reduced: tridiagonal form of its Gram matrix.
        count: between 1 and ``min(out, in)``.

    Returns:
        None if the Gram matrix is not good enough for them: ``s_count < 1e-4 s_1``, or a residual above 1e-11 ``s_1``.
    """
    # stemr's vectors are orthogonal to 1e-13 only; one more QR makes it 1e-15
    X = torch.linalg.qr(leading_eigenvectors(reduced, count))[0]
    tall = operator.cut_axis == 0
    Q, R = torch.linalg.qr(operator.apply(X) if tall else operator.adjoint(X))
    left, S, right = thin_svd(R.contiguous())
    if S[-1] < _SMALLEST_RATIO * S[0] or S[0] == 0:
        return None
    Y, Z = Q @ left, X @ right.T
    triples = signed_triples(Y, S, Z.T) if tall else signed_triples(Z, S, Y.T)
    defects = defects_of(operator, triples)
    return None if defects.residual > _LARGEST_RESIDUAL * S[0].item() else (triples, defects)


def signed_triples(
    U: Float64[Tensor, "out rank"], S: Float64[Tensor, " rank"], Vh: Float64[Tensor, "rank in"]
) -> Triples:
    """Triples with their signs fixed, in memory of their own."""
    U, Vh = fix_signs(U, Vh)
    return Triples(U.contiguous(), S.clone(), Vh.contiguous())


def all_triples(operator: Operator) -> Triples:
    """Every triple, by LAPACK in float64; the whole matrix and its factors are in memory."""
    return signed_triples(*thin_svd(operator.whole()))


def defects_of(operator: Operator, triples: Triples) -> Defects:
    """Measure residual and orthogonality, in one pass over the panels."""
    U, S, V = triples.U, triples.S, triples.Vh.T
    WV, WtU = operator.apply_both(V, U)
    residual = max(spectral_norm(WV - U * S), spectral_norm(WtU - V * S))
    return Defects(residual, max(orthogonality_defect(U), orthogonality_defect(V)))


def orthogonality_defect(Q: Float64[Tensor, "n k"]) -> float:
    """``||Q^T Q - I||`` in the spectral norm."""
    return spectral_norm(Q.T @ Q - torch.eye(Q.shape[1], dtype=torch.float64))


def spectral_norm(A: Float64[Tensor, "m n"]) -> float:
    """Largest singular value of a small or thin matrix, to relative precision; beyond 64 the Frobenius norm, a bound.

    >>> spectral_norm(torch.full((2, 2), 1e-200, dtype=torch.float64))
    2e-200
    """
    largest = A.abs().max().item() if A.numel() else 0.0
    if largest == 0.0:
        return 0.0
    A = A / largest
    if min(A.shape) > _MEASURED_SIDE:
        return largest * torch.linalg.vector_norm(A).item()
    G = A.T @ A if A.shape[0] >= A.shape[1] else A @ A.T
    return largest * torch.linalg.eigvalsh(G)[-1].sqrt().item()
