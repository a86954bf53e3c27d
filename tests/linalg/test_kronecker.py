"""The SVD of a Kronecker product is that of the product formed."""

import numpy
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lmd.factors.svd import factors_of
from lmd.layers.updates.kronecker import KroneckerProduct, side_by_side
from lmd.linalg.singular.kronecker import kronecker_svd
from lmd.sources.loaders import Held
from tests.references.matrices import matrices


def formed(F: Tensor, G: Tensor) -> Tensor:
    """By NumPy, which knows no strides it cannot take."""
    return torch.from_numpy(numpy.kron(F.double().numpy(), G.double().numpy()))


@given(matrices(max_side=6), matrices(max_side=6), st.integers(0, 40))
def test_values_and_triples_are_those_of_the_product(F: Tensor, G: Tensor, count: int) -> None:
    F, G = F.double(), G.double()
    W = formed(F, G)
    values, triples = kronecker_svd(F, G, count)
    reference = torch.linalg.svdvals(W)
    size = max(reference[0].item(), 1e-300)
    # 1e-13: float64, n <= 36
    assert (values - reference[: values.numel()]).abs().max() <= 1e-13 * size
    assert reference[values.numel() :].sum() <= 1e-12 * size
    assert triples.S.numel() == min(count, values.numel())
    assert (W @ triples.Vh.T - triples.U * triples.S).abs().sum() <= 1e-12 * size
    for Q in (triples.U, triples.Vh.T):
        assert (Q.T @ Q - torch.eye(Q.shape[1], dtype=torch.float64)).abs().sum() <= 1e-12


@given(matrices(max_side=5), matrices(max_side=5), st.one_of(st.none(), st.integers(0, 30)))
def test_factors_of_a_product_that_is_never_formed_are_those_of_the_matrix(
    F: Tensor, G: Tensor, vectors: int | None
) -> None:
    W = formed(F, G)
    shape = (W.shape[0], W.shape[1])
    loader = Held("w", side_by_side(F, G))
    layer = KroneckerProduct("w", "adapter", shape, loader, first=(F.shape[0], F.shape[1]))
    ours, dense = factors_of(layer, vectors=vectors), factors_of(W, vectors=vectors)
    size = max(dense.frobenius_norm, 1e-300)
    assert torch.equal(layer.load(), W)
    assert ours.method == "kronecker"
    assert ours.spectrum is not None
    assert dense.spectrum is not None
    assert (ours.spectrum - dense.spectrum).abs().max() <= 1e-13 * size
    assert abs(ours.frobenius_norm - dense.frobenius_norm) <= 1e-14 * size
    assert ours.rank == min(dense.rank, layer.full_rank)
    assert ours.residual <= 1e-14 * size
    assert ours.orthogonality_defect <= 1e-13
