"""The scan sees every name that Python's own unpickler would look up, and where tuples nest."""

import collections
import io
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmd.sources.pickle_scan import DEEPEST_TUPLE, names_in_pickle

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(), inner, max_size=4)
        | st.dictionaries(st.text(), inner, max_size=4).map(collections.OrderedDict)
    ),
    max_leaves=8,
)


class Recording(pickle.Unpickler):
    """Python's unpickler, which writes down what it looks up."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self.names: list[str] = []

    def find_class(self, module: str, name: str) -> Any:
        self.names.append(f"{module}.{name}")
        return super().find_class(module, name)


@settings(max_examples=50)
@given(value=PLAIN, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_names_are_those_pickle_looks_up(value: object, protocol: int) -> None:
    content = pickle.dumps(value, protocol=protocol)
    reference = Recording(content)
    reference.load()
    found = list(names_in_pickle(io.BytesIO(content + b"what follows")))
    # short names of later protocols come from the memo, which the scan does not keep
    assert len(found) == len(reference.names)
    python3 = [name.replace("__builtin__.", "builtins.") for name in reference.names]
    assert found == python3 or protocol >= 4


def nested(depth: int) -> bytes:
    return b"\x80\x02N" + b"\x85" * depth + b"."


def test_tuples_nest_so_deep_and_no_deeper() -> None:
    assert not list(names_in_pickle(io.BytesIO(nested(DEEPEST_TUPLE))))
    with pytest.raises(ValueError, match="deeper than"):
        list(names_in_pickle(io.BytesIO(nested(DEEPEST_TUPLE + 2))))


def test_lists_of_any_length_are_flat() -> None:
    assert not list(names_in_pickle(io.BytesIO(b"\x80\x02]" + b"Na" * 10_000 + b".")))


@pytest.mark.parametrize("content", [b"\x85.", b"t.", b"a.", b"h\x00.", b"u.", b"N\x86."])
def test_taking_from_nothing_is_an_error(content: bytes) -> None:
    with pytest.raises(LookupError):
        list(names_in_pickle(io.BytesIO(content)))
