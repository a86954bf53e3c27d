"""Angles between subspaces against a slow reference, and chance against full-size draws."""

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmd.linalg.conventions import row_order, row_scaling
from lmd.linalg.subspaces import largest_random_cosine, principal_cosines, random_cosines, subspace_tilt


def orthonormal(n: int, k: int, seed: int) -> torch.Tensor:
    W = torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.linalg.qr(W).Q


@given(st.integers(1, 6), st.integers(0, 6), st.integers(0, 50))
def test_cosines_are_roots_of_eigenvalues_of_the_product_of_projections(k: int, more: int, seed: int) -> None:
    A, B = orthonormal(k + more, k, seed), orthonormal(k + more, k, seed + 1)
    P, Q = A @ A.T, B @ B.T
    reference = torch.linalg.eigvals(P @ Q).real.clamp(0, 1).sqrt().sort(descending=True).values[:k]
    # roots of eigenvalues near 0 have half the digits
    assert (principal_cosines(A, B) - reference).abs().max() < 1e-6


@pytest.mark.parametrize("degrees", [0.0, 30.0, 90.0])
def test_a_planar_rotation_has_its_own_angle(degrees: float) -> None:
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    E = torch.eye(4, dtype=torch.float64)
    turned = E[:, :2].clone()
    turned[:, 1] = torch.cos(angle) * E[:, 1] + torch.sin(angle) * E[:, 2]
    assert torch.allclose(principal_cosines(E[:, :2], turned), torch.stack([torch.ones(()).double(), torch.cos(angle)]))


@pytest.mark.parametrize(("n", "k"), [(4, 1), (10, 3), (10, 8), (200, 5), (3, 3)])
def test_chance_is_that_of_subspaces_drawn_whole(n: int, k: int) -> None:
    generator = numpy.random.default_rng(1)
    Q, _ = numpy.linalg.qr(generator.standard_normal((2000, n, k)))
    drawn = numpy.linalg.svd(Q[:, :k], compute_uv=False)
    # 200 against 2000 draws of numbers between 0 and 1, of standard deviation below 0.3
    assert numpy.abs(random_cosines(n, k).numpy() - drawn.mean(axis=0)).max() < 0.1
    assert abs(largest_random_cosine(n, k) - numpy.quantile(drawn[:, 0], 0.95)) < 0.1
    assert (random_cosines(n, k).square().mean().item() - k / n) < 0.05


def test_more_directions_than_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="k=4 must be between 1 and the dimension 3"):
        random_cosines(3, 4)


def test_a_space_turns_no_further_than_noise_over_gap() -> None:
    W = torch.diag(torch.tensor([4.0, 3.0, 1.0], dtype=torch.float64))
    noise = 1e-3 * torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    U, V = torch.linalg.svd(W).U[:, :2], torch.linalg.svd(W + noise).U[:, :2]
    sine = (1 - principal_cosines(U, V)[-1] ** 2).clamp(min=0).sqrt().item()
    size = torch.linalg.matrix_norm(noise, 2).item()
    bound = subspace_tilt(torch.tensor([4.0, 3.0, 1.0], dtype=torch.float64), 2, size)
    # the gap of the theorem is that to the moved values
    assert sine <= bound * 2 / (2 - size)
    assert subspace_tilt(torch.ones(3, dtype=torch.float64), 2, 0.0) == 1.0


@given(st.permutations(list(range(6))), st.integers(0, 20))
def test_an_order_of_rows_is_found(order: list[int], seed: int) -> None:
    A = torch.randn(6, 9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert row_order(A, A[order]) == (None if order == sorted(order) else order)
    assert row_order(A, torch.roll(A[order], 1, dims=1)) is None


def test_a_folded_normalisation_is_a_factor_for_each_row() -> None:
    A = torch.randn(5, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    gains = torch.tensor([0.5, 1.0, 2.0, 3.0, -1.0], dtype=torch.float64)
    assert row_scaling(A, gains[:, None] * A) == pytest.approx((-1.0, 3.0))
    assert row_scaling(A, A + 0.1 * A.flip(1)) is None
    assert row_scaling(torch.zeros(2, 2, dtype=torch.float64), torch.ones(2, 2, dtype=torch.float64)) is None
