"""The SVD of a product of thin factors, which is never formed."""

import torch
from torch import Tensor

from lmd.factors.factors import Factors
from lmd.factors.rank import Wish
from lmd.layers.thin_product import ThinProduct
from lmd.linalg.thin_products import product_error, product_svd
from lmd.linalg.triples import Triples, orthogonality_defect, spectral_norm

__all__ = ["thin_product_factors"]


def thin_product_factors(layer: ThinProduct, wish: Wish) -> Factors:
    """Every singular value that is not 0 by construction, and the leading triples.

    Raises:
        ValueError: a factor contains NaN or Inf, or the wish does not fit.
    """
    L, R = layer.thin()
    _refuse_infinite(layer, L, R)
    everything = product_svd(L, R)
    triples = everything.leading(wish.count(everything.S, layer.name))
    return Factors(
        layer=layer.name,
        kind=layer.kind,
        shape=layer.shape,
        groups=1,
        U=triples.U,
        S=triples.S,
        Vh=triples.Vh,
        spectrum=everything.S,
        spectrum_error=torch.full_like(everything.S, product_error(L, R)),
        frobenius_norm=torch.linalg.vector_norm(everything.S).item(),
        residual=_residual(L, R, triples),
        orthogonality_defect=max(orthogonality_defect(triples.U), orthogonality_defect(triples.Vh.T)),
        remainder=None,
        method="thin_qr",
        inner=layer.inner,
    )


def _residual(L: Tensor, R: Tensor, triples: Triples) -> float:
    U, S, V = triples.U, triples.S, triples.Vh.T
    return max(spectral_norm(L @ (R @ V) - U * S), spectral_norm(R.T @ (L.T @ U) - V * S))


def _refuse_infinite(layer: ThinProduct, *factors: Tensor) -> None:
    bad = sum(int((~torch.isfinite(factor)).sum()) for factor in factors)
    if bad:
        raise ValueError(
            f"layer {layer.name!r} contains NaN or Inf in {bad} entries of its factors; only finite numbers have "
            f"singular values; repair the weights or leave the layer out."
        )
