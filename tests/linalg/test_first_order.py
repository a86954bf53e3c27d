"""First-order errors against derivatives known by hand."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from lmd.linalg.chance.first_order import first_order_error

positive = st.lists(st.floats(0.1, 10.0), min_size=1, max_size=6)


@given(positive)
def test_sum_of_squares(values: list[float]) -> None:
    S = torch.tensor(values, dtype=torch.float64)
    error = torch.full_like(S, 1e-3)
    found = first_order_error(lambda s: s.square().sum(), S, error)
    assert abs(found - 2e-3 * sum(values)) <= 1e-12 * (1 + sum(values))


@given(positive, st.floats(1e-9, 1e-7))
def test_bounds_the_change_of_any_signs(values: list[float], size: float) -> None:
    S = torch.tensor(values, dtype=torch.float64)
    bound = first_order_error(lambda s: torch.logsumexp(s, 0), S, torch.full_like(S, size))
    for signs in (1.0, -1.0):
        change = torch.logsumexp(S + signs * size, 0) - torch.logsumexp(S, 0)
        assert abs(change.item()) <= bound * (1 + 1e-6) + 1e-15


def test_constants_have_no_error() -> None:
    ones = torch.ones(2, dtype=torch.float64)
    assert first_order_error(lambda s: torch.tensor(3.0), ones, ones) == 0.0
    assert first_order_error(lambda s: (s.detach() * 2).sum() + 0 * s.sum(), ones, ones) == 0.0


def test_exact_values_pass_nothing_on_even_at_a_kink() -> None:
    S, error = torch.tensor([0.0, 1.0]).double(), torch.tensor([0.0, 0.5]).double()
    assert first_order_error(lambda s: s.sqrt().sum(), S, error) == 0.25
    assert first_order_error(lambda s: s.sqrt().sum(), S, torch.ones(2).double()) == float("inf")


def test_values_are_left_alone() -> None:
    S = torch.ones(2, dtype=torch.float64)
    first_order_error(torch.sum, S, S)
    assert not S.requires_grad


def test_gradients_switched_off_do_not_switch_errors_off() -> None:
    S = torch.ones(3, dtype=torch.float64)
    with torch.no_grad():
        assert first_order_error(torch.sum, S, S) == 3.0
    with torch.inference_mode():
        assert first_order_error(torch.sum, torch.ones(3, dtype=torch.float64), S) == 3.0
