"""Fits of tails against a slow reference and on laws whose exponent is known."""

from math import inf, log

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmd.linalg.chance.spectra import jensen_shannon_distance
from lmd.linalg.tails.alternatives import against_exponential, against_log_normal
from lmd.linalg.tails.power_law import FEWEST, fit_power_law, power_law_p


def drawn(exponent: float, count: int, seed: int = 0) -> torch.Tensor:
    uniform = numpy.random.default_rng(seed).random(count)
    return torch.from_numpy((1 - uniform) ** (-1 / (exponent - 1)))


def slow_fit(values: list[float]) -> tuple[float, float, float, int]:
    """Every start, every value, both sides of every step: exponent, distance, start, count."""
    ordered, best = sorted(values), (0.0, inf, 0.0, 0)
    for start in sorted(set(ordered)):
        tail = [x for x in ordered if x >= start]
        if len(tail) < FEWEST or log(tail[-1] / start) < 1e-6:
            continue
        exponent = 1 + len(tail) / sum(log(x / start) for x in tail)
        distance = 0.0
        for x in tail:
            law = 1 - (x / start) ** (1 - exponent)
            below, upto = sum(y < x for y in tail) / len(tail), sum(y <= x for y in tail) / len(tail)
            distance = max(distance, abs(law - below), abs(law - upto))
        if distance < best[1]:
            best = (exponent, distance, start, len(tail))
    return best


@given(st.integers(0, 1000), st.integers(FEWEST, 40), st.sampled_from([1.5, 3.0, 8.0]), st.booleans())
@settings(max_examples=40)
def test_a_fit_is_that_of_the_slow_reference(seed, count, exponent, ties):
    values = drawn(exponent, count, seed)
    if ties:
        values = torch.cat([values, values[: count // 3]])
    found = fit_power_law(values)
    reference = slow_fit(values.tolist())
    assert found.distance == pytest.approx(reference[1], abs=1e-12)
    assert (found.exponent, found.start, found.count) == pytest.approx((reference[0], *reference[2:]), rel=1e-9)


@pytest.mark.parametrize("exponent", [1.5, 2.5, 4.0, 7.0])
def test_the_exponent_of_a_known_law_is_found(exponent):
    found = fit_power_law(drawn(exponent, 3000))
    assert abs(found.exponent - exponent) < 4 * found.error
    assert found.error == pytest.approx((found.exponent - 1) / found.count**0.5)
    assert found.interval[0] < found.exponent < found.interval[1]


def test_the_interval_holds_what_it_promises():
    # the start is told by leaving one tail to choose from: ten values
    held = 0
    for seed in range(400):
        low, high = fit_power_law(drawn(2.5, FEWEST, seed)).interval
        held += low <= 2.5 <= high
    # 95 % of 400 with a standard deviation of 1.1 %; the start is the least value, as the interval takes it
    assert 0.92 <= held / 400 <= 0.98


@given(st.floats(1e-6, 1e6))
def test_the_unit_does_not_matter(scale):
    values = drawn(3.0, 60)
    found, other = fit_power_law(values), fit_power_law(values * scale)
    assert other.exponent == pytest.approx(found.exponent, rel=1e-9)
    assert other.start == pytest.approx(found.start * scale, rel=1e-9)


def test_a_tail_above_a_body_is_found_where_it_begins():
    body = torch.linspace(0.01, 1.0, 700, dtype=torch.float64)
    found = fit_power_law(torch.cat([body, drawn(2.5, 300)]))
    assert found.start == pytest.approx(1.0, abs=0.15)
    assert found.exponent == pytest.approx(2.5, abs=0.3)


def test_p_values_tell_a_power_law_from_another():
    generator = numpy.random.default_rng(0)
    own, bent = drawn(2.5, 300, 3), torch.linspace(1.0, 2.0, 300, dtype=torch.float64)
    assert power_law_p(own, fit_power_law(own), 40, generator) > 0.1
    many = torch.from_numpy(numpy.random.default_rng(1).weibull(1.0, 2000) + 0.01)
    p = [power_law_p(values, fit_power_law(values), 40, generator) for values in (bent, many)]
    assert min(p) < 0.1
    assert all(0 < one <= 1 for one in p)


def test_p_values_of_power_laws_are_spread_evenly():
    generator = numpy.random.default_rng(0)
    found = [
        power_law_p(values, fit_power_law(values), 19, generator) for values in (drawn(2.5, 60, s) for s in range(60))
    ]
    # a mean of 0.5 with a standard deviation of 0.037, and 10 % below 0.1 of 60
    assert 0.38 < sum(found) / 60 < 0.65
    assert sum(p <= 0.1 for p in found) <= 14


def test_the_log_normal_rival_rejects_as_often_as_it_says():
    found = [against_log_normal(drawn(2.5, 100, seed), 1.0) for seed in range(500)]
    assert 0.02 < sum(p < 0.05 for p in found) / 500 < 0.085
    logs = numpy.abs(numpy.random.default_rng(0).standard_normal((50, 200)))
    assert sum(against_log_normal(torch.from_numpy(numpy.exp(one)), 1.0) < 0.01 for one in logs) >= 45


def test_a_tail_that_hardly_spreads_is_log_normal_beyond_doubt():
    assert against_log_normal(torch.full((40,), 2.0, dtype=torch.float64) + 1e-6 * drawn(3.0, 40), 1.0) < 1e-12
    assert against_log_normal(torch.ones(12, dtype=torch.float64), 1.0) == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_the_better_law_has_the_sign(seed):
    generator = numpy.random.default_rng(seed)
    assert against_exponential(drawn(2.0, 400, seed), 1.0)[0] > 2
    statistic, p = against_exponential(torch.from_numpy(1 + generator.exponential(1.0, 400)), 1.0)
    assert statistic < -2
    assert p < 0.05
    assert against_exponential(torch.ones(12, dtype=torch.float64), 1.0) == (0.0, 1.0)


def test_what_has_no_tail_says_so():
    with pytest.raises(ValueError, match="9 positive values"):
        fit_power_law(torch.cat([drawn(2.5, 9), torch.zeros(5, dtype=torch.float64)]))
    with pytest.raises(ValueError, match="alike"):
        fit_power_law(torch.ones(20, dtype=torch.float64))


def test_many_values_are_fitted_from_fewer_starts():
    found = fit_power_law(drawn(2.5, 6000))
    assert found.exponent == pytest.approx(2.5, abs=0.1)


def test_distances_between_spectra_are_symmetric_and_bounded():
    a, b = drawn(2.5, 30), drawn(4.0, 30, 1)
    assert jensen_shannon_distance(a, b) == pytest.approx(jensen_shannon_distance(b, a))
    apart = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert jensen_shannon_distance(*apart) == pytest.approx(log(2) ** 0.5)
