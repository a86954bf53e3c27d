"""Products through panels are products with the whole."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from lmd.linalg import panels
from lmd.linalg.panels import Operator, TensorPanels


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 3), st.sampled_from([1.0, 2.0**-7]), st.integers(0, 99))
def test_products(out: int, inn: int, k: int, scale: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    W, V, U = (
        torch.randn(size, dtype=torch.float64, generator=generator) for size in ((out, inn), (inn, k), (out, k + 1))
    )

    class Cut(TensorPanels):
        def panels(self):
            return iter(self.tensor.split(3, dim=int(out < inn)))

    operator = Operator(Cut(W), scale)
    WV, WtU = operator.apply_both(V, U)
    # 1e-13: float64, sums of at most 20 products
    for found, true in ((WV, W @ V), (WtU, W.T @ U), (operator.whole(), W), (operator.apply(V), W @ V)):
        assert torch.allclose(found, true * scale, rtol=0, atol=1e-13)
    assert torch.allclose(operator.adjoint(U), W.T @ U * scale, rtol=0, atol=1e-13)
    assert abs(operator.squares() - (W * scale).square().sum().item()) <= 1e-12 * operator.squares()


def test_panels_cover_the_matrix_in_order() -> None:
    W = torch.arange(3.0 * (panels._PANEL_ELEMENTS // 2)).reshape(-1, 3)
    for A, axis in ((W, 0), (W.T, 1)):
        pieces = list(TensorPanels(A).panels())
        assert len(pieces) > 1
        assert torch.equal(torch.cat(pieces, dim=axis), A)


def test_ordinary_matrices_are_not_scaled() -> None:
    assert panels.safe_scale(TensorPanels(torch.eye(3)), 3.0) == 1.0
