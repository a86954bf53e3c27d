"""Whether what is left of a spectrum beyond its spikes is noise of a known size."""

from dataclasses import dataclass
from math import erfc, sqrt

from jaxtyping import Float64
from torch import Tensor

from lmd.linalg.chance.gaussian import gaussian_spectrum
from lmd.linalg.chance.noise_limits import farthest_noise
from lmd.linalg.chance.spectra import kolmogorov_distance

__all__ = ["Beyond", "beyond_spikes", "size_p"]


@dataclass(frozen=True, slots=True)
class Beyond:
    """What is left beyond the spikes.

    Attributes:
        p: two-sided p-value of the size that noise of the given variance has.
        distance: Kolmogorov distance of what is left to the Marchenko-Pastur law.
        limit: what noise stays under.
    """

    p: float
    distance: float
    limit: float


def beyond_spikes(values: Float64[Tensor, " rank"], shape: tuple[int, int], spikes: int, excess: float) -> Beyond:
    """The part of a spectrum beyond its spikes against noise with entries of unit variance.

    The energy of the spikes without the noise in them is taken from the whole; of low rank plus noise, what remains is
    the energy of the noise.

    Args:
        values: every singular value, descending, over the standard deviation of the noise.
        shape: of the matrix.
        spikes: how many of the values are beyond the edge of the noise.
        excess: excess kurtosis of the noise's entries.

    References:
        Marchenko & Pastur 1967; Baik, Ben Arous & Péché 2005; Benaych-Georges & Nadakuditi 2012, 3.1; Shabalin & Nobel
        2013 (energy of a spike without its noise).
    """
    m, n = shape
    above = values[:spikes].square() - m - n
    signal = ((above + (above.square() - 4.0 * m * n).clamp_min(0).sqrt()) / 2).sum().item()
    p = size_p(values.square().sum().item() - signal, m * n, excess)
    rank = min(shape) - spikes
    left = (m - spikes, n - spikes)
    law = gaussian_spectrum(left, sqrt(left[0] * left[1]))
    return Beyond(p, kolmogorov_distance(values[spikes:], law), farthest_noise(rank))


def size_p(energy: float, count: int, excess: float) -> float:
    """Two-sided p-value of a sum of squares of ``count`` independent numbers of unit variance, by its normal limit.

    >>> size_p(10_000.0, 10_000, 0.0)
    1.0
    """
    return erfc(abs(energy - count) / sqrt((2 + excess) * count) / sqrt(2))
