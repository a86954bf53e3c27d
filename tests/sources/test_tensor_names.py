"""Wrappers' marks go, names stay unique."""

from hypothesis import given
from hypothesis import strategies as st

from lmd.sources.tensor_names import without_wrappers

PART = st.sampled_from(["module", "_orig_mod", "_fsdp_wrapped_module", "fc", "0", "weight", "bias", ""])
NAMES = st.lists(st.lists(PART, min_size=1, max_size=5).map(".".join), unique=True, max_size=6)


@given(NAMES)
def test_names_stay_unique_and_the_mapping_settles(names: list[str]) -> None:
    short = without_wrappers(names)
    assert list(short) == names
    assert len(set(short.values())) == len(names)
    inner = list(short.values())
    assert inner == names or list(without_wrappers(inner).values()) == inner


def test_module_goes_only_from_all() -> None:
    assert without_wrappers(["module.a.weight", "b.weight"])["module.a.weight"] == "module.a.weight"
    assert without_wrappers(["module.module.a.weight"]) == {"module.module.a.weight": "a.weight"}


def test_colliding_names_stay() -> None:
    names = ["a._orig_mod.weight", "a.weight"]
    assert list(without_wrappers(names).values()) == names
