"""P-values against many real shuffles, and sums against the slow way."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmd.linalg.chance.correlation_tests import entries_p, lines_p, moments_of
from lmd.linalg.chance.shuffles import quick_values, shuffles
from lmd.linalg.chance.spectra import kolmogorov_distance
from lmd.linalg.chance.tracy_widom import largest_value_p, tracy_widom_edge
from lmd.linalg.panels import Operator, TensorPanels


def p_values(W):
    moments = moments_of(Operator(TensorPanels(W)))
    powers = torch.linalg.svdvals(W).pow(4).sum().item()
    return entries_p(moments, powers), lines_p(moments, powers, axis=0), lines_p(moments, powers, axis=1)


def drawn(shape, seed, law="normal"):
    generator = torch.Generator().manual_seed(seed)
    if law == "uniform":
        return torch.rand(shape, generator=generator, dtype=torch.float64) - 0.2
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("law", ["normal", "uniform"])
@pytest.mark.parametrize("shape", [(48, 48), (120, 20), (20, 120)])
def test_p_values_of_random_matrices_are_uniform(shape, law):
    p = torch.tensor([p_values(drawn(shape, seed, law)) for seed in range(300)], dtype=torch.float64)
    for level, most in ((0.5, 0.6), (0.1, 0.16), (0.01, 0.035)):
        assert ((p < level).double().mean(dim=0) < most).all(), (level, p.lt(level).double().mean(dim=0))
    assert ((p < 0.5).double().mean(dim=0) > 0.38).all()


def test_means_of_lines_are_no_correlation_to_shuffles_that_keep_them():
    W = drawn((60, 40), 0) + 2 * drawn((60, 1), 1)
    of_entries, of_rows, of_columns = p_values(W)
    assert of_rows > 1e-3
    assert of_entries < 1e-6
    assert of_columns < 1e-6


@pytest.mark.parametrize("strength", [3.0, 30.0])
def test_a_common_direction_is_found(strength):
    W = drawn((64, 64), 0) + strength * drawn((64, 1), 1) @ drawn((1, 64), 2) / 64
    assert (max(p_values(W)) < 1e-4) is (strength > 10)


def test_orthogonal_matrices_are_less_spread_than_chance():
    Q = torch.linalg.qr(drawn((64, 64), 0)).Q
    assert max(p_values(Q)) < 1e-10


def test_a_few_huge_entries_are_independent_entries():
    W = drawn((100, 100), 0)
    W[[3, 50, 77], [10, 20, 30]] = 60.0
    assert p_values(W)[0] > 1e-3


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([(5, 7), (9, 4), (6, 6)]))
def test_moments_are_sums_over_the_matrix(seed, shape):
    W = drawn(shape, seed) + 0.3
    moments = moments_of(Operator(TensorPanels(W)))
    torch.testing.assert_close(moments.sums, (W.sum(1), W.sum(0)))
    torch.testing.assert_close(moments.squares, (W.square().sum(1), W.square().sum(0)))
    torch.testing.assert_close(moments.through, (W @ W.mean(0), W.T @ W.mean(1)))
    centred = W - W.mean()
    kurtosis = centred.pow(4).mean() / centred.square().mean() ** 2 - 3
    assert moments.excess_kurtosis == pytest.approx(kurtosis.item())
    assert moments.largest == W.abs().max()


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (4, 2_000_000 // 4), (2_000_000 // 4, 4), (1100, 1000)])
def test_shuffles_keep_what_they_say(shape):
    W = torch.arange(float(shape[0] * shape[1])).reshape(shape)
    found = dict(shuffles(W))
    assert torch.equal(found["rows"].sort(dim=1).values, W)
    assert torch.equal(found["columns"].sort(dim=0).values, W)
    assert torch.equal(found["entries"].flatten().sort().values, W.flatten())
    for other in found.values():
        assert (other == W).double().mean() < 0.5
    assert all(torch.equal(again, found[how]) for how, again in shuffles(W))


def test_quick_values_are_singular_values():
    W = drawn((50, 80), 0).float()
    torch.testing.assert_close(quick_values(W), torch.linalg.svdvals(W), rtol=1e-3, atol=1e-2)


def test_kolmogorov_distance_is_the_largest_gap_of_two_steps():
    a, b = drawn((1, 30), 0)[0], drawn((1, 17), 1)[0]
    at = torch.cat([a, b])
    slow = max(abs((a <= x).double().mean() - (b <= x).double().mean()) for x in at)
    assert kolmogorov_distance(a, b) == pytest.approx(slow.item())


@pytest.mark.parametrize("shape", [(64, 64), (200, 30)])
def test_the_edge_is_passed_as_often_as_it_says(shape):
    largest = torch.stack([torch.linalg.svdvals(drawn(shape, seed))[0] for seed in range(400)])
    for level in (0.5, 0.1, 0.02):
        share = (largest > tracy_widom_edge(shape, level)).double().mean().item()
        assert abs(share - level) < 0.08 * level**0.5 + 0.01
        assert largest_value_p(shape, tracy_widom_edge(shape, level)) == pytest.approx(level, rel=1e-6)
