"""The Euclidean norm of numbers whose squares may leave double precision."""

from jaxtyping import Float64
from torch import Tensor

__all__ = ["scaled_norm"]


def scaled_norm(values: Float64[Tensor, " n"]) -> Float64[Tensor, ""]:
    """``sqrt(sum v_i^2)``, with squares taken relative to the largest; differentiable.

    >>> import torch
    >>> scaled_norm(torch.tensor([3e-170, 4e-170], dtype=torch.float64)).item()
    5e-170
    """
    largest = values.detach().abs().max() if values.numel() else values.new_zeros(())
    return (values / largest).square().sum().sqrt() * largest if largest > 0 else values.sum()
