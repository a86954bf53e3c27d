"""The Gram matrix on the shorter side, accumulated from panels."""

from collections.abc import Iterable

import numpy
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from scipy.linalg import get_blas_funcs
from torch import Tensor

__all__ = ["gram", "gram_lower"]

(_syrk,) = get_blas_funcs(("syrk",), dtype=numpy.float64)


def gram(panels: Iterable[Float64[Tensor, "..."]], side: int, *, cut_axis: int = 0) -> Float64[Tensor, "side side"]:
    """``W^T W`` of a tall matrix or ``W W^T`` of a wide one, from panels cut along the longer side.

    Args:
        panels: in float64; each is read once, so that memory is ``side**2`` doubles and one panel.
        side: length of the shorter side.
        cut_axis: 0 for panels of rows (tall or square), 1 for panels of columns (wide).

    >>> gram([torch.eye(2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)], 2)
    tensor([[2., 1.],
            [1., 2.]], dtype=torch.float64)
    """
    lower = numpy.tril(gram_lower(panels, side, cut_axis=cut_axis))
    return torch.from_numpy(lower + numpy.tril(lower, -1).T)


def gram_lower(panels: Iterable[Float64[Tensor, "..."]], side: int, *, cut_axis: int = 0) -> NDArray[numpy.float64]:
    """Lower triangle of the Gram matrix, in Fortran order, ready for LAPACK to overwrite; the rest is zero."""
    G = numpy.zeros((side, side), order="F")
    for panel in panels:
        P = panel.numpy() if cut_axis == 0 else panel.numpy().T
        if P.size == 0:
            continue
        # BLAS wants Fortran order: of a C-ordered array it takes the transpose, and no copy is made
        if P.flags.f_contiguous and not P.flags.c_contiguous:
            G = _syrk(1.0, P, beta=1.0, c=G, trans=1, lower=1, overwrite_c=1)
        else:
            G = _syrk(1.0, P.T, beta=1.0, c=G, trans=0, lower=1, overwrite_c=1)
    return G
