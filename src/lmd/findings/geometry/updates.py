"""How large an update is beside the layer it changes, and whether it follows that layer's leading directions."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.factors.factors import Factors
from lmd.factors.svd import factors_of
from lmd.findings.analysis import Finding, InapplicableError, analysis
from lmd.findings.measure import baseline_spectrum, no_baseline, spectrum_of
from lmd.findings.quantity import Measured, quantity
from lmd.layers.updates.against_base import AgainstBase

__all__ = ["Updates", "updates"]

_DIRECTIONS = 8
"""Leading directions of both that are compared, at most."""
_NO_RANDOM_SIZE = "how large an update is depends on the training: compare it between layers"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Updates(Finding):
    """An update against the layer it changes."""

    update_ratio: Measured = quantity(
        "‖ΔW‖_F/‖W‖_F",
        unit="1",
        meaning="Size of the update beside the layer it changes",
        source="Golub & Van Loan 2013, 2.3",
    )
    update_spectral_ratio: Measured = quantity(
        "‖ΔW‖₂/‖W‖₂",
        unit="1",
        meaning="Largest stretching by the update beside the largest by the layer it changes",
        source="Golub & Van Loan 2013, 2.3",
    )
    base_overlap_out: Measured = quantity(
        "‖U_kᵀU_k(W)‖²_F/k",
        unit="1",
        meaning="Share of the update's k leading output directions that lies within the k leading ones of the layer, "
        "k at most 8",
        source="Björck & Golub 1973",
    )
    base_overlap_in: Measured = quantity(
        "‖V_kᵀV_k(W)‖²_F/k",
        unit="1",
        meaning="Share of the update's k leading input directions that lies within the k leading ones of the layer, "
        "k at most 8",
        source="Björck & Golub 1973",
    )


@analysis
def updates(factors: Factors, layer: AgainstBase) -> Updates:
    """The update of one layer against the layer itself: sizes, and the mean squared cosine of leading directions.

    The baseline of an overlap is that of random directions, ``k / out`` and ``k / in``.
    """
    base = factors_of(layer.base, vectors=_DIRECTIONS)
    if base.frobenius_norm == 0:
        raise InapplicableError("the layer of the base is zero")
    S, error = spectrum_of(factors)
    S_base, error_base = spectrum_of(base)
    whole, part = S.norm().item(), error.norm().item()
    ratio = _quotient(whole, part, base.frobenius_norm, error_base.norm().item())
    spectral = _quotient(S[0].item(), error[0].item(), S_base[0].item(), error_base[0].item())
    random = baseline_spectrum(factors)
    edge = None if random is None else random[0].item() / S_base[0].item()
    reason = no_baseline(factors) if random is None else ""
    k = _shared(factors, base)
    out, inn = layer.shape
    return Updates(
        layer=factors.layer,
        update_ratio=Measured(ratio[0], None, ratio[1], reason=_NO_RANDOM_SIZE),
        update_spectral_ratio=Measured(spectral[0], edge, spectral[1], reason=reason),
        base_overlap_out=_overlap(factors.U[:, :k], base.U[:, :k], k / out, _tilt(factors, k) + _tilt(base, k)),
        base_overlap_in=_overlap(factors.Vh[:k].T, base.Vh[:k].T, k / inn, _tilt(factors, k) + _tilt(base, k)),
    )


def _quotient(a: float, error_a: float, b: float, error_b: float) -> tuple[float, float]:
    return a / b, (error_a + a / b * error_b) / b


def _shared(factors: Factors, base: Factors) -> int:
    """How many leading triples both have that are not zero within their error."""
    counts = []
    for one in (factors, base):
        _, error = spectrum_of(one)
        counts.append(int((error[: one.rank] < one.S).sum()))
    return min(_DIRECTIONS, *counts)


def _overlap(A: Float64[Tensor, "n k"], B: Float64[Tensor, "n k"], baseline: float, error: float) -> Measured:
    k = A.shape[1]
    if k == 0:
        return Measured(None, baseline, reason="no direction to compare: the update is zero, or no vectors were kept")
    # the kth direction may be one of several that rounding can mix: then the share is as unsure as it can be
    value = min(1.0, (A.T @ B).square().sum().item() / k)
    return Measured(value, baseline, min(1.0, error))


def _tilt(factors: Factors, k: int) -> float:
    """How far rounding may turn the space of the k leading directions: at most noise over gap.

    References:
        Wedin 1972.
    """
    S, error = spectrum_of(factors)
    following = S[k] if 0 < k < S.numel() else torch.zeros(())
    gap = (S[k - 1] - following).item() if k else 0.0
    noise = error[0].item() + factors.residual + factors.orthogonality_defect * S[0].item()
    return noise / gap if gap > 0 else 1.0
