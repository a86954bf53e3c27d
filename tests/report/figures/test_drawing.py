"""Curves keep their ends, and fit their budget."""

from hypothesis import given
from hypothesis import strategies as st

from lmd.report.figures.drawing import chosen_indices, figures


@given(st.integers(1, 100_000), st.integers(4, 200))
def test_chosen_indices_rise_from_first_to_last(length: int, points: int):
    chosen = chosen_indices(length, points).tolist()
    assert chosen == sorted(set(chosen))
    assert (chosen[0], chosen[-1]) == (0, length - 1)
    assert len(chosen) <= points


def test_the_spectrum_comes_first():
    assert next(iter(figures())) == "spectrum"
    assert all(figure.caption.endswith(".") and "grey" in figure.caption for figure in figures().values())
