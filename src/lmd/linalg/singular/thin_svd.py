"""LAPACK's SVD in float64, values or all of it, with a second driver for the rare matrices the first one fails on."""

from collections.abc import Callable, Iterable

import numpy
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, get_lapack_funcs, svd
from torch import Tensor

__all__ = ["batched_svd", "batched_svdvals", "lapack_svdvals", "thin_svd", "triangular_factor"]

_BLOCK = 32
(_tpqrt,) = get_lapack_funcs(("tpqrt",), dtype=numpy.float64)


def thin_svd(
    W: Float64[Tensor, "out in"],
) -> tuple[Float64[Tensor, "out rank"], Float64[Tensor, " rank"], Float64[Tensor, "rank in"]]:
    """``W = U diag(S) Vh`` with ``rank = min(out, in)``.

    ``gesdd`` (divide and conquer) fails to converge on rare matrices; ``gesvd`` (QR iteration) then takes over.
    """
    # LAPACK is two to four times faster on tall matrices than on wide ones
    if W.shape[0] < W.shape[1]:
        V, S, Uh = _svd(W.numpy().T)
        return torch.from_numpy(Uh.T), torch.from_numpy(S), torch.from_numpy(V.T)
    U, S, Vh = _svd(W.numpy())
    return torch.from_numpy(U), torch.from_numpy(S), torch.from_numpy(Vh)


def _svd(A: NDArray[numpy.float64]) -> tuple[NDArray[numpy.float64], ...]:
    try:
        return svd(A, full_matrices=False, check_finite=False)
    except LinAlgError:
        return svd(A, full_matrices=False, check_finite=False, lapack_driver="gesvd")


def lapack_svdvals(read: Callable[[], NDArray[numpy.float64]]) -> Float64[Tensor, " rank"]:
    """Every singular value, descending, of a Fortran-ordered matrix that is read and overwritten, twice if need be."""
    try:
        values = svd(read(), compute_uv=False, check_finite=False, overwrite_a=True)
    except LinAlgError:
        values = svd(read(), compute_uv=False, check_finite=False, overwrite_a=True, lapack_driver="gesvd")
    return torch.from_numpy(numpy.asarray(values))


def batched_svd(
    blocks: Float64[Tensor, "groups o i"],
) -> tuple[Float64[Tensor, "groups o r"], Float64[Tensor, "groups r"], Float64[Tensor, "groups r i"]]:
    """The thin SVD of every block."""
    if blocks.shape[1:] == (1, 1):
        # the channels of a diagonal map: a thousand calls of LAPACK would take longer than a large layer
        return torch.where(blocks < 0, -1.0, 1.0).to(blocks), blocks.abs().flatten(1), torch.ones_like(blocks)
    parts = [thin_svd(block.contiguous()) for block in blocks]
    U, S, Vh = (torch.stack(part) for part in zip(*parts, strict=True))
    return U, S, Vh


def batched_svdvals(blocks: Float64[Tensor, "groups o i"]) -> Float64[Tensor, "groups r"]:
    """The singular values of every block."""
    if 1 in blocks.shape[1:]:
        return torch.linalg.vector_norm(blocks.flatten(1), dim=1, keepdim=True)
    return torch.stack([lapack_svdvals(lambda b=block: b.numpy().copy(order="F")) for block in blocks])


def triangular_factor(panels: Iterable[Float64[Tensor, "..."]], n: int) -> Float64[numpy.ndarray, "n n"]:
    """``R (n, n)`` of the QR factorisation of panels of rows, in ``n**2`` doubles and a panel.

    Sequential tall-skinny QR; as stable as Householder QR of the whole.

    References:
        Demmel, Grigori, Hoemmen & Langou 2012, SIAM J. Sci. Comput. 34.
    """
    R = numpy.zeros((n, n), order="F")
    for panel in panels:
        rows = numpy.array(panel.numpy(), order="F", copy=True)
        R, _, _, info = _tpqrt(0, min(_BLOCK, n), R, rows, overwrite_a=1, overwrite_b=1)
        assert info == 0
    return R
