"""The pickle is read under weights_only's rules, with nothing of the file's choosing called."""

import io
import pickle
import warnings
from typing import Any

import numpy
import pytest
import torch

from lmd.sources.checkpoint_tree import Attributes
from lmd.sources.errors import UnsafeModelError
from lmd.sources.torch_pickle import MALFORMED, ArrayState, RestrictedPickle, can_restrict


def load(content: bytes) -> Any:
    return RestrictedPickle("file", limit=1000).load(io.BytesIO(content))


def test_this_torch_has_the_restricted_unpickler() -> None:
    assert can_restrict()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (b"cos\nsystem\n(X\x02\0\0\0lstR.", "os.system"),
        (b"\x80\x02cposix\nsystem\nX\x02\0\0\0ls\x85R.", "posix.system"),
        (b"\x80\x02cbuiltins\neval\nX\x01\0\0\x001\x85R.", "builtins.eval"),
        (b"\x80\x02c__builtin__\neval\nX\x01\0\0\x001\x85R.", "builtins.eval"),
        (b"\x80\x02cbuiltins\ngetattr\nN.", "builtins.getattr"),
        (b"\x80\x02ctorch.hub\nload\nN.", "torch.hub.load"),
        (b"\x80\x02cnumpy\nload\nN.", "numpy.load"),
        (b"\x80\x02cnumpy.ma.core\nMaskedArray\nN.", "MaskedArray"),
        (pickle.dumps(print, protocol=4), "builtins.print"),
        (b"(ios\nsystem\n.", "os system|os.system"),
    ],
)
def test_other_names_are_refused_by_name(value: bytes, name: str) -> None:
    with pytest.raises(UnsafeModelError, match=name):
        load(value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02",
        b"\x80\x02}",
        b"\x80\x02ccollections\nOrderedDict\nK\x05\x85R.",
        b"\x80\x02(X\x07\0\0\0storageK\x01K\x01K\x01K\x01tQ.",
        b"\x80\x02(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuM\xff\x7ftQ.",
        b"\x80\x02cbuiltins\nbytearray\n\x8a\x09\0\0\0\0\0\0\0\0\x01\x85R.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
    ],
)
def test_damage_raises_what_the_container_catches(content: bytes) -> None:
    with pytest.raises(MALFORMED):
        load(content)


def test_numpy_values_are_plain_and_arrays_are_states() -> None:
    for dtype in ("f8", "f4", "f2", "i8", "i4", "u1", "?"):
        assert load(pickle.dumps(numpy.dtype(dtype).type(1), protocol=2)) == 1
    array = load(pickle.dumps(numpy.arange(6, dtype=numpy.int16).reshape(2, 3), protocol=2))
    assert isinstance(array, ArrayState)
    assert (array.shape, array.dtype, array.data) == ((2, 3), "i2", numpy.arange(6, dtype=numpy.int16).tobytes())
    for other in (numpy.asfortranarray(numpy.ones((2, 2))), numpy.array([{}]), numpy.ones(2, dtype=">f4")):
        state = load(pickle.dumps(other, protocol=2))
        assert state.data == b"" or state.dtype.startswith(">")


def test_old_names_of_a_module_and_bytes_as_strings() -> None:
    assert load(b"\x80\x02cargparse\nNamespace\n)\x81}U\x02lrG?\xb9\x99\x99\x99\x99\x99\x9asb.") == Attributes(
        {b"lr": 0.1}
    )


def test_nothing_is_left_behind() -> None:
    before = torch.serialization.get_safe_globals()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        load(pickle.dumps({"a": 1}, protocol=2).replace(b"\x80\x02", b"\x80\x03"))
        with pytest.raises(UnsafeModelError):
            load(b"cos\nsystem\n.")
    assert torch.serialization.get_safe_globals() == before
    assert not seen
