"""Where the singular values of independent noise end whose variance differs from row to row and column to column."""

from math import sqrt
from typing import Any

import numpy
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar

__all__ = ["uneven_noise_edge"]

_NEAR = 1e-12


def uneven_noise_edge(rows: NDArray[numpy.float64], columns: NDArray[numpy.float64]) -> float:
    """The end of the spectrum of a large matrix of independent entries with the variances ``rows x columns / total``.

    Args:
        rows: sum of the variances in each row.
        columns: the same in each column, of the same total.

    Returns:
        The limit for large matrices; 0 for no noise. For equal variances ``s (sqrt(out) + sqrt(in))``.

    References:
        Zhang 2006; Couillet & Hachem 2014: the largest eigenvalue is the least value that the inverse of the Stieltjes
        transform takes outside the spectrum, here of one parameter.

    >>> import numpy
    >>> round(uneven_noise_edge(numpy.full(100, 25.0), numpy.full(25, 100.0)), 6)
    15.0
    """
    total = float(rows.sum())
    if total <= 0.0:
        return 0.0
    a, b = rows[rows > 0] / total, columns[columns > 0] / total
    largest_a, largest_b = float(a.max()), float(b.max())

    def weight(values: NDArray[numpy.float64], at: float) -> float:
        return float((at * values / (1 - at * values)).sum())

    def eigenvalue(share: float) -> float:
        y = share / largest_a
        wanted = weight(a, y)
        high = 1 - _NEAR
        if weight(b, high / largest_b) <= wanted:
            x = high / largest_b
        else:
            found: Any = brentq(lambda s: weight(b, s / largest_b) - wanted, 0.0, high, xtol=1e-14)
            x = found / largest_b
        return wanted / (x * y)

    least: Any = minimize_scalar(eigenvalue, bounds=(_NEAR, 1 - _NEAR), method="bounded", options={"xatol": 1e-9})
    return sqrt(total * float(least.fun))
