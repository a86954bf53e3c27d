"""How far beyond the Marchenko-Pastur edge the largest singular value of a Gaussian matrix of finite size lands."""

from math import sqrt

from scipy.stats import gamma

__all__ = ["largest_value_p", "tracy_widom_edge"]

_SHAPE, _SCALE, _SHIFT = 46.446, 0.186054, 9.84801
"""The gamma law that has the first three moments of the Tracy-Widom law of real matrices."""


def tracy_widom_edge(shape: tuple[int, int], level: float) -> float:
    """The value that the largest of a Gaussian matrix with entries of unit variance passes with probability ``level``.

    >>> round(tracy_widom_edge((384, 384), 0.01) / (2 * sqrt(384)), 3)
    1.011

    References:
        Johnstone 2001; Johnstone & Ma 2012 (centre and scale, error of the order ``min(shape)^(-2/3)``); Chiani 2014
        (the law by a shifted gamma law).
    """
    centre, scale = _centre_and_scale(shape)
    # a gamma law ends where the Tracy-Widom law does not
    beyond = float(gamma.isf(level, _SHAPE, scale=_SCALE)) - _SHIFT
    return sqrt(max(centre + scale * beyond, 0.0))


def largest_value_p(shape: tuple[int, int], largest: float) -> float:
    """Probability that the largest singular value of a Gaussian matrix with entries of unit variance is beyond this.

    >>> largest_value_p((384, 384), 60.0) < 1e-12 < 0.5 < largest_value_p((384, 384), 38.0)
    True
    """
    centre, scale = _centre_and_scale(shape)
    return float(gamma.sf((largest**2 - centre) / scale + _SHIFT, _SHAPE, scale=_SCALE))


def _centre_and_scale(shape: tuple[int, int]) -> tuple[float, float]:
    """Of the square of the largest value."""
    a, b = (sqrt(side - 0.5) for side in shape)
    return (a + b) ** 2, (a + b) * (1 / a + 1 / b) ** (1 / 3)
