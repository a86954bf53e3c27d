"""The one freedom of a simple singular triple, its sign, fixed."""

import numpy
import torch
from jaxtyping import Float64
from torch import Tensor

__all__ = ["fix_signs"]


def fix_signs(
    U: Float64[Tensor, "out rank"], Vh: Float64[Tensor, "rank in"]
) -> tuple[Float64[Tensor, "out rank"], Float64[Tensor, "rank in"]]:
    """Turn each pair so that the entry of largest magnitude of the right vector is positive; the first one wins ties.

    >>> fix_signs(torch.ones(1, 1, dtype=torch.float64), torch.tensor([[0.6, -0.8]], dtype=torch.float64))[1]
    tensor([[-0.6000,  0.8000]], dtype=torch.float64)
    """
    if Vh.numel() == 0:
        return U, Vh
    # numpy promises the first of several maxima, torch does not
    largest = torch.from_numpy(numpy.abs(Vh.numpy()).argmax(axis=1))
    signs = torch.copysign(torch.ones(1, dtype=torch.float64), Vh.gather(1, largest[:, None]))
    return U * signs.T, Vh * signs
