"""The third noun: the singular value decomposition of one linear map."""

from dataclasses import dataclass
from math import hypot, sqrt
from typing import Literal

from jaxtyping import Float64
from torch import Tensor

from lmd.linalg.scaled_norm import scaled_norm

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
        groups: number of diagonal blocks of the map; of the symbol of a convolution in the basis of waves.
        U: ``(out, rank)``, left singular vectors in columns: where the layer writes.
        S: ``(rank,)``, descending.
        Vh: ``(rank, in)``, right singular vectors in rows: what the layer reads. The entry of largest magnitude of
            each row is positive, which fixes the signs.
        spectrum: every singular value, descending, or None if only the leading ones are known.
        spectrum_error: absolute error estimate of each value of ``spectrum`` (see ``lmd.linalg.singular.spectrum``).
        frobenius_norm: of the whole map, from its entries.
        residual: ``max(||W V - U S||, ||W^T U - V S||)`` in the spectral norm, measured (beyond 64 triples the
            Frobenius norm, a bound of it from above); 0 when no triple is kept.
        orthogonality_defect: ``max(||U^T U - I||, ||V^T V - I||)`` measured likewise.
        remainder: None when the triples are exact; for randomised ones a bound from above of ``||W - U U^T W||`` in the
            spectral norm: certain, given ``spectrum_error``, where ``spectrum`` is known; else it fails with a
            probability of at most 1e-10.
        method: how the values were found: ``gram``, ``lapack``, ``blocks``, ``thin_qr``, ``kronecker``, ``lanczos``,
            ``fourier`` or ``randomised``.
        inner: width of the thin factors of a map that is a product of two; ``spectrum`` then leaves out the values that
            are 0 by construction. 0 for any other map.
        norm_bound: a number that the spectral norm is proved not to exceed, where something else than the values
            proves one (of convolutions: their symbol); None elsewhere.
        norm_method: how it was proved.

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
    inner: int = 0
    norm_bound: float | None = None
    norm_method: str = ""

    @property
    def rank(self) -> int:
        """Number of triples kept."""
        return self.S.numel()

    def errors(self, rank: int) -> TruncationErrors:
        """Error of keeping the ``rank`` largest singular values.

        With every value known and triples that are exact (``remainder`` is None), or at a rank beyond the triples kept,
        the error of the best matrix of that rank (Eckart-Young). With randomised triples, upper bounds on the error of
        the triples kept here, which no longer are quite the best ones: see ``optimal_errors`` for those. Where only the
        leading values are known, upper bounds too: what is left is the map behind a projection, so that its spectral
        error is at most ``norm_bound``, and at most the Frobenius norm of the rest.

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
        return TruncationErrors(rank, spectral, scaled_norm(rest).item(), rest.sum().item(), "exact")

    def _bounds(self, rank: int) -> TruncationErrors:
        """Of randomised triples: ``W - W_k = (I - U U^T) W`` with the first k columns of ``U``."""
        out, inn = self.shape
        # U_k^T (W - W_k) = 0 limits the rank of what is left
        limit = max(min(out - rank, inn), 0)
        if self.spectrum is not None and self.spectrum_error is not None:
            rest = (self.spectrum + self.spectrum_error)[rank:]
            missed = self._root_missed(self.spectrum, self.spectrum_error, rank)
            # value i of what is left is at least s_(i+k), as W_k has rank k; the squares beyond these sum to `missed`
            spectral, frobenius = hypot(rest[0].item() if rest.numel() else 0.0, missed), hypot(*rest.tolist(), missed)
            return TruncationErrors(rank, spectral, frobenius, rest.sum().item() + sqrt(limit) * missed, "upper")
        whole, rounding = self.frobenius_norm, _ALLOWANCE * sqrt(max(self.shape))
        # the allowance covers the rounding of both sums, which matters when next to nothing is left
        squares = max(whole**2 - self.S[:rank].square().sum().item(), 0.0) + rounding * whole**2
        following = self.S[rank].item() + rounding * whole if rank < self.rank else 0.0
        spectral = sqrt(squares) if self.remainder is None else min(sqrt(squares), hypot(self.remainder, following))
        if self.norm_bound is not None:
            spectral = min(spectral, self.norm_bound)
        # Cauchy-Schwarz
        return TruncationErrors(rank, spectral, sqrt(squares), sqrt(limit * squares), "upper")

    def _root_missed(self, values: Float64[Tensor, " full"], error: Float64[Tensor, " full"], rank: int) -> float:
        """Root of ``sum_(i<=k) s_i^2 - S_i^2``, from above."""
        missed = (values[:rank].square() - self.S[:rank].square()).clamp_min(0.0) + 2 * values[:rank] * error[:rank]
        return missed.sum().sqrt().item()
