"""Quantiles of the Marchenko-Pastur law by quadrature of its density and bisection."""

from math import pi, sqrt

from scipy.integrate import quad
from scipy.optimize import brentq

__all__ = ["quantile"]


def quantile(share_above: float, shape: tuple[int, int]) -> float:
    """The singular value that this share of the values of a Gaussian matrix of this shape exceeds."""
    m, n = max(shape), min(shape)
    low, high = (sqrt(m) - sqrt(n)) ** 2, (sqrt(m) + sqrt(n)) ** 2

    # d(eigenvalue) = 2 s ds, so that the singularity of square shapes at 0 is gone
    def density(s: float) -> float:
        x = s * s
        return (
            2 * s * sqrt(max((high - x) * (x - low), 0.0)) / (2 * pi * n * x)
            if x > 0
            else 2 * sqrt(high) / (2 * pi * n)
        )

    def above(s: float) -> float:
        return quad(density, s, sqrt(high), limit=400, epsabs=1e-12, epsrel=1e-12)[0] - share_above

    return brentq(above, sqrt(low), sqrt(high), xtol=1e-13)
