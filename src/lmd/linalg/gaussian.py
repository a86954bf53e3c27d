"""The spectrum a random layer of the same shape and size would have."""

from math import sqrt

from jaxtyping import Float64
from torch import Tensor

from lmd.linalg.marchenko_pastur import marchenko_pastur_quantiles, noise_edge

__all__ = ["entry_scale", "gaussian_edge", "gaussian_spectrum"]


def entry_scale(shape: tuple[int, int], frobenius_norm: float, *, groups: int = 1) -> float:
    """Root mean square of the entries inside the diagonal blocks, in the unit of the entries."""
    out, inn = shape
    return frobenius_norm / sqrt(out * inn / groups)


def gaussian_spectrum(shape: tuple[int, int], frobenius_norm: float, *, groups: int = 1) -> Float64[Tensor, " rank"]:
    """Singular values, descending, of an iid Gaussian matrix with this shape and Frobenius norm.

    Marchenko-Pastur quantiles, rescaled so that the sum of squares is exact: the limit of large matrices, used as it is
    for small ones. For ``groups`` diagonal blocks the union over the blocks.

    References:
        Marchenko & Pastur 1967.
    """
    quantiles = marchenko_pastur_quantiles(shape, groups)
    norm = quantiles.square().sum().sqrt().item()
    return quantiles * (frobenius_norm / norm if norm else 0.0)


def gaussian_edge(shape: tuple[int, int], frobenius_norm: float, *, groups: int = 1) -> float:
    """``s (sqrt(out) + sqrt(in))`` of one block, ``s`` the root mean square entry: where the noise spectrum ends."""
    out, inn = shape
    return entry_scale(shape, frobenius_norm, groups=groups) * noise_edge((out // groups, inn // groups))
