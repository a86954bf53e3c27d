"""Findings against slow, obvious references, and laws of their baselines and errors."""

from math import exp, log, sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmd.activations.activations import Activations
from lmd.factors.svd import factors_of
from lmd.findings.analysis import NotApplicable, analyses, run
from lmd.findings.capacity.eckart_young import eckart_young
from lmd.findings.capacity.ranks import ranks
from lmd.findings.geometry.chance.noise import noise
from lmd.findings.geometry.norms import norms
from lmd.findings.manifold.projection import projection
from lmd.findings.quantity import quantities_of

sides = st.integers(1, 12)


@st.composite
def matrices(draw):
    seed = draw(st.integers(0, 10_000))
    W = torch.randn(draw(sides), draw(sides), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return W * draw(st.sampled_from([1e-6, 1.0, 1e6]))


def values(W: torch.Tensor) -> list[float]:
    return torch.linalg.svdvals(W).tolist()


@given(matrices())
def test_norms_are_their_definitions(W):
    found, S = norms(factors_of(W)), values(W)
    assert found.spectral_norm.value == pytest.approx(S[0], rel=1e-12)
    assert found.frobenius_norm.value == pytest.approx(sqrt(sum(float(w) ** 2 for w in W.flatten())), rel=1e-12)
    assert found.nuclear_norm.value == pytest.approx(sum(S), rel=1e-12)
    # the smallest value is as exact as the largest is large
    assert found.smallest_gain.value == pytest.approx(S[-1], abs=1e-10 * S[0])
    assert found.frobenius_norm.baseline == pytest.approx(found.frobenius_norm.value, rel=1e-12)


@given(matrices())
def test_ranks_are_their_definitions(W):
    found, S = ranks(factors_of(W)), values(W)
    total = sum(s**2 for s in S)
    shares = [s / sum(S) for s in S]
    assert found.stable_rank.value == pytest.approx(total / S[0] ** 2, rel=1e-10)
    assert found.effective_rank.value == pytest.approx(exp(-sum(p * log(p) for p in shares if p > 0)), rel=1e-8)
    assert found.participation_ratio.value == pytest.approx(total**2 / sum(s**4 for s in S), rel=1e-10)
    for share, rank in ((0.9, found.rank_90), (0.95, found.rank_95), (0.99, found.rank_99), (0.999, found.rank_99_9)):
        held = [sum(s**2 for s in S[:k]) / total for k in range(len(S) + 1)]
        assert held[rank.value] >= share - 1e-12
        assert held[rank.value - 1] < share + 1e-12
    assert 1 <= found.stable_rank.value <= found.participation_ratio.value * (1 + 1e-9) or len(S) == 1
    assert found.numerical_rank.value == torch.linalg.matrix_rank(W)


@given(matrices())
def test_the_error_curve_is_what_truncation_leaves(W):
    curve = eckart_young(factors_of(W)).eckart_young
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    for k, error in enumerate(curve.value):
        rest = W - (U[:, :k] * S[:k]) @ Vh[:k]
        assert error == pytest.approx((rest.norm() / W.norm()).item(), abs=1e-7 + curve.error)
    assert list(curve.value) == sorted(curve.value, reverse=True)


@given(matrices(), st.floats(0.1, 10))
def test_findings_follow_the_scale_of_the_layer(W, scale):
    small, large = norms(factors_of(W)), norms(factors_of(W * scale))
    assert large.spectral_norm.value == pytest.approx(scale * small.spectral_norm.value, rel=1e-9)
    assert large.spectral_norm.baseline == pytest.approx(scale * small.spectral_norm.baseline, rel=1e-9)
    assert ranks(factors_of(W * scale)).stable_rank.value == pytest.approx(
        ranks(factors_of(W)).stable_rank.value, rel=1e-9
    )


@pytest.mark.parametrize("shape", [(200, 200), (300, 100), (60, 240)])
def test_a_random_layer_is_like_its_baseline(shape):
    W = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    factors = factors_of(W)
    for finding in (norms(factors), ranks(factors)):
        for key in ("spectral_norm", "nuclear_norm", "stable_rank", "effective_rank", "participation_ratio", "rank_90"):
            number = getattr(finding, key, None)
            if number is not None:
                # Marchenko-Pastur is the limit of large matrices: some per cent at these sides
                assert number.value == pytest.approx(number.baseline, rel=0.06)
    found = noise(factors)
    assert found.spikes.value <= 1
    planted = W + 60 * torch.nn.functional.normalize(W[:, :1], dim=0) @ torch.nn.functional.normalize(W[:1], dim=1)
    assert noise(factors_of(planted)).spikes.value == 1


def test_the_zero_matrix_has_reasons_and_no_nan():
    factors = factors_of(torch.zeros(4, 3))
    for chosen in analyses().values():
        found = run(chosen, "zero", {type(factors): factors}, strict=True)
        if isinstance(found, NotApplicable):
            continue
        for quantity in quantities_of(type(found)):
            number = getattr(found, quantity.key)
            if number.value is None:
                assert "zero matrix" in number.reason, quantity.key


def test_the_condition_of_a_singular_matrix_is_a_lower_bound():
    W = torch.outer(torch.arange(1.0, 5.0), torch.arange(2.0, 5.0)) + 1e-30
    condition = norms(factors_of(W)).condition_number
    assert condition.direction == "lower"
    assert condition.value > 1e10


def test_projection_is_what_the_directions_see():
    g = torch.Generator().manual_seed(2)
    W, X = torch.randn(7, 5, generator=g), torch.randn(50, 5, generator=g) * torch.tensor([5.0, 1, 1, 1, 0.1])
    factors = factors_of(W)
    found = projection(factors, Activations("w", X, X @ W.T, torch.arange(50)))
    covariance = torch.cov(X.double().T)
    V = factors.Vh[:3].T
    assert found.projection_energy.value == pytest.approx(
        (torch.trace(V.T @ covariance @ V) / torch.trace(covariance)).item()
    )
    assert found.projection_energy.baseline == pytest.approx(3 / 5)
    assert torch.allclose(found.coordinates, X.double() @ V)
