"""Signs are a function of the triple, not of how it was found."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lmd.linalg.panels import Operator, TensorPanels
from lmd.linalg.signs import fix_signs
from lmd.linalg.singular.triples import all_triples
from tests.references.matrices import matrices


@given(matrices(), st.integers(0, 2**12 - 1))
def test_any_flip_is_undone(W: Tensor, flips: int) -> None:
    triples = all_triples(Operator(TensorPanels(W)))
    signs = torch.tensor([1.0 if flips >> i & 1 else -1.0 for i in range(triples.S.numel())], dtype=torch.float64)
    U, Vh = fix_signs(triples.U * signs, triples.Vh * signs[:, None])
    assert torch.equal(U, triples.U)
    assert torch.equal(Vh, triples.Vh)
    for row in Vh:
        assert row[row.abs() == row.abs().max()][0] > 0


def test_first_of_equals_decides() -> None:
    U, Vh = fix_signs(torch.ones(1, 1).double(), torch.tensor([[-0.5, 0.5, 0.5, -0.5]]).double())
    assert Vh.tolist() == [[0.5, -0.5, -0.5, 0.5]]
    assert U.item() == -1.0


def test_nothing_to_turn() -> None:
    U, Vh = fix_signs(torch.zeros(3, 0).double(), torch.zeros(0, 2).double())
    assert U.shape == (3, 0)
    assert Vh.shape == (0, 2)
