"""A function of the singular values, measured on a layer and on its baseline, with the error it inherits."""

from collections.abc import Callable, Sequence
from math import isfinite

import torch
from torch import Tensor

from lmd.factors.factors import Factors
from lmd.findings.analysis import InapplicableError
from lmd.findings.quantity import Measured
from lmd.linalg.chance.first_order import value_and_error
from lmd.linalg.chance.gaussian import gaussian_product_spectrum, gaussian_spectrum

__all__ = [
    "NO_SPECTRUM",
    "baseline_spectrum",
    "counted",
    "counted_each",
    "leading_value",
    "measured",
    "no_baseline",
    "refuse_without_directions",
    "spectrum_of",
]

_NO_BASELINE = {
    "diagonal": "a diagonal map has no random-matrix baseline",
    "conv_operator": "no random matrix is a convolution; a random kernel stands beside the operator norm",
}
NO_SPECTRUM = "only the leading singular values are known"


def spectrum_of(factors: Factors) -> tuple[Tensor, Tensor]:
    """All singular values and their absolute errors.

    Raises:
        InapplicableError: only the leading ones are known.
    """
    if factors.spectrum is None or factors.spectrum_error is None:
        raise InapplicableError(NO_SPECTRUM)
    return factors.spectrum, factors.spectrum_error


def baseline_spectrum(factors: Factors) -> Tensor | None:
    """Singular values of a random map of the layer's form and Frobenius norm; None where ``no_baseline`` says why.

    Marchenko-Pastur quantiles; for a product of thin factors one seeded draw of a product of Gaussian factors.
    """
    if no_baseline(factors):
        return None
    if factors.inner:
        return gaussian_product_spectrum(factors.shape, factors.inner, factors.frobenius_norm)
    return gaussian_spectrum(factors.shape, factors.frobenius_norm, groups=factors.groups)


def no_baseline(factors: Factors) -> str:
    """Why there is no random map of the layer's form; '' if there is."""
    diagonal = factors.kind == "difference" and 1 < factors.groups == max(factors.shape)
    return _NO_BASELINE.get("diagonal" if diagonal else factors.kind, "")


def leading_value(factors: Factors) -> float:
    """The largest singular value found, where not all are known.

    Raises:
        InapplicableError: none was asked for.
    """
    if factors.rank == 0:
        raise InapplicableError("no singular values were asked for")
    return factors.S[0].item()


def refuse_without_directions(*given: Factors) -> None:
    """Refuse factors that have no singular direction of their own.

    Raises:
        InapplicableError: none was kept, or the matrix is zero.
    """
    if any(factors.rank == 0 for factors in given):
        raise InapplicableError("no singular vectors were kept")
    if any(factors.S[0] == 0 for factors in given):
        raise InapplicableError("undefined for the zero matrix, whose directions are any")


def measured(factors: Factors, function: Callable[[Tensor], Tensor], baseline: Tensor | None) -> Measured:
    """``function`` of all singular values, first-order error, and the same function of the baseline."""
    S, error = spectrum_of(factors)
    value, inherited = value_and_error(function, S, error)
    if not isfinite(value):
        return Measured(None, _number(function, baseline), reason=_undefined(S))
    reason = no_baseline(factors) if baseline is None else ""
    return Measured(value, _number(function, baseline), inherited, reason=reason)


def counted(factors: Factors, function: Callable[[Tensor], int], baseline: Tensor | None) -> Measured:
    """A count over the singular values; its error is how far it moves when all of them move by their errors."""
    return counted_each(factors, lambda S: (function(S),), baseline)[0]


def counted_each(
    factors: Factors, function: Callable[[Tensor], Sequence[int]], baseline: Tensor | None
) -> tuple[Measured, ...]:
    """Several counts that one pass over the singular values gives, each with its error as ``counted`` has it."""
    S, error = spectrum_of(factors)
    values = function(S)
    moved = [function((S + sign * error).clamp(min=0)) for sign in (-1, 1)]
    reason = no_baseline(factors) if baseline is None else ""
    bases = [None] * len(values) if baseline is None else function(baseline)
    return tuple(
        Measured(value, base, float(max(abs(m - value) for m in others)), reason=reason)
        for value, base, *others in zip(values, bases, *moved, strict=True)
    )


def _number(function: Callable[[Tensor], Tensor], baseline: Tensor | None) -> float | None:
    if baseline is None:
        return None
    value = function(baseline).item()
    return value if isfinite(value) else None


def _undefined(S: Tensor) -> str:
    if not torch.any(S > 0):
        return "undefined for the zero matrix"
    if not torch.isfinite(S).all() or S[-1] > 0:
        return "beyond the range of double precision"
    return "infinite: the smallest singular value is 0"
