"""How two spectra differ."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["jensen_shannon_distance", "kolmogorov_distance"]


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


def jensen_shannon_distance(first: Float[Tensor, " n"], second: Float[Tensor, " n"]) -> float:
    """Root of the Jensen-Shannon divergence, in nats, between the shares that values of a rank have of their sum.

    >>> jensen_shannon_distance(torch.tensor([3.0, 1.0]), torch.tensor([6.0, 2.0]))
    0.0

    References:
        Lin 1991; Endres & Schindelin 2003.
    """
    p, q = (values.double() / values.double().sum() for values in (first, second))
    entropy = torch.special.entr((p + q) / 2).sum() - (torch.special.entr(p).sum() + torch.special.entr(q).sum()) / 2
    # rounding alone can make it negative
    return entropy.clamp_min(0.0).sqrt().item()
