"""The cheapest way through a row of layers, against trying all of them."""

from functools import partial
from itertools import product
from math import isclose

from hypothesis import given
from hypothesis import strategies as st

from lmd.sources.rules.chain import Option, Passed, cheapest

Readings = list[tuple[str, int, int, float]]
readings = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.integers(1, 3), st.floats(0, 1)),
    min_size=1, max_size=3, unique_by=lambda reading: reading[0],
)  # fmt: skip


def options(layer: Readings, passed: Passed) -> tuple[Option, ...]:
    return tuple(
        Option(kind, prior + (passed.width not in (0, reads)), Passed(writes, writes))
        for kind, reads, writes, prior in layer
    )


def slow(layers: list[Readings]) -> dict[tuple[str, ...], float]:
    totals = {}
    for row in product(*layers):
        width, cost = 0, 0.0
        for _, reads, writes, prior in row:
            cost += prior + (width not in (0, reads))
            width = writes
        totals[tuple(kind for kind, *_ in row)] = cost
    return totals


@given(st.lists(readings, min_size=1, max_size=5))
def test_cost_and_margins_are_those_of_trying_everything(layers):
    cost, choices = cheapest([partial(options, layer) for layer in layers])
    totals = slow(layers)
    assert isclose(cost, min(totals.values()), abs_tol=1e-12)
    for i, choice in enumerate(choices):
        through = {kind: min(c for row, c in totals.items() if row[i] == kind) for kind, *_ in layers[i]}
        assert isclose(through[choice.option.kind], cost, abs_tol=1e-12)
        assert choice.margins.keys() == through.keys() - {choice.option.kind}
        assert all(isclose(through[k] - cost, margin, abs_tol=1e-12) for k, margin in choice.margins.items())
