"""Eigenvalues against high precision, errors that hold, and baselines that random maps keep."""

from math import sqrt

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmd.factors.svd import factors_of
from lmd.findings.analysis import InapplicableError
from lmd.findings.geometry.maps.square_map import SquareMap, square_map
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.recurrence import RecurrentMatrix, RecurrentProduct
from lmd.layers.thin_product import stacked
from lmd.linalg.eigenvalues import eigenvalues
from lmd.sources.loaders import Held


def recurrence(layer: LayerMatrix) -> SquareMap:
    return square_map(layer, factors_of(layer))


def recurrent(W: torch.Tensor) -> RecurrentMatrix:
    return RecurrentMatrix("state", "gate", tuple(W.shape), Held("W", W))


def product(L: torch.Tensor, R: torch.Tensor) -> RecurrentProduct:
    return RecurrentProduct("state", "gate", (len(L), len(L)), Held("LR", stacked(L, R)), inner=len(R))


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def true_radius(W: torch.Tensor) -> float:
    """With 40 digits: slow and obvious."""
    with mpmath.workdps(40):
        values = mpmath.eig(mpmath.matrix(W.tolist()), left=False, right=False)
        return float(max(abs(value) for value in values))


@st.composite
def square(draw):
    n, seed = draw(st.integers(2, 6)), draw(st.integers(0, 10_000))
    W = gaussian(n, n, seed=seed) * draw(st.sampled_from([1e-8, 1.0, 1e8]))
    # far from normal: triangular, so that eigenvalues are ill conditioned
    return W.triu(draw(st.sampled_from([-n, -1, 0])))


@given(square())
@settings(max_examples=25)
def test_the_radius_is_right_within_its_error(W):
    found = recurrence(recurrent(W)).spectral_radius
    assert abs(found.value - true_radius(W)) <= found.error
    assert found.error <= 1e-6 * W.norm()


def test_a_jordan_block_has_an_honest_error():
    W = torch.diag(torch.ones(7, dtype=torch.float64), 1) + 0.9 * torch.eye(8, dtype=torch.float64)
    W[-1, 0] = 2.0**-60
    found = recurrence(recurrent(W)).spectral_radius
    assert abs(found.value - true_radius(W)) <= found.error


@given(st.floats(0.1, 2.0), st.floats(0.0, 3.0))
def test_a_rotation_keeps_what_it_turns(radius, angle):
    W = radius * torch.tensor([[torch.tensor(angle).cos(), -torch.tensor(angle).sin()]] * 2, dtype=torch.float64)
    W[1] = torch.stack([-W[0, 1], W[0, 0]])
    found = recurrence(recurrent(W))
    assert found.spectral_radius.value == pytest.approx(radius, rel=1e-6)
    assert found.henrici_departure.value <= max(found.henrici_departure.error, 1e-7)
    assert found.eigenvalues.square().sum(1).sqrt() == pytest.approx([radius] * 2, rel=1e-6)


def test_a_nilpotent_map_is_as_far_from_normal_as_can_be():
    found = recurrence(recurrent(torch.tensor([[0.0, 3.0], [0.0, 0.0]])))
    assert found.spectral_radius.value == 0.0
    assert found.henrici_departure.value == pytest.approx(1.0)


def test_random_maps_are_like_their_baselines():
    found = recurrence(recurrent(gaussian(300, 300)))
    assert found.spectral_radius.value == pytest.approx(found.spectral_radius.baseline, rel=0.06)
    assert found.henrici_departure.value == pytest.approx(found.henrici_departure.baseline, rel=0.02)


@pytest.mark.parametrize("inner", [40, 150, 300])
def test_random_products_are_like_their_baselines(inner):
    found = recurrence(product(gaussian(300, inner), gaussian(inner, 300, seed=1)))
    assert len(found.eigenvalues) == inner
    # the disc's edge is reached slowly by a product through few states
    assert found.spectral_radius.value == pytest.approx(found.spectral_radius.baseline, rel=0.2)
    assert found.henrici_departure.value == pytest.approx(found.henrici_departure.baseline, rel=0.02)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 1000))
def test_a_product_has_the_eigenvalues_of_the_whole(size, inner, seed):
    L, R = gaussian(size, inner, seed=seed), gaussian(inner, size, seed=seed + 1)
    found = recurrence(product(L, R)).spectral_radius
    whole = recurrence(recurrent(L @ R)).spectral_radius
    assert abs(found.value - whole.value) <= found.error + whole.error + 1e-13 * (L.norm() * R.norm())


def test_zero_has_reasons():
    found = recurrence(recurrent(torch.zeros(3, 3)))
    assert found.spectral_radius.value == 0.0
    assert "zero matrix" in found.henrici_departure.reason


def test_too_many_states_say_so():
    huge = RecurrentMatrix("state", "gate", (10_000, 10_000), Held("W", torch.zeros(1)))
    with pytest.raises(InapplicableError, match="10000 states"):
        square_map(huge, factors_of(torch.eye(2)))


def test_values_come_by_falling_magnitude():
    sizes = eigenvalues(gaussian(20, 20)).values.abs()
    assert torch.equal(sizes, sizes.sort(descending=True).values)
    assert sizes[0] > 0.5 * sqrt(20)
