"""The SVD of a Kronecker product, which is never formed."""

import torch
from torch import Tensor

from lmd.factors.factors import Factors
from lmd.factors.products import refuse_infinite
from lmd.factors.rank import Wish
from lmd.layers.updates.kronecker import KroneckerProduct
from lmd.linalg.singular.kronecker import kronecker_svd
from lmd.linalg.singular.spectrum import lapack_error
from lmd.linalg.singular.triples import Triples, orthogonality_defect, spectral_norm

__all__ = ["kronecker_factors"]


def kronecker_factors(layer: KroneckerProduct, wish: Wish) -> Factors:
    """Every singular value, exactly the products of the factors' values, and the leading triples.

    Raises:
        ValueError: a factor contains NaN or Inf, or the wish does not fit.
    """
    F, G = layer.parts()
    if not (torch.isfinite(F).all() and torch.isfinite(G).all()):
        refuse_infinite(layer, F, G)
    found = kronecker_svd(F, G, 0)[0]
    values = torch.cat([found, found.new_zeros(min(layer.shape) - found.numel())])
    triples = kronecker_svd(F, G, min(wish.count(values, layer.name), found.numel()))[1]
    return Factors(
        layer=layer.name,
        kind=layer.kind,
        shape=layer.shape,
        groups=1,
        U=triples.U,
        S=triples.S,
        Vh=triples.Vh,
        spectrum=values,
        spectrum_error=lapack_error(values, max(layer.shape)),
        frobenius_norm=torch.linalg.vector_norm(F).item() * torch.linalg.vector_norm(G).item(),
        residual=_residual(F, G, triples),
        orthogonality_defect=max(orthogonality_defect(triples.U), orthogonality_defect(triples.Vh.T)),
        remainder=None,
        method="kronecker",
    )


def _residual(F: Tensor, G: Tensor, triples: Triples) -> float:
    U, S, V = triples.U, triples.S, triples.Vh.T
    return max(spectral_norm(_applied(F, G, V) - U * S), spectral_norm(_applied(F.T, G.T, U) - V * S))


def _applied(F: Tensor, G: Tensor, X: Tensor) -> Tensor:
    """``(F (x) G) X``, one small product after the other."""
    columns = X.unflatten(0, (F.shape[1], G.shape[1]))
    return torch.einsum("ab,cd,bdk->ack", F, G, columns).flatten(0, 1)
