"""When one LAPACK driver gives up, the other takes over."""

import numpy
import pytest
import torch
from scipy import linalg

from lmd.linalg.singular import thin_svd as module
from lmd.linalg.singular.spectrum import singular_values
from lmd.linalg.singular.thin_svd import batched_svd, batched_svdvals, thin_svd, triangular_factor

W = torch.randn(9, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def stubborn(*args, lapack_driver: str = "gesdd", **options):
    if lapack_driver == "gesdd":
        raise linalg.LinAlgError("SVD did not converge")
    return linalg.svd(*args, lapack_driver=lapack_driver, **options)


@pytest.mark.parametrize("A", [W, W.T.contiguous(), W[:5] * 1e-9], ids=["tall", "wide", "square"])
def test_second_driver(monkeypatch: pytest.MonkeyPatch, A: torch.Tensor) -> None:
    expected = torch.linalg.svdvals(A)
    deficient = torch.cat([A, A[:1]])
    values = torch.linalg.svdvals(deficient)
    monkeypatch.setattr(module, "svd", stubborn)
    U, S, Vh = thin_svd(A)
    assert torch.allclose(S, expected, rtol=1e-13, atol=0)
    assert torch.allclose((U * S) @ Vh, A, rtol=0, atol=1e-14 * A.abs().max().item() * 10)
    assert (singular_values(deficient).values - values).abs().max() <= 1e-14 * values[0]


def test_triangular_factor_has_the_values_of_the_whole() -> None:
    R = triangular_factor(W.split(2), 5)
    assert numpy.array_equal(numpy.tril(R, -1), numpy.zeros((5, 5)))
    # 1e-14: float64, n = 5
    assert torch.allclose(torch.from_numpy(R.T @ R), W.T @ W, rtol=0, atol=1e-14 * 40)


@pytest.mark.parametrize("shape", [(4, 3, 2), (4, 2, 3), (4, 1, 3), (4, 3, 1), (4, 1, 1), (1, 3, 3)])
def test_batches(shape: tuple[int, int, int]) -> None:
    blocks = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    U, S, Vh = batched_svd(blocks)
    assert torch.allclose((U * S[:, None]) @ Vh, blocks, rtol=0, atol=1e-14)
    assert torch.allclose(batched_svdvals(blocks), S, rtol=1e-13, atol=0)
