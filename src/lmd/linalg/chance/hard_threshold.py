"""The optimal hard threshold of singular values under noise of unknown size."""

from functools import lru_cache
from math import sqrt

from jaxtyping import Float64
from torch import Tensor

from lmd.linalg.chance.marchenko_pastur import marchenko_pastur_quantiles

__all__ = ["hard_threshold_factor", "hard_threshold_rank"]

_LAW = 1001
"""Side at which the quantiles are those of the limit to three digits."""


@lru_cache(maxsize=256)
def hard_threshold_factor(beta: float) -> float:
    """``omega(beta)``: the threshold over the median singular value, of an aspect ratio ``0 < beta <= 1``.

    The threshold for known noise over the median of the Marchenko-Pastur law.

    >>> round(hard_threshold_factor(1.0), 2)
    2.86

    References:
        Gavish & Donoho 2014, equations 3 and 7.
    """
    known = sqrt(2 * (beta + 1) + 8 * beta / ((beta + 1) + sqrt(beta**2 + 14 * beta + 1)))
    long = max(_LAW, round(_LAW / beta)) if beta * _LAW >= 1 else _LAW * _LAW
    median = marchenko_pastur_quantiles((long, _LAW))[_LAW // 2].item() / sqrt(long)
    return known / median


def hard_threshold_rank(S: Float64[Tensor, " rank"], shape: tuple[int, int]) -> int:
    """How many singular values exceed ``omega(beta)`` times their median: worth keeping if the rest is noise.

    Args:
        S: every singular value.
        shape: of the matrix.

    References:
        Gavish & Donoho 2014.
    """
    if not S.numel():
        return 0
    # torch takes the lower of two middle values
    return int((hard_threshold_factor(min(shape) / max(shape)) * S.quantile(0.5).item() < S).sum())
