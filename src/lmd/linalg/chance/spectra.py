"""How two spectra differ."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["kolmogorov_distance"]


def kolmogorov_distance(first: Float[Tensor, " n"], second: Float[Tensor, " m"]) -> float:
    """The largest difference between the shares of values that are at most x, over all x.

    >>> kolmogorov_distance(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 3.0]))
    0.5

    References:
        Kolmogorov 1933; Smirnov 1948.
    """
    a, b = (values.double().sort().values for values in (first, second))
    at = torch.cat([a, b])
    shares = [torch.searchsorted(values, at, right=True).double() / len(values) for values in (a, b)]
    return (shares[0] - shares[1]).abs().max().item()
