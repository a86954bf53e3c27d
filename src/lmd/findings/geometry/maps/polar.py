"""Rotation and stretch: how far a map is from a scaled isometry, and what it flattens."""

from dataclasses import dataclass
from functools import partial

from jaxtyping import Float64
from torch import Tensor

from lmd.factors.factors import Factors
from lmd.findings.analysis import Finding, analysis
from lmd.findings.measure import baseline_spectrum, counted, measured, spectrum_of
from lmd.findings.quantity import Measured, quantity
from lmd.linalg.maps.isometry import isometry_constant, isometry_distance, log_volume, numerical_rank

__all__ = ["Polar", "PolarFactors", "polar", "polar_factors"]

_WEAK = 0.01
"""Gains below this share of the largest count as ignored."""


@dataclass(frozen=True, slots=True, eq=False)
class PolarFactors:
    """``W = rotation @ stretch``.

    Attributes:
        rotation: ``Q = U V^T``, ``(out, in)``; turns without stretching.
        stretch: ``P = V S V^T``, ``(in, in)``; stretches without turning.
        complete: whether every triple was kept; otherwise both are those of the truncated map, and ``rotation`` is a
            partial isometry.
    """

    rotation: Float64[Tensor, "out in"]
    stretch: Float64[Tensor, "in in"]
    complete: bool


def polar_factors(factors: Factors) -> PolarFactors:
    """The polar decomposition from the triples that were kept.

    References:
        Higham 1986.

    >>> import torch
    >>> from lmd.factors.svd import factors_of
    >>> polar_factors(factors_of(torch.tensor([[0.0, -2.0], [2.0, 0.0]]))).stretch.round(decimals=12)
    tensor([[2., 0.],
            [0., 2.]], dtype=torch.float64)
    """
    V = factors.Vh.T
    return PolarFactors(factors.U @ factors.Vh, (V * factors.S) @ factors.Vh, factors.rank == min(factors.shape))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Polar(Finding):
    """How evenly one map stretches, and which dimensions it loses."""

    isometry_distance: Measured = quantity(
        "1 − (Σσ)²/(rΣσ²)",
        unit="1",
        meaning="Squared relative distance to the nearest scaled isometry: 0 turns space without bending it",
        source="Fan & Hoffman 1955",
    )
    isometry_constant: Measured = quantity(
        "max|σ²/mean σ² − 1|",
        unit="1",
        meaning="Largest relative change of a squared length by a direction, after the best scaling",
        source="Candès & Tao 2005",
    )
    log_volume: Measured = quantity(
        "Σ ln σ",
        unit="ln(output/input)",
        meaning="Logarithm of the volume that a unit cube gets, on the numerical range",
        source="Ben-Israel 1992",
    )
    null_dimension: Measured = quantity(
        "in − rank",
        unit="directions",
        meaning="Dimension of the input space that is lost entirely (numerical rank, double precision)",
        source="Golub & Van Loan 2013, 2.1",
    )
    ignored_dimension: Measured = quantity(
        "in − #{σ > σ₁/100}",
        unit="directions",
        meaning="Dimension of the input space whose gain is below 1 % of the largest, the null space included",
        source="Golub & Van Loan 2013, 5.4",
    )
    missed_dimension: Measured = quantity(
        "out − rank",
        unit="directions",
        meaning="Dimension of the output space that is never reached (numerical rank, double precision)",
        source="Golub & Van Loan 2013, 2.1",
    )


@analysis
def polar(factors: Factors) -> Polar:
    """Stretch of one map against a random map of the same shape and Frobenius norm; what it flattens."""
    S, error = spectrum_of(factors)
    base = baseline_spectrum(factors)
    floor = error[-1].item() if error.numel() else 0.0
    rank = partial(numerical_rank, side=max(factors.shape), floor=floor)
    out, inn = factors.shape
    return Polar(
        layer=factors.layer,
        isometry_distance=measured(factors, isometry_distance, base),
        isometry_constant=measured(factors, isometry_constant, base),
        log_volume=_volume(factors, rank(S), base),
        null_dimension=counted(factors, lambda values: inn - rank(values), base),
        ignored_dimension=counted(factors, lambda values: inn - _strong(values), base),
        missed_dimension=counted(factors, lambda values: out - rank(values), base),
    )


def _volume(factors: Factors, count: int, base: Tensor | None) -> Measured:
    if count == 0:
        return Measured(None, reason="undefined for the zero matrix")
    return measured(factors, partial(log_volume, count=count), base)


def _strong(S: Tensor) -> int:
    return int((_WEAK * S[0] < S).sum()) if S.numel() else 0
