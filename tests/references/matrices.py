"""Hypothesis strategies: matrices with the troubles real ones have."""

import torch
from hypothesis import strategies as st
from torch import Tensor

__all__ = ["constructed", "matrices", "orthogonal"]


def orthogonal(rows: int, columns: int, seed: int) -> Tensor:
    """Orthonormal columns, Haar-distributed up to signs."""
    return torch.linalg.qr(torch.randn(rows, columns, dtype=torch.float64, generator=_seeded(seed)))[0]


def constructed(shape: tuple[int, int], values: Tensor, seed: int) -> Tensor:
    """A matrix with these singular values, to rounding."""
    rank = values.numel()
    return (orthogonal(shape[0], rank, seed) * values) @ orthogonal(shape[1], rank, seed + 1).T


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@st.composite
def matrices(draw: st.DrawFn, max_side: int = 12, min_side: int = 1) -> Tensor:
    """Gaussian, graded, rank-deficient, repeated, sparse or zero; in float64 or float32."""
    side = st.integers(min_side, max_side)
    out, inn, seed = draw(side), draw(side), draw(st.integers(0, 2**16))
    W = torch.randn(out, inn, dtype=torch.float64, generator=_seeded(seed))
    form = draw(st.sampled_from(["gaussian", "graded", "deficient", "integers", "orthogonal", "zero"]))
    if form == "graded":
        W = W * torch.logspace(0, -12, inn, dtype=torch.float64)
    elif form == "deficient":
        W = W[:, :1] @ W[:1]
    elif form == "integers":
        W = W.round()
    elif form == "orthogonal":
        W = orthogonal(max(out, inn), min(out, inn), seed)
        W = W if out >= inn else W.T
    elif form == "zero":
        W = torch.zeros_like(W)
    return W.to(draw(st.sampled_from([torch.float64, torch.float32])))
