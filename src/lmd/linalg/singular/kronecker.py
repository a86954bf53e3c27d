"""The SVD of a Kronecker product, from those of its factors."""

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.linalg.singular.thin_svd import thin_svd
from lmd.linalg.singular.triples import Triples, signed_triples

__all__ = ["kronecker_product", "kronecker_svd"]


def kronecker_product(F: Float64[Tensor, "a b"], G: Float64[Tensor, "c d"]) -> Float64[Tensor, "ac bd"]:
    """``F (x) G``, whatever the strides of the factors, some of which ``torch.kron`` refuses."""
    blocks = F[:, None, :, None] * G[None, :, None, :]
    return blocks.reshape(F.shape[0] * G.shape[0], F.shape[1] * G.shape[1])


def kronecker_svd(
    F: Float64[Tensor, "a b"], G: Float64[Tensor, "c d"], count: int | None = None
) -> tuple[Float64[Tensor, " values"], Triples]:
    """Every product of a singular value of ``F`` with one of ``G``, descending, and the leading ``count`` triples.

    ``F (x) G = (U_F (x) U_G) (S_F (x) S_G) (V_F (x) V_G)^T``. The values that are 0 by construction, where the factors
    are of opposite form, are left out.

    References:
        Van Loan 2000, The ubiquitous Kronecker product.

    >>> eye = torch.eye(2, dtype=torch.float64)
    >>> kronecker_svd(torch.diag(torch.tensor([3.0, 1.0], dtype=torch.float64)), 2 * eye, 0)[0]
    tensor([6., 6., 2., 2.], dtype=torch.float64)
    """
    U1, S1, Vh1 = thin_svd(F.contiguous())
    U2, S2, Vh2 = thin_svd(G.contiguous())
    values, order = torch.outer(S1, S2).flatten().sort(descending=True, stable=True)
    kept = order[:count]
    first, second = kept // S2.numel(), kept % S2.numel()
    U = _paired(U1[:, first], U2[:, second])
    V = _paired(Vh1[first].T, Vh2[second].T)
    return values, signed_triples(U, values[: kept.numel()], V.T)


def _paired(A: Float64[Tensor, "m count"], B: Float64[Tensor, "n count"]) -> Float64[Tensor, "mn count"]:
    """The Kronecker product of each column of ``A`` with its column of ``B``."""
    return (A[:, None, :] * B[None, :, :]).flatten(0, 1)
