"""Whether the entries of a matrix hang together, against the same entries shuffled; without a single draw.

All three tests ask for the sum of the fourth powers of the singular values, which correlation raises: under shuffling
its mean and variance are known. What shuffling keeps, a mean of all, of each row or of each column, is taken out first.
"""

from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float64
from scipy.stats import chi2
from torch import Tensor

from lmd.linalg.panels import Operator

__all__ = ["Moments", "entries_p", "lines_p", "moments_of"]

_FEWEST = 4
"""Rows and columns below which the laws of large matrices say nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Sums over a matrix.

    Attributes:
        shape: of the matrix.
        sums: of each row, and of each column.
        squares: sums of squares of each row, and of each column.
        third: sum of the third powers of all entries.
        fourth: of the fourth powers.
        largest: magnitude of the largest entry.
        through: ``W`` on the means of its columns, and its transpose on the means of its rows.
    """

    shape: tuple[int, int]
    sums: tuple[Float64[Tensor, " out"], Float64[Tensor, " in"]]
    squares: tuple[Float64[Tensor, " out"], Float64[Tensor, " in"]]
    third: float
    fourth: float
    largest: float
    through: tuple[Float64[Tensor, " out"], Float64[Tensor, " in"]]

    @property
    def mean(self) -> float:
        """Of all entries."""
        return self.sums[0].sum().item() / (self.shape[0] * self.shape[1])

    @property
    def total(self) -> float:
        """Sum of the squares of all entries."""
        return self.squares[0].sum().item()

    @property
    def excess_kurtosis(self) -> float:
        """Of the entries about their mean: 0 for Gaussian ones, -1.2 for uniform ones; NaN if all are equal."""
        count, mean = self.shape[0] * self.shape[1], self.mean
        second, third, fourth = self.total / count, self.third / count, self.fourth / count
        variance = second - mean**2
        central = fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4
        return central / variance**2 - 3 if variance > 0 else float("nan")


def moments_of(operator: Operator) -> Moments:
    """In two passes over the panels."""
    axis = operator.cut_axis
    across: tuple[list[Tensor], list[Tensor]] = ([], [])
    along = [torch.zeros(operator.shape[1 - axis], dtype=torch.float64) for _ in range(2)]
    third = fourth = largest = 0.0
    for stored in operator.panels():
        # the order of a sum, and so its last digit, must not depend on how a file lays its rows out
        panel = stored.contiguous()
        squares = panel.square()
        for index, values in enumerate((panel, squares)):
            across[index].append(values.sum(dim=1 - axis))
            along[index] += values.sum(dim=axis)
        flat, flat_squares = panel.flatten(), squares.flatten()
        third += torch.dot(flat, flat_squares).item()
        fourth += torch.dot(flat_squares, flat_squares).item()
        largest = max(largest, squares.max().item())
    joined = [torch.cat(parts) for parts in across]
    sums, of_squares = ((j, a) if axis == 0 else (a, j) for j, a in zip(joined, along, strict=True))
    out, inn = operator.shape
    through = operator.apply_both((sums[1] / out)[:, None], (sums[0] / inn)[:, None])
    flat = (through[0].flatten(), through[1].flatten())
    return Moments(operator.shape, sums, of_squares, third, fourth, sqrt(largest), flat)


def entries_p(moments: Moments, fourth_powers: float) -> float | None:
    """Two-sided p-value of "the entries are independent draws from one law", whatever law.

    Args:
        moments: of the matrix.
        fourth_powers: sum of the fourth powers of its singular values.

    Returns:
        None for matrices too small for the test.

    References:
        John 1972; Ledoit & Wolf 2002; Wang & Yao 2013 (entries of any kurtosis).
    """
    p, q = sorted(moments.shape)
    count, mean, kurtosis = p * q, moments.mean, moments.excess_kurtosis
    total = moments.total - count * mean**2
    if p < _FEWEST or not total > 0:
        return None
    rows, columns = moments.sums
    removed = _Removed(
        a=moments.shape[0] * mean**2,
        b=float(moments.shape[1]),
        through=moments.shape[0] * mean * (moments.through[0] @ rows).item(),
        image=(rows @ rows).item(),
        across=mean * columns.sum().item(),
        back=mean**2 * (columns @ columns).item(),
    )
    power = fourth_powers + removed.change()
    statistic = q * (p * power / total**2 - 1) - p
    expected = q * (p * (p + q + 1 + kurtosis) / (count + 2) - 1) - p
    # shuffled outliers meet in a row or a column now and then
    variance = 4 + (2 / p + 2 / q) * (kurtosis + 2) ** 2
    return _both_tails((statistic - expected) / sqrt(variance), p * (p + 1) / 2 - 1)


def lines_p(moments: Moments, fourth_powers: float, *, axis: int) -> float | None:
    """Two-sided p-value of "the order of the entries in each row, or column, has nothing to do with the others".

    Of entries with very heavy tails it comes out too small: look at the excess kurtosis.

    Args:
        moments: of the matrix.
        fourth_powers: sum of the fourth powers of its singular values.
        axis: 0 for rows, each shuffled by itself, 1 for columns.

    Returns:
        None for matrices too small for the test.

    References:
        Schott 2005, for correlations; the mean and variance here are those of permutations, of unscaled products.
    """
    lines, length = moments.shape[axis], moments.shape[1 - axis]
    if min(lines, length) < _FEWEST:
        return None
    means = moments.sums[axis] / length
    image = moments.through[1 - axis].square().sum().item()
    size = means.square().sum().item()
    # means along the lines times ones; of the transposed matrix for columns
    removed = _Removed(size, float(length), length * image, length**2 * size, length * size, image)
    squares = moments.squares[axis] - length * means.square()
    pairs = (squares.sum().square() - squares.square().sum()).item()
    fourth_pairs = (squares.square().sum().square() - squares.pow(4).sum()).item()
    if not (pairs > 0 and fourth_pairs > 0):
        return None
    statistic = fourth_powers + removed.change() - squares.square().sum().item()
    each = 3 / ((length - 1) * (length + 1)) - 1 / (length - 1) ** 2
    deviation = sqrt(2 * fourth_pairs * each)
    return _both_tails((statistic - pairs / (length - 1)) / deviation, pairs**2 / fourth_pairs / 2)


@dataclass(frozen=True, slots=True)
class _Removed:
    """Products of a matrix ``W`` with the factors of ``a b^T``, with ``p = W^T a``.

    Attributes:
        a: ``|a|^2``.
        b: ``|b|^2``.
        through: ``(W p) . (W b)``.
        image: ``|W b|^2``.
        across: ``p . b``.
        back: ``|p|^2``.
    """

    a: float
    b: float
    through: float
    image: float
    across: float
    back: float

    def change(self) -> float:
        """What the sum of the fourth powers of the singular values changes by, from ``W`` to ``W - a b^T``."""
        second = 2 * self.a * self.image + 2 * self.across**2 + 2 * self.back * self.b
        return -4 * self.through + second - 4 * self.a * self.across * self.b + (self.a * self.b) ** 2


def _both_tails(z: float, freedom: float) -> float:
    """Of a sum of about ``freedom`` squares, ``z`` standard deviations from its mean."""
    place = freedom + z * sqrt(2 * freedom)
    return float(min(1.0, 2 * min(chi2.sf(place, freedom), chi2.cdf(place, freedom))))
