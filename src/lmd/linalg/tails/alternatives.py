"""Whether another law describes the largest of some numbers better than a power law does."""

from math import erfc, log, pi, sqrt

import numpy
from jaxtyping import Float64
from numpy.typing import NDArray
from scipy.optimize import root_scalar
from scipy.special import erfcx, log_ndtr
from scipy.stats import chi2
from torch import Tensor

__all__ = ["against_exponential", "against_log_normal"]

_NEAREST, _FARTHEST = -35.0, 1e3
"""Where the log-normal law is cut, in its standard deviations; there it is a whole one, or a power law."""
_LARGE = 50.0


def against_log_normal(tail: Float64[Tensor, " n"], start: float) -> float:
    """p-value of a power law against log-normal ones, which bend downwards in logarithms and contain it as a limit.

    Twice the logarithm of the ratio of likelihoods follows, for a power law, half a point at 0 and half a law of
    chi-squared with one degree of freedom: 0.5 if the best log-normal law is the power law itself.

    Args:
        tail: the values, all at least ``start``.
        start: where the tail begins.

    References:
        del Castillo & Puig 1999; Malevergne, Pisarenko & Sornette 2011; Self & Liang 1987.

    >>> import torch
    >>> level = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    >>> against_log_normal((1 - level) ** -0.5, 1.0) > 0.1, against_log_normal(1 + level, 1.0) < 1e-6
    (True, True)
    """
    y = _beyond(tail, start)
    first, second = float(y.mean()), float((y * y).mean())
    if first <= 0 or second >= 2 * first**2:
        return 0.5
    gain = len(y) * (_log_normal(first, second) - (-log(first) - 1))
    return 0.5 * float(chi2.sf(2 * max(gain, 0.0), 1))


def against_exponential(tail: Float64[Tensor, " n"], start: float) -> tuple[float, float]:
    """Vuong's statistic of a power law against an exponential one, and its two-sided p-value.

    Args:
        tail: the values, all at least ``start``.
        start: where the tail begins.

    Returns:
        Positive where the power law describes the values better; of the order of 1 where they do not tell.

    References:
        Vuong 1989; Clauset, Shalizi & Newman 2009, 5.

    >>> import torch
    >>> level = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    >>> against_exponential((1 - level) ** -0.7, 1.0)[0] > 2 > -2 > against_exponential(3 - (1 - level).log(), 3.0)[0]
    True
    """
    y = _beyond(tail, start)
    # in units of the start, where both densities are those of x / start
    x = numpy.exp(y) - 1
    if not (x.mean() > 0):
        return 0.0, 1.0
    power = -numpy.log(y.mean()) - y / y.mean() - y
    exponential = -numpy.log(x.mean()) - x / x.mean()
    ratio = power - exponential
    spread = float(ratio.std())
    if spread == 0:
        return 0.0, 1.0
    statistic = float(ratio.sum()) / (spread * sqrt(len(y)))
    return statistic, erfc(abs(statistic) / sqrt(2))


def _beyond(tail: Tensor, start: float) -> NDArray[numpy.float64]:
    return numpy.log(tail.double().numpy() / start)


def _log_normal(first: float, second: float) -> float:
    """Largest mean log-likelihood of a normal law cut at 0, of values with this mean and mean square.

    Of ``z = y sqrt(c)`` the density is ``exp(-t z - z^2 / 2)`` over its integral; the ratio of the moments gives ``t``,
    and the mean then ``c``.
    """
    wanted = min(max(second / first**2, _ratio(_NEAREST)), _ratio(_FARTHEST))
    t = root_scalar(lambda at: _ratio(at) - wanted, bracket=(_NEAREST, _FARTHEST), method="brentq", xtol=1e-12).root
    scale = _mean(t) / first
    return log(scale) - t * scale * first - scale**2 * second / 2 - _log_integral(t)


def _mean(t: float) -> float:
    # for large t the difference cancels: its series there is 1/t - 2/t^3 + 10/t^5
    return sqrt(2 / pi) / float(erfcx(t / sqrt(2))) - t if t < _LARGE else (1 - 2 / t**2 + 10 / t**4) / t


def _ratio(t: float) -> float:
    mean = _mean(t)
    return (1 - t * mean) / mean**2 if t < _LARGE else 2 - 2 / t**2


def _log_integral(t: float) -> float:
    return t * t / 2 + float(log_ndtr(-t)) + log(2 * pi) / 2
