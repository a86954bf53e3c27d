"""Leading triples by Gram matrix are those of LAPACK, orthonormal, and their defects are measured, not claimed."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lmd.linalg.panels import Operator, TensorPanels
from lmd.linalg.singular.spectrum import scan
from lmd.linalg.singular.triples import Triples, all_triples, defects_of, leading_triples, spectral_norm
from tests.references.matrices import constructed, matrices


def leading(W: Tensor, count: int):
    scanned = scan(TensorPanels(W))
    return leading_triples(scanned.operator, scanned.reduced, count)


@given(st.integers(8, 60), st.integers(8, 60), st.floats(-3.5, 0.0), st.integers(0, 99))
def test_rayleigh_ritz_is_as_good_as_lapack(out: int, inn: int, decay: float, seed: int) -> None:
    values = torch.logspace(0, decay, min(out, inn), dtype=torch.float64)
    W = constructed((out, inn), values, seed)
    found = leading(W, 4)
    assert found is not None
    triples, defects = found
    assert defects.orthogonality <= 1e-13
    assert defects.residual <= 1e-11
    assert (triples.S - values[:4]).abs().max() <= 1e-13


def test_values_too_small_for_a_gram_matrix_are_declined() -> None:
    values = torch.tensor([1.0, 0.5, 1e-5, 1e-6], dtype=torch.float64)
    assert leading(constructed((20, 4), values, 0), 3) is None
    assert leading(constructed((20, 4), values, 0), 2) is not None
    assert leading(torch.zeros(6, 4), 1) is None


@given(matrices(max_side=20))
def test_all_triples_give_the_matrix_back(W: Tensor) -> None:
    triples = all_triples(Operator(TensorPanels(W)))
    size = triples.S[0].item()
    assert spectral_norm((triples.U * triples.S) @ triples.Vh - W.double()) <= 1e-14 * 20 * size
    assert (triples.S.diff() <= 0).all()


@given(matrices(max_side=12, min_side=2), st.floats(1e-6, 1e-2))
def test_defects_see_what_is_wrong(W: Tensor, size: float) -> None:
    operator = Operator(TensorPanels(W))
    right = all_triples(operator)
    k = right.S.numel()
    before, moved = defects_of(operator, right), Triples(right.U, right.S + size, right.Vh)
    stretched = Triples(right.U * (1 + size), right.S, right.Vh)
    assert abs(defects_of(operator, moved).residual - size) <= 1e-12 * (1 + right.S[0])
    assert abs(defects_of(operator, stretched).orthogonality - (2 * size + size**2)) <= 1e-12
    assert before.orthogonality <= 1e-14 * 5 * k
    assert before.residual <= 1e-14 * 20 * right.S[0]


@given(matrices(max_side=12))
def test_spectral_norm_of_small_matrices(W: Tensor) -> None:
    true = torch.linalg.svdvals(W.double())[0].item()
    # 1e-13: the largest eigenvalue of a Gram matrix is relatively accurate, n <= 12
    assert abs(spectral_norm(W.double()) - true) <= 1e-13 * true


def test_spectral_norm_beyond_64_is_a_bound() -> None:
    W = torch.randn(80, 70, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert spectral_norm(W) >= torch.linalg.svdvals(W)[0]
