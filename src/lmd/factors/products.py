"""The SVD of a product of thin factors, which is never formed."""

from math import isfinite

import torch
from torch import Tensor

from lmd.factors.factors import Factors
from lmd.factors.rank import Wish
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.thin_product import ThinProduct
from lmd.linalg.singular.thin_products import product_error, product_svd, product_values
from lmd.linalg.singular.triples import Triples

__all__ = ["refuse_infinite", "thin_product_factors"]


def thin_product_factors(layer: ThinProduct, wish: Wish) -> Factors:
    """Every singular value that is not 0 by construction, and the leading triples.

    Raises:
        ValueError: a factor contains NaN or Inf, or the wish does not fit.
    """
    L, R = layer.thin()
    size = (L.norm() * R.norm()).item()
    if not isfinite(size):
        refuse_infinite(layer, L, R)
    values, triples = _wished(layer, L, R, wish)
    return Factors(
        layer=layer.name,
        kind=layer.kind,
        shape=layer.shape,
        groups=1,
        U=triples.U,
        S=triples.S,
        Vh=triples.Vh,
        spectrum=values,
        spectrum_error=torch.full_like(values, product_error(layer.shape, size)),
        frobenius_norm=torch.linalg.vector_norm(values).item(),
        residual=_residual(L, R, triples),
        orthogonality_defect=max(_from_orthogonal(triples.U), _from_orthogonal(triples.Vh.T)),
        remainder=None,
        method="thin_qr",
        inner=layer.inner,
    )


def _wished(layer: ThinProduct, L: Tensor, R: Tensor, wish: Wish) -> tuple[Tensor, Triples]:
    """Every value, and the triples asked for."""
    if wish.rule is None and wish.vectors == 0:
        none = (L.new_empty(layer.shape[0], 0), L.new_empty(0), L.new_empty(0, layer.shape[1]))
        return product_values(L, R), Triples(*none)
    everything = product_svd(L, R)
    count = wish.count(everything.S, layer.name)
    return everything.S, everything if count == len(everything.S) else everything.leading(count)


def _residual(L: Tensor, R: Tensor, triples: Triples) -> float:
    # Frobenius norms: a bound, and for a small product the spectral norm would cost as much as the rest
    U, S, Vh = triples.U, triples.S, triples.Vh
    right = (U * S).addmm_(L, R @ Vh.T, beta=-1)
    left = (Vh * S[:, None]).addmm_(U.T @ L, R, beta=-1)
    return max(torch.linalg.vector_norm(right).item(), torch.linalg.vector_norm(left).item())


def _from_orthogonal(Q: Tensor) -> float:
    G = Q.T @ Q
    G.diagonal().sub_(1.0)
    return torch.linalg.vector_norm(G).item()


def refuse_infinite(layer: LayerMatrix, *factors: Tensor) -> None:
    """Refuse factors whose norms are not finite, and say how many entries are not.

    Raises:
        ValueError: always.
    """
    bad = sum(int((~torch.isfinite(factor)).sum()) for factor in factors)
    what = f"NaN or Inf in {bad} entries of its factors" if bad else "entries beyond 1e150"
    raise ValueError(
        f"layer {layer.name!r} contains {what}; only finite numbers have singular values; repair the weights or "
        f"leave the layer out."
    )
