"""Motions of space against slow references and matrices with a known answer."""

from math import pi, sqrt

import numpy
import pytest
import scipy.linalg
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmd.linalg.chance.hard_threshold import hard_threshold_factor, hard_threshold_rank
from lmd.linalg.maps.isometry import isometry_constant, isometry_distance
from lmd.linalg.maps.localised import (
    chi_square_quantile,
    energy_outliers,
    inverse_participation,
    random_participation,
    random_participation_limit,
)
from lmd.linalg.maps.resolvent import kreiss_constant, numerical_abscissa, pseudospectrum, resolvent_norms
from lmd.linalg.maps.square import invariants, partial_angles, rotation_angles, thin_invariants


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthogonal(n: int, seed: int = 0) -> torch.Tensor:
    return torch.linalg.qr(gaussian(n, n, seed=seed))[0]


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 1000))
def test_the_distance_is_that_to_the_nearest_scaled_isometry(out, inn, seed):
    W = gaussian(out, inn, seed=seed)
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    nearest = S.mean() * U @ Vh
    slow = ((W - nearest).norm() / W.norm()).square().item()
    assert isometry_distance(S).item() == pytest.approx(slow, abs=1e-12)


def test_a_projection_is_half_way_and_an_isometry_is_none():
    assert isometry_distance(torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64)).item() == pytest.approx(0.5)
    assert isometry_constant(torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64)).item() == pytest.approx(1.0)
    assert isometry_constant(torch.full((4,), 3.0, dtype=torch.float64)).item() == 0.0


@given(st.integers(1, 12), st.integers(0, 1000))
def test_angles_are_those_of_the_schur_form(n, seed):
    Q = orthogonal(n, seed)
    slow = numpy.sort(numpy.abs(numpy.angle(scipy.linalg.schur(Q.numpy(), output="complex")[0].diagonal())))
    # the cosine of an angle next to 0 or pi holds half of its digits
    assert rotation_angles(Q).numpy() == pytest.approx(slow, abs=1e-6)


def test_a_planar_rotation_turns_one_plane():
    Q = torch.eye(5, dtype=torch.float64)
    Q[:2, :2] = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    expected = [0.0, 0.0, 0.0, numpy.arccos(0.6), numpy.arccos(0.6)]
    assert rotation_angles(Q).tolist() == pytest.approx(expected, abs=1e-7)


def test_a_reflection_turns_one_direction_round():
    v = gaussian(6, 1)
    H = torch.eye(6, dtype=torch.float64) - 2 * v @ v.T / v.square().sum()
    assert rotation_angles(H)[-1].item() == pytest.approx(pi, abs=1e-6)
    assert rotation_angles(H)[:-1].tolist() == pytest.approx([0.0] * 5, abs=1e-6)


def test_a_projection_turns_nothing():
    U = orthogonal(9)[:, :4]
    assert partial_angles(U, U.T).tolist() == pytest.approx([0.0] * 4, abs=1e-12)


@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 1000))
def test_thin_invariants_are_those_of_the_product(n, inner, seed):
    L, R = gaussian(n, inner, seed=seed), gaussian(inner, n, seed=seed + 1)
    thin, whole = thin_invariants(L, R), invariants(L @ R)
    assert thin.trace == pytest.approx(whole.trace, abs=1e-10)
    assert thin.trace_of_square == pytest.approx(whole.trace_of_square, abs=1e-10)
    assert thin.norm == pytest.approx(whole.norm, rel=1e-10)


@given(st.integers(2, 7), st.integers(0, 1000))
def test_the_symmetric_share_is_that_of_the_symmetric_part(n, seed):
    W = gaussian(n, n, seed=seed)
    slow = ((W + W.T) / 2).square().sum() / W.square().sum()
    assert invariants(W).symmetric_share == pytest.approx(slow.item(), abs=1e-12)
    assert invariants(W).closeness_to_identity(n) == pytest.approx((W.trace() / (sqrt(n) * W.norm())).item(), abs=1e-12)


def test_participation_of_random_directions_is_as_predicted():
    vectors = torch.nn.functional.normalize(gaussian(200, 4000), dim=0)
    found = inverse_participation(vectors)
    assert found.mean().item() == pytest.approx(random_participation(200), rel=0.01)
    # five standard deviations of a law that is skewed: rare, not impossible
    assert (found > random_participation_limit(200)).sum() <= 8
    assert inverse_participation(torch.eye(3, dtype=torch.float64)).tolist() == [1.0] * 3
    assert inverse_participation(torch.full((4, 1), 0.5, dtype=torch.float64)).tolist() == [0.25]


def test_chi_square_quantiles_are_close_to_those_of_scipy():
    for freedom in (8, 100, 1000):
        for p in (0.5, 0.99, 0.9999):
            slow = scipy.stats.chi2.ppf(p, freedom) / freedom
            assert chi_square_quantile(p, freedom) == pytest.approx(slow, rel=0.015)


def test_one_planted_unit_is_the_outlier_and_a_random_matrix_has_none():
    W = gaussian(300, 200)
    assert (energy_outliers(W.square().sum(1), 200) > 6).sum() == 0
    W[17] *= 3
    assert (energy_outliers(W.square().sum(1), 200) > 6).nonzero().flatten().tolist() == [17]
    # an even spread, however wide, has no outliers
    assert (energy_outliers(torch.linspace(0.1, 2, 300, dtype=torch.float64), 200) > 6).sum() == 0


@pytest.mark.parametrize(("beta", "omega"), [(1.0, 2.858), (0.5, 2.1711), (0.1, 1.6089)])
def test_the_factor_is_that_of_the_paper(beta, omega):
    # table IV of Gavish & Donoho 2014; quantiles of a large side stand for the limit
    assert hard_threshold_factor(beta) == pytest.approx(omega, abs=3e-3)


@pytest.mark.parametrize("shape", [(200, 200), (400, 100)])
def test_the_threshold_finds_the_planted_rank(shape):
    noise = gaussian(*shape)
    U, V = orthogonal(shape[0])[:, :5], orthogonal(shape[1], 1)[:, :5]
    planted = noise + 4 * sqrt(max(shape)) * U @ V.T
    assert hard_threshold_rank(torch.linalg.svdvals(planted), shape) == 5
    assert hard_threshold_rank(torch.linalg.svdvals(noise), shape) == 0


@given(st.integers(1, 8), st.integers(0, 1000))
@settings(max_examples=25)
def test_resolvents_are_those_of_the_smallest_singular_value(n, seed):
    W = gaussian(n, n, seed=seed).triu(-1)
    points = numpy.array([2.5 + 0.3j, -1.0 + 2.0j, 4.0 + 0j])
    found = resolvent_norms(W, points)
    slow = [1 / numpy.linalg.svd(z * numpy.eye(n) - W.numpy(), compute_uv=False)[-1] for z in points]
    assert (found <= numpy.array(slow) * (1 + 1e-9)).all()
    assert found == pytest.approx(slow, rel=0.02)


def test_kreiss_of_a_normal_contraction_is_one_and_bounds_the_powers_of_others():
    assert kreiss_constant(0.9 * orthogonal(6)).value == pytest.approx(1.0, abs=1e-6)
    W = torch.diag(torch.full((5,), 0.8, dtype=torch.float64)) + torch.diag(torch.full((4,), 2.0), 1).double()
    found = kreiss_constant(W)
    powers = [torch.linalg.matrix_norm(torch.linalg.matrix_power(W, k), 2).item() for k in range(200)]
    assert 1.0 < found.value <= max(powers) <= numpy.e * 5 * found.value
    z = found.witness
    witness = numpy.linalg.svd(z * numpy.eye(5) - W.numpy(), compute_uv=False)[-1]
    assert found.value == pytest.approx((abs(z) - 1) / witness, rel=1e-3)


def test_kreiss_refuses_what_grows():
    with pytest.raises(ValueError, match="without bound"):
        kreiss_constant(torch.diag(torch.tensor([1.5, 0.1], dtype=torch.float64)))


def test_the_pseudospectrum_of_a_normal_matrix_is_the_distance_to_its_spectrum():
    W = torch.diag(torch.tensor([0.5, -0.5], dtype=torch.float64))
    grid, reach = pseudospectrum(W, 5)
    real, imaginary = numpy.linspace(-reach, reach, 5), numpy.linspace(0, reach, 3)
    z = real[None] + 1j * imaginary[:, None]
    slow = numpy.minimum(abs(z - 0.5), abs(z + 0.5))
    assert 10 ** grid.numpy() == pytest.approx(slow, rel=1e-3)


def test_the_abscissa_of_an_antisymmetric_matrix_is_zero():
    W = gaussian(5, 5)
    assert numerical_abscissa(W - W.T) == pytest.approx(0.0, abs=1e-12)
    assert numerical_abscissa(torch.eye(3, dtype=torch.float64) * 2) == pytest.approx(2.0)
