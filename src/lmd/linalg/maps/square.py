"""What a square matrix is beside the identity and its own transpose; how far its rotation turns."""

from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.linalg.threads import fitting_threads

__all__ = ["Invariants", "invariants", "partial_angles", "rotation_angles", "thin_invariants"]


@dataclass(frozen=True, slots=True)
class Invariants:
    """Numbers of a square matrix that no change of orthonormal basis moves.

    Attributes:
        trace: sum of the diagonal.
        trace_of_square: ``tr W^2``.
        norm: Frobenius norm.
    """

    trace: float
    trace_of_square: float
    norm: float

    @property
    def symmetric_share(self) -> float:
        """``||(W + W^T) / 2||^2 / ||W||^2``."""
        return 0.5 * (1 + self.trace_of_square / self.norm**2)

    def closeness_to_identity(self, size: int) -> float:
        """Cosine between ``W`` and the identity."""
        return self.trace / (sqrt(size) * self.norm)


def invariants(W: Float64[Tensor, "n n"]) -> Invariants:
    """Of a matrix.

    >>> invariants(torch.eye(4, dtype=torch.float64)).symmetric_share
    1.0
    """
    return Invariants(W.trace().item(), (W * W.T).sum().item(), torch.linalg.matrix_norm(W).item())


def thin_invariants(L: Float64[Tensor, "n inner"], R: Float64[Tensor, "inner n"]) -> Invariants:
    """Of ``L R``, which is not formed."""
    small = R @ L
    squared = ((L.T @ L) * (R @ R.T)).sum().clamp_min(0.0).sqrt()
    return Invariants(small.trace().item(), (small * small.T).sum().item(), squared.item())


def rotation_angles(Q: Float64[Tensor, "n n"]) -> Float64[Tensor, " n"]:
    """By how much an orthogonal matrix turns its planes, in radians from 0 to pi, ascending; each plane counts twice.

    The eigenvalues of ``(Q + Q^T) / 2`` are the cosines, which loses the half of the digits next to 0 and pi.

    References:
        Murnaghan & Wintner 1931.

    >>> rotation_angles(torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)).div(torch.pi).tolist()
    [0.5, 0.5]
    """
    with fitting_threads((len(Q), len(Q))):
        cosines = torch.linalg.eigvalsh((Q + Q.T) / 2)
    return cosines.clamp(-1.0, 1.0).arccos().flip(0)


def partial_angles(U: Float64[Tensor, "n rank"], Vh: Float64[Tensor, "rank n"]) -> Float64[Tensor, " rank"]:
    """Arguments, from 0 to pi, of the eigenvalues of the partial isometry ``U V^T`` that are not 0 by construction."""
    return torch.linalg.eigvals(Vh @ U).angle().abs().sort().values
