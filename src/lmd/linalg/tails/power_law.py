"""A power law fitted to the largest of some positive numbers, and how well it fits them."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import numpy
from jaxtyping import Float64
from numpy.typing import NDArray
from scipy.stats import chi2
from torch import Tensor

__all__ = ["FEWEST", "PowerLawFit", "fit_power_law", "power_law_p"]

FEWEST = 10
"""Values in the tail: with fewer the exponent has no digit."""
_MOST_STARTS = 4096
"""Starts of the tail that are tried."""
_ALIKE = 1e-6
"""Of the logarithms of the largest and the smallest: below, they are one value and rounding."""
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class PowerLawFit:
    """The density ``(exponent - 1) / start * (x / start)^-exponent`` above ``start``.

    Attributes:
        exponent: by maximum likelihood.
        error: its standard error.
        interval: it lies in there with 95 % confidence, for independent values and a start that was told.
        start: where the tail begins; one of the values.
        count: values from there on.
        distance: Kolmogorov's, between the tail and the fit.
    """

    exponent: float
    error: float
    interval: tuple[float, float]
    start: float
    count: int
    distance: float


def fit_power_law(values: Float64[Tensor, " n"]) -> PowerLawFit:
    """The tail that is nearest to a power law, of all that begin at one of the values and hold at least ten.

    Beyond 4096 values, 4096 starts of evenly spaced ranks are tried.

    Raises:
        ValueError: fewer than ten positive values, or all of them alike.

    >>> import torch
    >>> share = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    >>> round(fit_power_law(share ** (-1 / 1.5)).exponent, 1)
    2.5

    References:
        Clauset, Shalizi & Newman 2009, 3.1 and 3.3.
    """
    return _fit(_logarithms(values))


def power_law_p(
    values: Float64[Tensor, " n"], fit: PowerLawFit, draws: int, generator: numpy.random.Generator
) -> float:
    """Share of samples that lie as far from their own fit, were the tail a power law and the rest as it is.

    Each sample is fitted anew, the start of its tail included. The sample itself counts as one of them, so that the
    answer is never 0; its standard error is ``sqrt(p (1 - p) / draws)``.

    References:
        Clauset, Shalizi & Newman 2009, 4.1; Davison & Hinkley 1997, 4.2.
    """
    logs = _logarithms(values)
    body = logs[: len(logs) - fit.count]
    as_far = 0
    for _ in range(draws):
        inside = int(generator.binomial(len(logs), fit.count / len(logs)))
        tail = numpy.log(fit.start) + generator.exponential(1 / (fit.exponent - 1), inside)
        rest = generator.choice(body, len(logs) - inside) if len(body) else tail[:0]
        as_far += _fit(numpy.sort(numpy.concatenate([rest, tail]))).distance >= fit.distance
    return (1 + as_far) / (1 + draws)


def _logarithms(values: Tensor) -> NDArray[numpy.float64]:
    found = numpy.sort(values.double().numpy())
    found = found[found > 0]
    if len(found) < FEWEST:
        raise ValueError(f"{len(found)} positive values came; a tail needs at least {FEWEST}; leave the fit out.")
    logs = numpy.log(found)
    if logs[-1] - logs[0] < _ALIKE:
        raise ValueError(f"the {len(found)} values are alike to 6 digits; a tail needs different ones; leave it out.")
    return logs


def _fit(logs: NDArray[numpy.float64]) -> PowerLawFit:
    starts = _starts(logs)
    slopes = _slopes(logs, starts)
    distances = numpy.concatenate([*_distances(logs, starts, slopes)])
    best = int(distances.argmin())
    count, slope = len(logs) - int(starts[best]), float(slopes[best])
    # the start is one of the values, and so only the others are free
    freedom = 2 * (count - 1)
    low, high = (1 + slope * float(chi2.ppf(level, freedom)) / (2 * count) for level in (0.025, 0.975))
    start, distance = float(numpy.exp(logs[starts[best]])), float(distances[best])
    return PowerLawFit(1 + slope, slope / sqrt(count), (low, high), start, count, distance)


def _starts(logs: NDArray[numpy.float64]) -> NDArray[numpy.int64]:
    """Places where a tail may begin: the first of equal values, with enough of them and not all alike."""
    last = len(logs) - FEWEST
    places = numpy.unique(numpy.linspace(0, last, min(last + 1, _MOST_STARTS)).round().astype(numpy.int64))
    places = numpy.unique(numpy.searchsorted(logs, logs[places], side="left"))
    return places[logs[-1] - logs[places] >= _ALIKE]


def _slopes(logs: NDArray[numpy.float64], starts: NDArray[numpy.int64]) -> NDArray[numpy.float64]:
    """``exponent - 1`` of each tail, by maximum likelihood."""
    counts = len(logs) - starts
    sums = logs[::-1].cumsum()[counts - 1] - counts * logs[starts]
    return counts / sums


def _distances(
    logs: NDArray[numpy.float64], starts: NDArray[numpy.int64], slopes: NDArray[numpy.float64]
) -> Iterator[NDArray[numpy.float64]]:
    """Kolmogorov's distance of each tail: steps are compared on both sides."""
    ranks = numpy.arange(len(logs))
    size = max(1, _BLOCK // len(logs))
    for at in range(0, len(starts), size):
        start, slope = starts[at : at + size, None], slopes[at : at + size, None]
        counts = len(logs) - start
        # values before the start are its own, at which the law and the steps begin
        beyond = numpy.maximum(logs - logs[start[:, 0], None], 0.0)
        law = -numpy.expm1(-slope * beyond)
        before = numpy.maximum(ranks - start, 0) / counts
        after = numpy.maximum(ranks - start + 1, 0) / counts
        yield numpy.maximum(law - before, after - law).max(axis=1)
