"""Angles under rounding against actual decompositions, and the laws of the formula."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmd.linalg.chance.gaussian_draw import gaussian_draw
from lmd.linalg.rounding.entry_noise import direction_noise, even_noise, factor_noise
from lmd.linalg.rounding.steps import ROUNDINGS, dithered, magnitudes, rounded, rounding_steps
from lmd.linalg.rounding.turned_directions import Turned, turned_directions


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def falling(out: int, inn: int, seed: int = 0) -> torch.Tensor:
    """Values that fall from 10 by a fifth each time, with rows of very different size."""
    rank = min(out, inn)
    U, V = torch.linalg.qr(gaussian(out, rank, seed=seed))[0], torch.linalg.qr(gaussian(inn, rank, seed=seed + 1))[0]
    return torch.linspace(0.2, 3, out, dtype=torch.float64)[:, None] * (U * 10 * 0.8 ** torch.arange(rank)) @ V.T


def turned(W: torch.Tensor, T: torch.Tensor, kept: int | None = None, level: float = 5e-3) -> Turned:
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    noise = direction_noise([T], U[:, :kept], Vh[:kept])
    return turned_directions(S, (W.shape[0], W.shape[1]), noise, degrees=5.0, level=level)


@pytest.mark.parametrize("shape", [(20, 12), (12, 20), (14, 14)])
def test_angles_are_those_of_actual_decompositions(shape):
    W = falling(*shape)
    T = 1e-4 * gaussian(*shape, seed=5).square() * torch.logspace(0, 2, shape[0])[:, None]
    U, _, Vh = torch.linalg.svd(W, full_matrices=False)
    squares = torch.zeros(2, min(shape), dtype=torch.float64)
    draws = 800
    for seed in range(draws):
        L, _, R = torch.linalg.svd(W + 0.05 * T.sqrt() * gaussian(*shape, seed=seed), full_matrices=False)
        squares += torch.stack([1 - (L * U).sum(0).square(), 1 - (R * Vh).sum(1).square()]) / draws
    slow = torch.rad2deg(squares.sqrt().asin())
    found = turned(W, 0.0025 * T)
    # a mean square of few degrees of freedom, of 800 draws, is off by about a tenth
    for mine, theirs in ((found.left, slow[0]), (found.right, slow[1])):
        near = theirs < 5
        assert near.sum() >= 4
        assert (mine / theirs)[near].log().abs().max() < 0.12


def test_the_noise_along_directions_is_that_of_drawn_noise():
    W, T = gaussian(7, 5), gaussian(7, 5, seed=1).square()
    U, _, Vh = torch.linalg.svd(W, full_matrices=False)
    draws = torch.stack([U.T @ (T.sqrt() * gaussian(7, 5, seed=seed)) @ Vh.T for seed in range(4000)])
    slow = draws.square().mean(dim=0)
    for found in (direction_noise([T], U, Vh), direction_noise(T.split(2), U, Vh)):
        assert (found.pairs / slow).log().abs().max() < 0.12
        assert found.left.tolist() == pytest.approx((T @ Vh.T.square()).sum(0).tolist())
        assert found.total == pytest.approx(T.sum().item())
    by_columns = direction_noise(T.split(2, dim=1), U, Vh, axis=1)
    assert torch.allclose(by_columns.pairs, direction_noise([T], U, Vh).pairs)
    assert torch.allclose(by_columns.right_peak, direction_noise([T], U, Vh).right_peak)


def test_noise_of_a_factor_is_that_of_the_product():
    R, T = gaussian(3, 6), gaussian(8, 3, seed=1).square()
    U, _, Vh = torch.linalg.svd(gaussian(8, 3, seed=2) @ R, full_matrices=False)
    U, Vh = U[:, :3], Vh[:3]
    found = factor_noise(T, R, U, Vh)
    draws = [(T.sqrt() * gaussian(8, 3, seed=seed)) @ R for seed in range(4000)]
    along = torch.stack([U.T @ one @ Vh.T for one in draws]).square().mean(dim=0)
    assert (found.pairs / along).log().abs().max() < 0.12
    right = torch.stack([(U.T @ one).square().sum(dim=1) for one in draws]).mean(dim=0)
    assert (found.right / right).log().abs().max() < 0.12


def test_even_noise_is_noise_of_equal_variances():
    U, _, Vh = torch.linalg.svd(gaussian(6, 4), full_matrices=False)
    slow, found = direction_noise([torch.full((6, 4), 0.5).double()], U, Vh), even_noise((6, 4), 12.0, 4)
    for name in ("pairs", "left", "left_peak", "left_norm", "right", "right_peak", "right_norm"):
        assert torch.allclose(getattr(slow, name), getattr(found, name)), name


@given(st.integers(2, 8), st.integers(2, 8), st.integers(0, 500), st.sampled_from([1e-6, 0.1, 1e5]))
@settings(max_examples=25)
def test_scale_does_not_matter(out, inn, seed, scale):
    W, T = gaussian(out, inn, seed=seed), gaussian(out, inn, seed=seed + 1).square() * 1e-4
    one, other = turned(W, T), turned(scale * W, scale**2 * T)
    assert torch.allclose(one.left, other.left, rtol=1e-6)
    assert torch.allclose(one.right, other.right, rtol=1e-6)
    assert one.stable.tolist() == other.stable.tolist()
    assert one.blocks.tolist() == other.blocks.tolist()


@given(st.integers(2, 8), st.integers(2, 8), st.integers(0, 500))
@settings(max_examples=25)
def test_the_order_of_units_does_not_matter_and_transposing_exchanges_the_sides(out, inn, seed):
    W, T = gaussian(out, inn, seed=seed), gaussian(out, inn, seed=seed + 1).square() * 1e-4
    order = torch.randperm(out, generator=torch.Generator().manual_seed(seed))
    one, moved, turned_over = turned(W, T), turned(W[order], T[order]), turned(W.T, T.T)
    assert torch.allclose(one.right, moved.right, rtol=1e-6)
    assert torch.allclose(one.left, turned_over.right, rtol=1e-6)
    assert one.stable.tolist() == moved.stable.tolist() == turned_over.stable.tolist()


@given(st.integers(2, 8), st.integers(0, 500))
@settings(max_examples=25)
def test_a_rotation_does_not_matter_to_even_noise(n, seed):
    W, T = gaussian(n, n, seed=seed), torch.full((n, n), 1e-4, dtype=torch.float64)
    Q = torch.linalg.qr(gaussian(n, n, seed=seed + 1))[0]
    assert torch.allclose(turned(W, T).right, turned(Q @ W, T).right, rtol=1e-5)


def test_equal_values_are_never_stable_and_share_a_block():
    W = torch.diag(torch.tensor([3.0, 2.0, 2.0, 1.0], dtype=torch.float64))
    for size in (0.0, 1e-20):
        found = turned(W, torch.full((4, 4), size, dtype=torch.float64))
        assert found.stable.tolist() == [True, False, False, True]
        assert found.blocks.tolist() == [0, 1, 1, 2]
        assert found.right[1] == 90.0


def test_what_is_not_kept_counts_and_never_less_than_it_does():
    for seed in range(5):
        W, T = gaussian(30, 20, seed=seed), 1e-4 * gaussian(30, 20, seed=seed + 9).square() * torch.logspace(0, 2, 20)
        whole, part = turned(W, T), turned(W, T, kept=6)
        assert (part.left >= whole.left[:6] * (1 - 1e-9)).all()
        assert (part.right >= whole.right[:6] * (1 - 1e-9)).all()
        assert not (part.stable & ~whole.stable[:6]).any()
    assert part.left[0] < 3 * whole.left[0]


def test_a_stable_direction_is_a_block_of_its_own():
    W, T = falling(20, 12), torch.full((20, 12), 3e-4, dtype=torch.float64)
    found = turned(W, T)
    assert 0 < found.stable.sum() < 12
    sizes = found.blocks.bincount()
    assert (sizes[found.blocks[found.stable]] == 1).all()
    assert (found.blocks.diff() >= 0).all()


@pytest.mark.parametrize("name", list(ROUNDINGS))
def test_steps_are_the_distances_between_neighbours(name):
    W = gaussian(9, 70).float()
    steps = rounding_steps(W, name)
    errors = (rounded(W, name) - W.double()).abs()
    assert (errors <= steps / 2 * (1 + 1e-9)).all()
    assert ((dithered(W, name, torch.Generator().manual_seed(0)) - W).abs() <= steps / 2 * (1 + 1e-9)).all()
    if name in ("float16", "bf16"):
        stored = W.to(torch.float16 if name == "float16" else torch.bfloat16)
        assert torch.equal(rounded(W, name), stored.double())
    if name != "int4":
        whole = magnitudes([W])
        assert torch.equal(rounding_steps(W[3:5], name, whole.narrow(3, 2)), steps[3:5])
        assert torch.equal(magnitudes(W.split(20, dim=1), 1).rows, whole.rows)


def test_int4_has_a_scale_for_each_32_inputs_and_int8_for_each_row():
    W = torch.ones(2, 40)
    W[0, 0], W[1, 33] = 14.0, 127.0
    assert rounding_steps(W, "int4")[0, [0, 31, 32]].tolist() == pytest.approx([2.0, 2.0, 1 / 7])
    assert rounding_steps(W, "int8")[:, 5].tolist() == pytest.approx([14 / 127, 1.0])


def test_drawn_values_are_those_of_random_matrices():
    slow = torch.stack([torch.linalg.svdvals(gaussian(30, 20, seed=seed)) for seed in range(40)]).mean(dim=0)
    found = gaussian_draw((20, 30), slow.norm().item())
    assert found.norm().item() == pytest.approx(slow.norm().item())
    assert (found - slow).abs().max() < 0.8
    assert gaussian_draw((5, 1), 2.0).tolist() == pytest.approx([2.0])
