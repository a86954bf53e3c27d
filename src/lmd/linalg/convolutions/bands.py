"""Filters read as low-, band- or high-pass."""

from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.linalg.convolutions.convolution import Convolution
from lmd.linalg.convolutions.symbol import power_spectrum

__all__ = ["WORDS", "band_shares", "band_word"]

WORDS = ("flat", "low-pass", "band-pass", "high-pass")
_CLEAR = 1.5
"""Times the share of a flat filter."""


def band_shares(
    geometry: Convolution, filters: Float64[Tensor, "filter ..."], torus: Sequence[int]
) -> tuple[Float64[Tensor, "filter 3"], tuple[float, float, float]]:
    """The share of each filter's energy in the lowest, middle and highest third of frequencies, and a flat one's.

    A frequency of several axes is as high as its highest axis.

    Args:
        geometry: size of the kernel and dilation.
        filters: ``(filter, channels, *kernel size)``.
        torus: size of the grid of frequencies.
    """
    found = []
    frequencies = torch.zeros(0)
    for one in filters:
        frequencies, power = power_spectrum(geometry, one[None], torus)
        found.append(power)
    # three times twice the frequency over the torus: 1 and 2 part the thirds, in whole numbers
    heights, size = 6 * frequencies.abs(), torch.tensor(torus)
    low, high = (heights < size).all(dim=1), (heights > 2 * size).any(dim=1)
    bands = torch.stack([low, ~low & ~high, high]).double()
    power = torch.stack(found)
    flat = bands.mean(dim=1).tolist()
    return power @ bands.T / power.sum(dim=1, keepdim=True), (flat[0], flat[1], flat[2])


def band_word(shares: Sequence[float], flat: Sequence[float]) -> str:
    """The band whose share exceeds a flat filter's the most, if by half of it; else ``flat``.

    >>> band_word((0.9, 0.1, 0.0), (0.2, 0.3, 0.5))
    'low-pass'
    """
    lifts = [share / base if base > 0 else 0.0 for share, base in zip(shares, flat, strict=True)]
    best = max(range(3), key=lifts.__getitem__)
    # more than half as much again may not fit a band that holds most frequencies: three quarters of the rest do
    clear = min(_CLEAR, 1 + 0.75 * (1 / flat[best] - 1)) if flat[best] > 0 else _CLEAR
    return WORDS[best + 1] if lifts[best] >= clear else WORDS[0]
