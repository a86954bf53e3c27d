"""What a layer loses at every rank."""

from dataclasses import dataclass

from torch import Tensor

from lmd.factors.factors import Factors
from lmd.findings.analysis import Finding, analysis
from lmd.findings.measure import baseline_spectrum, no_baseline, spectrum_of
from lmd.findings.quantity import Measured, quantity
from lmd.linalg.scaled_norm import scaled_norm

__all__ = ["EckartYoung", "eckart_young"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EckartYoung(Finding):
    """The error curve of truncation."""

    eckart_young: Measured = quantity(
        "‖W − W_k‖_F/‖W‖_F",
        unit="1",
        meaning="Relative Frobenius error of keeping the k strongest directions, k = 0, 1, …; no rank k does better",
        source="Eckart & Young 1936; Mirsky 1960",
    )


@analysis
def eckart_young(factors: Factors) -> EckartYoung:
    """The exact relative error of every truncation of one layer."""
    S, error = spectrum_of(factors)
    base = baseline_spectrum(factors)
    norm = scaled_norm(S).item()
    if norm == 0:
        return EckartYoung(layer=factors.layer, eckart_young=Measured(None, reason="undefined for the zero matrix"))
    # |d(tail/total)| <= 2 ||error|| / total, by the triangle inequality for both
    curve = Measured(
        _curve(S),
        None if base is None else _curve(base),
        2 * scaled_norm(error).item() / norm,
        reason=no_baseline(factors) if base is None else "",
    )
    return EckartYoung(layer=factors.layer, eckart_young=curve)


def _curve(S: Tensor) -> tuple[float, ...]:
    scaled = (S / S[0]).square()
    # summed from the small end, so that small tails keep their digits
    tails = scaled.flip(0).cumsum(0).flip(0)
    return (*(tails / tails[0]).sqrt().tolist(), 0.0)
