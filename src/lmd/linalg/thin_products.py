"""The SVD of a product of thin factors, by two thin QRs and one small SVD."""

from math import sqrt

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.linalg.spectrum import UNIT_ROUNDOFF
from lmd.linalg.thin_svd import thin_svd
from lmd.linalg.triples import Triples, signed_triples

__all__ = ["product_error", "product_svd"]

_CONSTANT = 6.0
"""As for other backward stable decompositions (see ``lmd.linalg.spectrum``)."""


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


def product_error(L: Float64[Tensor, "out inner"], R: Float64[Tensor, "inner in"]) -> float:
    """Estimate of the absolute error of each value: relative to ``||L||_F ||R||_F``, since the factors may cancel."""
    length = max(L.shape[0], R.shape[1])
    return _CONSTANT * UNIT_ROUNDOFF * sqrt(length) * (L.norm() * R.norm()).item()
