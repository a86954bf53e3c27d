"""The SVD of a product of thin factors, by two thin QRs and one small SVD."""

from functools import partial
from math import sqrt

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.linalg.singular.spectrum import UNIT_ROUNDOFF
from lmd.linalg.singular.thin_svd import lapack_svdvals, thin_svd
from lmd.linalg.singular.triples import Triples, signed_triples

__all__ = ["product_error", "product_svd", "product_values"]

_CONSTANT = 6.0
"""As for other backward stable decompositions (see ``lmd.linalg.singular.spectrum``)."""


def product_svd(L: Float64[Tensor, "out inner"], R: Float64[Tensor, "inner in"]) -> Triples:
    """Every singular triple of ``L R`` but those whose value is 0 by construction: ``min(out, in, inner)`` of them.

    ``L = Q_1 R_1`` and ``R^T = Q_2 R_2``, so that ``L R = Q_1 (R_1 R_2^T) Q_2^T``; the product is never formed.

    References:
        Golub & Van Loan 2013, section 8.6.

    >>> product_svd(torch.full((4, 1), 2.0, dtype=torch.float64), torch.ones(1, 9, dtype=torch.float64)).S
    tensor([12.], dtype=torch.float64)
    """
    Q1, R1 = torch.linalg.qr(L)
    Q2, R2 = torch.linalg.qr(R.T)
    U, S, Vh = thin_svd((R1 @ R2.T).contiguous())
    return signed_triples(Q1 @ U, S, Vh @ Q2.T)


def product_values(L: Float64[Tensor, "out inner"], R: Float64[Tensor, "inner in"]) -> Float64[Tensor, " rank"]:
    """The values of ``product_svd`` alone, for less than half of the work: neither ``Q_1`` nor ``Q_2`` is needed."""
    R1 = torch.linalg.qr(L, mode="r")[1]
    R2 = torch.linalg.qr(R.T, mode="r")[1]
    return lapack_svdvals(partial((R1 @ R2.T).numpy().copy, order="F"))


def product_error(shape: tuple[int, int], size: float) -> float:
    """Estimate of the absolute error of each value.

    Args:
        shape: ``(out, in)``.
        size: ``||L||_F ||R||_F``, to which the error is relative, since the factors may cancel.
    """
    return _CONSTANT * UNIT_ROUNDOFF * sqrt(max(shape)) * size
