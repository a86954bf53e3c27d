"""The third noun: the singular value decomposition of one linear map."""

from dataclasses import dataclass
from math import hypot, sqrt
from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor

__all__ = ["Factors", "TruncationErrors"]

_ALLOWANCE = 16 * 2.0**-53
"""Times the root of the longer side: relative rounding error of a sum of squares, with a margin."""


@dataclass(frozen=True, slots=True)
class TruncationErrors:
    """What keeping ``rank`` triples leaves out, ``W - W_k``, in three norms, in the unit of ``W``.

    Attributes:
        rank: triples kept.
        spectral: largest singular value of the rest.
        frobenius: root of the sum of its squared singular values.
        nuclear: sum of its singular values.
        direction: ``exact`` (Eckart-Young, up to ``Factors.spectrum_error``), or ``upper`` for bounds from above.
    """

    rank: int
    spectral: float
    frobenius: float
    nuclear: float
    direction: Literal["exact", "upper"]


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """The leading singular triples of one linear map, ``W ~ U diag(S) Vh``, all in float64.

    Attributes:
        layer: name of the layer matrix.
        kind: its kind.
        shape: ``(out, in)``.
        groups: number of diagonal blocks of the map.
        U: ``(out, rank)``, left singular vectors in columns: where the layer writes.
        S: ``(rank,)``, descending.
        Vh: ``(rank, in)``, right singular vectors in rows: what the layer reads. The entry of largest magnitude of
            each row is positive, which fixes the signs.
        spectrum: every singular value, descending, or None if only the leading ones are known.
        spectrum_error: absolute error estimate of each value of ``spectrum`` (see ``lmd.linalg.spectrum``).
        frobenius_norm: of the whole map, from its entries.
        residual: ``max(||W V - U S||, ||W^T U - V S||)`` in the spectral norm, measured; 0 when no triple is kept.
        orthogonality_defect: ``max(||U^T U - I||, ||V^T V - I||)`` in the spectral norm, measured.
        remainder: None when the triples are exact; for randomised ones an upper bound of ``||W - U U^T W||``.
        method: how the values were found: ``gram``, ``lapack``, ``blocks`` or ``randomised``.

    References:
        Eckart & Young 1936; Mirsky 1960.
    """

    layer: str
    kind: str
    shape: tuple[int, int]
    groups: int
    U: Float64[Tensor, "out rank"]
    S: Float64[Tensor, " rank"]
    Vh: Float64[Tensor, "rank in"]
    spectrum: Float64[Tensor, " full"] | None
    spectrum_error: Float64[Tensor, " full"] | None
    frobenius_norm: float
    residual: float
    orthogonality_defect: float
    remainder: float | None
    method: str

    @property
    def rank(self) -> int:
        """Number of triples kept."""
        return self.S.numel()

    def errors(self, rank: int) -> TruncationErrors:
        """Error of keeping the ``rank`` largest singular values.

        With every value known and triples that are exact (``remainder`` is None), or at a rank beyond the triples kept,
        the error of the best matrix of that rank (Eckart-Young). With randomised triples, upper bounds on the error of
        the triples kept here, which no longer are quite the best ones: see ``optimal_errors`` for those.

        Raises:
            ValueError: ``rank`` is negative, or more than is known.
        """
        known = self.rank if self.spectrum is None else self.spectrum.numel()
        if not 0 <= rank <= known:
            raise ValueError(
                f"rank={rank} of layer {self.layer!r} must be between 0 and {known}; "
                f"decompose with more vectors, or with all values, to ask for more."
            )
        if self.spectrum is None or (self.remainder is not None and 0 < rank <= self.rank):
            return self._bounds(rank)
        return self.optimal_errors(rank)

    def optimal_errors(self, rank: int) -> TruncationErrors:
        """Error of the best matrix of rank ``rank``, from every singular value; ``errors`` of exact triples.

        Raises:
            ValueError: only the leading values are known, or ``rank`` is not among them.
        """
        full = 0 if self.spectrum is None else self.spectrum.numel()
        if self.spectrum is None or not 0 <= rank <= full:
            raise ValueError(
                f"rank={rank} of layer {self.layer!r} must be between 0 and {full}, the number of values known when "
                f"all are; decompose with all values."
            )
        rest = self.spectrum[rank:]
        spectral = rest[0].item() if rest.numel() else 0.0
        return TruncationErrors(rank, spectral, torch.linalg.vector_norm(rest).item(), rest.sum().item(), "exact")

    def _bounds(self, rank: int) -> TruncationErrors:
        # W - W_k = (I - Q Q^T) W + Q (B - B_k), B = Q^T W: the two parts have orthogonal ranges
        squares = self._squares_left(rank)
        following = self.S[rank].item() if rank < self.rank else 0.0
        frobenius = sqrt(squares)
        spectral = frobenius if self.remainder is None else min(frobenius, hypot(self.remainder, following))
        return TruncationErrors(rank, spectral, frobenius, self._nuclear_bound(rank, spectral, frobenius), "upper")

    def _squares_left(self, rank: int) -> float:
        kept = self.S[:rank].square()
        if self.spectrum is not None and self.spectrum_error is not None:
            # the same difference without its cancellation: what follows, and what the triples miss of each value
            values, error = self.spectrum, self.spectrum_error
            missed = (values[:rank].square() - kept).clamp_min(0.0) + 2 * values[:rank] * error[:rank]
            return (missed.sum() + (values[rank:] + error[rank:]).square().sum()).item()
        # the allowance covers the rounding of both sums, which matters when next to nothing is left
        allowance = _ALLOWANCE * sqrt(max(self.shape)) * self.frobenius_norm**2
        return max(self.frobenius_norm**2 - kept.sum().item(), 0.0) + allowance

    def _nuclear_bound(self, rank: int, spectral: float, frobenius: float) -> float:
        out, inn = self.shape
        # nuclear <= sqrt(rank of the rest) * Frobenius (Cauchy-Schwarz); U_k^T (W - W_k) = 0 limits that rank
        limit = max(min(out - rank, inn), 0)
        bound = sqrt(limit) * frobenius
        if self.spectrum is None or self.spectrum_error is None:
            return bound
        # W - W_k = (I - P) W: no value exceeds that of W, none the spectral norm
        values = (self.spectrum + self.spectrum_error).clamp_max(spectral)
        return min(bound, values[:limit].sum().item())
