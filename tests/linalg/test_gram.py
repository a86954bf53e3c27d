"""Gram matrices from panels are those of the whole."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from lmd.linalg.gram import gram


@given(st.integers(1, 9), st.integers(1, 30), st.integers(1, 7), st.booleans(), st.booleans(), st.integers(0, 99))
def test_panels_of_rows_and_of_columns(side: int, length: int, step: int, wide: bool, turned: bool, seed: int) -> None:
    length = max(side, length)
    W = torch.randn(length, side, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    # the same numbers in the other memory order take the other branch
    W = W.T.contiguous().T if turned else W
    A = W.T if wide else W
    G = gram(A.split(step, dim=int(wide)), side, cut_axis=int(wide))
    # 1e-13: float64, at most 30 products
    assert torch.allclose(G, W.T @ W, rtol=0, atol=1e-13 * (1 + W.square().sum().item()))


def test_square_panels_of_either_cut_are_not_confused() -> None:
    P = torch.tensor([[1.0, 2.0], [0.0, 1.0]], dtype=torch.float64)
    assert torch.equal(gram([P], 2, cut_axis=0), P.T @ P)
    assert torch.equal(gram([P], 2, cut_axis=1), P @ P.T)


def test_no_panels() -> None:
    assert torch.equal(gram([], 2), torch.zeros(2, 2, dtype=torch.float64))
