"""Whether the largest values of a spectrum fall off by a power law, and how sure that is."""

from dataclasses import dataclass
from math import log, log10, sqrt
from zlib import crc32

import numpy
import torch
from torch import Tensor

from lmd.factors.factors import Factors
from lmd.findings.analysis import Asked, Finding, InapplicableError, analysis
from lmd.findings.measure import baseline_spectrum, no_baseline, spectrum_of
from lmd.findings.quantity import Measured, quantities_of, quantity
from lmd.linalg.tails.alternatives import against_exponential, against_log_normal
from lmd.linalg.tails.power_law import FEWEST, PowerLawFit, fit_power_law, power_law_p

__all__ = ["PowerLaw", "PowerLawOption", "power_law"]

_INTERVAL = "an interval of its own exponent"
_UNIFORM = "of a power law it is uniform between 0 and 1"
_HALF = "of a power law it is 0.5 or uniform between 0 and 0.5"
_NO_TAIL = "a random layer of this shape has too few values for a tail"
_UNTOLD = "uniform between 0 and 1 where neither law is better"
_NORMAL = "of the order of 1 where the values do not tell"
_UNDRAWN = "no samples were asked for"
_NO_SAMPLE = {
    "conv_symbol": "the values of a symbol lie on smooth curves, each of them twice, and are no sample of a law",
    "diagonal": "the values of a diagonal map are its weights, one by one, and no spectrum",
}
_SAME = 1e-12
_SOURCES = {
    "fit": "Clauset, Shalizi & Newman 2009; Martin & Mahoney 2021",
    "test": "Clauset, Shalizi & Newman 2009, 4.1",
}


@dataclass(frozen=True, slots=True)
class PowerLawOption(Asked):
    """What asks for the fit.

    Attributes:
        draws: samples for its p-value, each fitted anew; 0 for none.
        seed: of the samples, with the layer's name.
    """

    draws: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PowerLaw(Finding):
    """A power law in the squared singular values, the eigenvalues of ``W^T W``."""

    tail_exponent: Measured = quantity(
        "α",
        unit="1",
        meaning="Exponent of the density λ^−α of the largest eigenvalues of WᵀW, by maximum likelihood",
        source=_SOURCES["fit"],
    )
    tail_exponent_low: Measured = quantity(
        "α₋",
        unit="1",
        meaning="Lower end of the 95 % interval of the exponent, for independent eigenvalues and a known start",
        source="Hill 1975",
    )
    tail_exponent_high: Measured = quantity(
        "α₊",
        unit="1",
        meaning="Upper end of the 95 % interval of the exponent, for independent eigenvalues and a known start",
        source="Hill 1975",
    )
    tail_start: Measured = quantity(
        "λ_min",
        unit="(output/input)²",
        meaning="Where the tail begins: the eigenvalue from which on the fit is nearest",
        source=_SOURCES["fit"],
    )
    tail_count: Measured = quantity(
        "n", unit="eigenvalues", meaning="Eigenvalues in the tail, which the exponent is from", source=_SOURCES["fit"]
    )
    tail_distance: Measured = quantity(
        "D", unit="1", meaning="Kolmogorov distance of the tail to the fitted law", source="Kolmogorov 1933"
    )
    tail_p: Measured = quantity(
        "p",
        unit="1",
        meaning="Probability that a sample of the fitted law lies as far from its own fit; only where asked for",
        source=_SOURCES["test"],
    )
    tail_log_normal_p: Measured = quantity(
        "p(log-normal)",
        unit="1",
        meaning="p-value of the power law against log-normal tails: small where the tail bends downwards",
        source="del Castillo & Puig 1999; Malevergne, Pisarenko & Sornette 2011",
    )
    tail_exponential_ratio: Measured = quantity(
        "R/(s√n)",
        unit="standard deviations",
        meaning="Log-likelihood of the power law above that of an exponential tail: negative where that fits better",
        source="Vuong 1989",
    )
    tail_exponential_p: Measured = quantity(
        "p(exponential)",
        unit="1",
        meaning="Two-sided p-value of that ratio: large where neither is better",
        source="Vuong 1989",
    )
    log_alpha_norm: Measured = quantity(
        "log₁₀ Σλ^α",
        unit="1",
        meaning="Logarithm of the sum of the eigenvalues of WᵀW to the power of the exponent; depends on the unit of W",
        source="Martin & Mahoney 2021",
    )
    spectral_entropy: Measured = quantity(
        "−Σq log q/log r",
        unit="1",
        meaning="Entropy of the shares q = λ/Σλ over that of r equal ones: 1 if all directions are alike",
        source="von Neumann 1932",
    )


@analysis
def power_law(factors: Factors, option: PowerLawOption) -> PowerLaw:
    """A power law in the tail of the spectrum, with its interval, distance and rivals.

    The baseline is the same fit to the quantiles of the Marchenko-Pastur law: what a random layer of the shape gives.
    """
    S, error = spectrum_of(factors)
    largest = S[0].item()
    if largest == 0:
        raise InapplicableError("undefined for the zero matrix")
    # what rounding alone may have left is no part of a tail
    tolerance = max(factors.shape) * torch.finfo(torch.float64).eps
    certain = (S / largest)[(tolerance * largest < S) & (error < S)]
    base = baseline_spectrum(factors)
    why = no_baseline(factors)
    entropy = _entropy(certain, base, why)
    random = None if base is None or len(base) < FEWEST else fit_power_law(base.square())
    try:
        fit = _fitted(factors, certain)
    except ValueError as fault:
        absent = {q.key: Measured(None, reason=str(fault)) for q in quantities_of(PowerLaw)}
        return PowerLaw(layer=factors.layer, **{**absent, "spectral_entropy": entropy})
    return PowerLaw(
        layer=factors.layer,
        **_of_fit(fit, largest, random, why or ("" if random else _NO_TAIL)),
        **_rivals(certain.square(), fit),
        tail_p=_p(certain.square(), fit, factors.layer, option),
        log_alpha_norm=_alpha_norm(certain, largest, fit, _random_norm(base, random), why or _NO_TAIL),
        spectral_entropy=entropy,
    )


def _fitted(factors: Factors, certain: Tensor) -> PowerLawFit:
    if factors.kind in _NO_SAMPLE:
        raise ValueError(_NO_SAMPLE[factors.kind])
    return fit_power_law(certain.square())


def _of_fit(fit: PowerLawFit, largest: float, random: PowerLawFit | None, why: str) -> dict[str, Measured]:
    return {
        "tail_exponent": Measured(fit.exponent, random and random.exponent, fit.error, "estimate", why),
        "tail_exponent_low": Measured(fit.interval[0], None, None, "estimate", _INTERVAL),
        "tail_exponent_high": Measured(fit.interval[1], None, None, "estimate", _INTERVAL),
        "tail_start": Measured(fit.start * largest**2, random and random.start, None, "estimate", why),
        "tail_count": Measured(fit.count, random and random.count, None, "estimate", why),
        "tail_distance": Measured(fit.distance, random and random.distance, None, "estimate", why),
    }


def _rivals(values: Tensor, fit: PowerLawFit) -> dict[str, Measured]:
    tail = values[values >= fit.start * (1 - _SAME)].clamp_min(fit.start)
    ratio, p = against_exponential(tail, fit.start)
    return {
        "tail_log_normal_p": Measured(against_log_normal(tail, fit.start), None, None, "estimate", _HALF),
        "tail_exponential_ratio": Measured(ratio, None, None, "estimate", _NORMAL),
        "tail_exponential_p": Measured(p, None, None, "estimate", _UNTOLD),
    }


def _p(values: Tensor, fit: PowerLawFit, layer: str, option: PowerLawOption) -> Measured:
    if not option.draws:
        return Measured(None, reason=_UNDRAWN)
    generator = numpy.random.default_rng([option.seed, crc32(layer.encode())])
    p = power_law_p(values, fit, option.draws, generator)
    return Measured(p, None, sqrt(p * (1 - p) / option.draws), "estimate", _UNIFORM)


def _alpha_norm(certain: Tensor, largest: float, fit: PowerLawFit, random: float | None, why: str) -> Measured:
    value, slope = _log_sum(certain, largest, fit.exponent)
    return Measured(value, random, abs(slope) * fit.error, "estimate", "" if random is not None else why)


def _random_norm(base: Tensor | None, random: PowerLawFit | None) -> float | None:
    if base is None or random is None:
        return None
    return _log_sum(base / base[0], base[0].item(), random.exponent)[0]


def _log_sum(shares: Tensor, largest: float, exponent: float) -> tuple[float, float]:
    """``log10 sum lambda^exponent`` and its slope in the exponent, of values in units of the largest."""
    logs = 2 * shares[shares > 0].log()
    weights = (exponent * logs).exp()
    total, first = weights.sum().item(), (weights * logs).sum().item()
    scale = 2 * log10(largest)
    return exponent * scale + log10(total), scale + first / total / log(10)


def _entropy(certain: Tensor, base: Tensor | None, why: str) -> Measured:
    if len(certain) < 2:
        return Measured(None, reason="one direction alone has no entropy")
    beside = None if base is None else _entropy_of(base / base[0])
    return Measured(_entropy_of(certain), beside, None, "estimate", why)


def _entropy_of(shares: Tensor) -> float:
    q = shares.square() / shares.square().sum()
    return torch.special.entr(q).sum().item() / log(len(q))
