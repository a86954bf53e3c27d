"""How much a layer stretches."""

from dataclasses import dataclass, replace

from torch import Tensor

from lmd.factors.factors import Factors
from lmd.findings.analysis import Finding, analysis
from lmd.findings.measure import NO_SPECTRUM, baseline_spectrum, leading_value, measured, no_baseline, spectrum_of
from lmd.findings.quantity import Measured, quantity
from lmd.linalg.scaled_norm import scaled_norm

__all__ = ["Norms", "norms"]

_ROUNDING = 1e-13
"""Relative error of a Frobenius norm that was not summed from singular values, with a margin."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Norms(Finding):
    """Norms and conditioning of one linear map."""

    spectral_norm: Measured = quantity(
        "σ₁",
        unit="output/input",
        meaning="Largest stretching of any input direction",
        source="Golub & Van Loan 2013, 2.3",
    )
    frobenius_norm: Measured = quantity(
        "‖W‖_F",
        unit="output/input",
        meaning="Root of the sum of squares of all weights",
        source="Golub & Van Loan 2013, 2.3",
    )
    nuclear_norm: Measured = quantity(
        "‖W‖_*", unit="output/input", meaning="Sum of the stretchings of all directions", source="Fan 1951"
    )
    smallest_gain: Measured = quantity(
        "σ_r",
        unit="output/input",
        meaning="Smallest of the min(out, in) stretchings",
        source="Golub & Van Loan 2013, 2.4",
    )
    condition_number: Measured = quantity(
        "κ = σ₁/σ_r", unit="1", meaning="Largest over smallest stretching: how unevenly it acts", source="Turing 1948"
    )


@analysis
def norms(factors: Factors) -> Norms:
    """Norms of one layer against a random layer of the same shape and Frobenius norm.

    Where only leading values are known: the Frobenius norm, and the spectral norm from below.
    """
    base = baseline_spectrum(factors)
    if factors.spectrum is None:
        return _leading(factors, base)
    return Norms(
        layer=factors.layer,
        spectral_norm=measured(factors, _largest, base),
        frobenius_norm=measured(factors, _frobenius, base),
        nuclear_norm=measured(factors, _nuclear, base),
        smallest_gain=measured(factors, _smallest, base),
        condition_number=_condition(factors, base),
    )


def _leading(factors: Factors, base: Tensor | None) -> Norms:
    reason, norm, absent = no_baseline(factors), factors.frobenius_norm, Measured(None, reason=NO_SPECTRUM)
    largest = None if base is None else base[0].item()
    return Norms(
        layer=factors.layer,
        spectral_norm=Measured(leading_value(factors), largest, factors.residual, "lower", reason),
        frobenius_norm=Measured(norm, None if base is None else norm, _ROUNDING * norm, reason=reason),
        nuclear_norm=absent,
        smallest_gain=absent,
        condition_number=absent,
    )


def _largest(S: Tensor) -> Tensor:
    return S[0]


def _smallest(S: Tensor) -> Tensor:
    return S[-1]


def _frobenius(S: Tensor) -> Tensor:
    return scaled_norm(S)


def _nuclear(S: Tensor) -> Tensor:
    return S.sum()


def _ratio(S: Tensor) -> Tensor:
    return S[0] / S[-1]


def _condition(factors: Factors, base: Tensor | None) -> Measured:
    S, error = spectrum_of(factors)
    found = measured(factors, _ratio, base)
    if found.value is None or S[-1] > error[-1]:
        return found
    # the smallest value drowns in its own error: only a bound is known
    bound = ((S[0] - error[0]) / (S[-1] + error[-1])).item()
    return replace(found, value=bound, error=None, direction="lower", reason="the smallest value is 0 within its error")
