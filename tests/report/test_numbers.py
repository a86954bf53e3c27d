"""Few digits, and never a wrong one."""

from math import inf, isfinite, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmd.report.numbers import compact, measured_text, number_text, percent


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 12))
def test_rounding_errs_by_half_a_unit_of_the_last_digit(value: float, digits: int):
    short = compact(value, digits)
    assert isfinite(short)
    assert short == pytest.approx(value, rel=0.5 * 10.0 ** (1 - digits) + 1e-15, abs=5e-324)


@given(st.integers(-(10**12), 10**12))
def test_integers_are_kept(value: int):
    assert compact(value) == value


@pytest.mark.parametrize("value", [nan, inf, -inf, None])
def test_what_is_no_number_is_a_dash(value: float | None):
    assert compact(value) is None
    assert number_text(value) == "–"


@pytest.mark.parametrize(
    ("direction", "text"), [("exact", "2.5"), ("estimate", "≈ 2.5"), ("upper", "≤ 2.5"), ("lower", "≥ 2.5")]
)
def test_a_bound_says_its_side(direction: str, text: str):
    assert measured_text({"value": 2.5, "direction": direction}) == text


@given(st.floats(0, 1))
def test_only_all_is_all_and_only_nothing_is_nothing(share: float):
    assert (percent(share).startswith("100\u202f")) == (share == 1)
    assert (percent(share).startswith("0\u202f")) == (share == 0)
