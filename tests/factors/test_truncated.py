"""Truncation keeps what the rule says and states what it left out."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lmd.factors.rank import rank_by_rule
from lmd.factors.svd import factors_of, randomised_factors
from lmd.factors.truncated import truncate
from tests.references.matrices import matrices

shares = st.floats(0.01, 0.99)


@given(matrices(), st.integers(1, 12))
def test_error_is_what_was_left_out(W: Tensor, rank: int) -> None:
    whole = factors_of(W, vectors=None)
    kept = truncate(whole, rank=min(rank, whole.rank))
    left = W.double() - (kept.U * kept.S) @ kept.Vh
    found, tolerance = torch.linalg.vector_norm(left).item(), 1e-13 * whole.S[0].item()  # float64, n <= 12
    assert found == pytest.approx(kept.errors(kept.rank).frobenius, abs=tolerance)
    assert kept.spectrum is whole.spectrum


@given(matrices(), shares)
def test_error_rule_is_met_and_no_more(W: Tensor, error: float) -> None:
    whole = factors_of(W, vectors=None)
    kept = truncate(whole, error=error)
    assert kept.errors(kept.rank).frobenius <= error * whole.frobenius_norm * (1 + 1e-12)
    if kept.rank:
        assert whole.errors(kept.rank - 1).frobenius > error * whole.frobenius_norm * (1 - 1e-12)


@given(matrices(), shares)
def test_energy_rule_is_the_error_rule_squared(W: Tensor, energy: float) -> None:
    whole = factors_of(W, vectors=None)
    kept = truncate(whole, energy=energy)
    assert kept.S.square().sum() >= energy * whole.frobenius_norm**2 * (1 - 1e-12)
    if kept.rank:
        assert kept.S[:-1].square().sum() < energy * whole.frobenius_norm**2 * (1 + 1e-12)


@given(matrices())
def test_extremes_keep_all_that_is_not_zero(W: Tensor) -> None:
    whole = factors_of(W, vectors=None)
    assert whole.spectrum is not None
    counted = int((whole.spectrum > 0).sum())
    assert truncate(whole, energy=1.0).rank == truncate(whole, error=0.0).rank == counted


def test_shares_hit_exactly_are_enough() -> None:
    values = torch.tensor([3.0, 1.0], dtype=torch.float64)
    assert rank_by_rule(values, energy=0.9) == 1
    assert rank_by_rule(values, energy=0.91) == 2


def test_factors_of_a_rule_equal_the_truncation_by_it() -> None:
    W = torch.randn(30, 25, generator=torch.Generator().manual_seed(0))
    for rule in ({"rank": 5}, {"energy": 0.5}, {"error": 0.7}):
        assert factors_of(W, **rule).rank == truncate(factors_of(W, vectors=None), **rule).rank


def test_absent_triples_raise_with_advice() -> None:
    factors = factors_of(torch.eye(10), vectors=3)
    with pytest.raises(ValueError, match=r"5 triples .* 3 are stored; decompose with --vectors all"):
        truncate(factors, rank=5)
    with pytest.raises(ValueError, match="10 triples"):
        truncate(factors, energy=1.0)


def test_exactly_one_rule() -> None:
    factors = factors_of(torch.eye(3))
    with pytest.raises(ValueError, match="one of rank, energy or error is needed"):
        truncate(factors)
    with pytest.raises(ValueError, match="exclude each other"):
        truncate(factors, rank=1, error=0.5)


def test_randomised_factors_know_ranks_only() -> None:
    W = torch.randn(30, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    factors = randomised_factors(W, 6)
    with pytest.raises(ValueError, match="only the leading values are known"):
        truncate(factors, energy=0.5)
    with pytest.raises(ValueError, match="between 1 and 6"):
        truncate(factors, rank=7)
    kept = truncate(factors, rank=2)
    left = torch.linalg.matrix_norm(W - (kept.U * kept.S) @ kept.Vh, 2).item()
    assert left <= kept.errors(2).spectral == kept.remainder
