"""Looks into HDF5 files, in a process of its own: it is asked to ``describe`` and to ``read``.

It follows hard links inside the file and nothing else, and allocates for no shape that the stored bytes cannot fill.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from math import prod
from typing import Any

import h5py
import numpy

from lmd.sources.errors import UnreadableModelError, UnsafeModelError
from lmd.sources.keras.hdf5.window import Place, opened

__all__ = ["describe", "read"]

_h5: Any = h5py
"""Its inner modules are compiled and declare no types."""
_MOST_OBJECTS = 100_000
_LEAST_OBJECT = 32
"""Bytes that an object takes in a file at least; hard links make many of one."""
_FEW_OBJECTS = 1000
_MOST_DEPTH = 64
_MOST_NAME = 4096
_MOST_TEXT = 48 << 20
_MOST_EXPANSION = 1100
"""Deflate makes no more than 1032 bytes of one."""
_TEXTS = ("model_config", "training_config", "keras_version", "backend", "name")
_LISTS = ("layer_names", "weight_names")
_FILTERS = frozenset({_h5.h5z.FILTER_DEFLATE, _h5.h5z.FILTER_SHUFFLE, _h5.h5z.FILTER_FLETCHER32, 32000})
"""Deflate, shuffle, checksums and LZF, which come with the library; others would be loaded from outside."""
_WORDS = {"f": "float", "i": "int", "u": "uint", "c": "complex"}
_HELD = {
    _h5.h5t.STRING: "text",
    _h5.h5t.COMPOUND: "records of several fields",
    _h5.h5t.ENUM: "words of a list",
    _h5.h5t.VLEN: "lists of different lengths",
    _h5.h5t.ARRAY: "small arrays",
    _h5.h5t.OPAQUE: "bytes of no known type",
    _h5.h5t.BITFIELD: "bits",
    _h5.h5t.TIME: "times",
}
_SAVE_AGAIN = "Save the model again with Keras, or fetch the file again."


@dataclass(slots=True)
class _Found:
    groups: list[dict[str, Any]] = field(default_factory=list)
    data_sets: list[dict[str, Any]] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)
    objects: int = 0
    in_order: bool = True


def describe(place: dict[str, Any]) -> dict[str, Any]:
    """Every group and data set of the file at ``place``, without numbers.

    Returns:
        ``groups`` with the attributes that Keras writes, ``data_sets`` with path, shape, type, byte offset (None if the
        numbers do not lie in one piece as they are), ``others`` that hold no numbers, with what they hold, ``in_order``
        if the order is that in which they were written.

    Raises:
        UnsafeModelError: links to elsewhere, numbers in other files, references.
        UnreadableModelError: cycles, shapes beyond the bytes stored, unknown filters, too many objects.
    """
    found = _Found()
    with _file(place) as (file, size):
        _walk(file["/"], "", (), found, size)
    return {
        "groups": found.groups,
        "data_sets": found.data_sets,
        "others": found.others,
        "in_order": found.in_order,
    }


def read(place: dict[str, Any], path: str, cuts: list[list[int]]) -> bytes:
    """The numbers of one data set, or of a slice of it, little-endian and row by row.

    Args:
        place: of the file.
        path: of the data set.
        cuts: dimension, start and length, one after the other.
    """
    with _file(place) as (file, size):
        data_set = _reached(file, path)
        described = _described(data_set, path, size)
        if described is None:
            raise UnreadableModelError(f"{path} holds no numbers, which are needed. {_SAVE_AGAIN}")
        bounds = [slice(0, n) for n in data_set.shape]
        for dim, start, length in cuts:
            before = bounds[dim].start
            bounds[dim] = slice(before + start, before + start + length)
        array = numpy.asarray(data_set[tuple(bounds)])
    if array.dtype.kind in _WORDS:
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return array.tobytes()


@contextmanager
def _file(place: dict[str, Any]) -> Iterator[tuple[h5py.File, int]]:
    with opened(Place(**place)) as (stream, size), h5py.File(stream, "r") as file:
        yield file, size


def _reached(file: h5py.File, path: str) -> Any:
    """The data set, by hard links alone."""
    node: Any = file["/"]
    for part in path.split("/"):
        _refuse_link(node, part, path)
        node = node[part]
    return node


def _walk(group: Any, path: str, above: tuple[Any, ...], found: _Found, size: int) -> None:
    address = _h5.h5o.get_info(group.id).addr
    if address in above:
        raise UnreadableModelError(f"group {path!r} contains itself; groups must form a tree. {_SAVE_AGAIN}")
    if len(above) > _MOST_DEPTH:
        raise UnreadableModelError(f"groups lie {len(above)} deep at {path[:200]!r}, {_MOST_DEPTH} are allowed.")
    found.groups.append({"path": path, "attributes": _attributes(group)})
    names, in_order = _names(group)
    found.in_order = found.in_order and (in_order or len(names) < 2)
    for name in names:
        found.objects += 1
        if found.objects > (most := min(_MOST_OBJECTS, max(_FEW_OBJECTS, size // _LEAST_OBJECT))):
            raise UnreadableModelError(
                f"{size} bytes hold more than {most} objects; no model of this size does. {_SAVE_AGAIN}"
            )
        below = f"{path}/{name}" if path else name
        _refuse_link(group, name, below)
        child = _h5.h5o.open(group.id, name.encode())
        if isinstance(child, _h5.h5g.GroupID):
            _walk(h5py.Group(child), below, (*above, address), found, size)
        elif isinstance(child, _h5.h5d.DatasetID):
            data_set = h5py.Dataset(child)
            described = _described(data_set, below, size)
            if described is None:
                found.others.append({"path": below, "shape": list(data_set.shape or ()), "holds": _held(data_set)})
            else:
                found.data_sets.append(described)
        else:
            found.others.append({"path": below, "shape": [], "holds": "the name of a type"})


def _held(data_set: Any) -> str:
    """In words, what a data set without numbers holds."""
    if data_set.shape is None:
        return "nothing"
    stored = data_set.id.get_type()
    return _HELD.get(stored.get_class(), f"numbers of {8 * stored.get_size()} bits")


def _names(group: Any) -> tuple[list[str], bool]:
    """Names of the children, and whether they come in the order of their making."""
    tracked = bool(group.id.get_create_plist().get_link_creation_order() & _h5.h5p.CRT_ORDER_TRACKED)
    if len(group) > _MOST_OBJECTS:
        raise UnreadableModelError(f"group {group.name[:200]!r} holds {len(group)} objects, {_MOST_OBJECTS} allowed.")
    names = list(group)
    if any(len(name) > _MOST_NAME for name in names):
        raise UnreadableModelError(f"a name is longer than {_MOST_NAME} characters. {_SAVE_AGAIN}")
    return names, tracked


def _refuse_link(group: Any, name: str, path: str) -> None:
    if not isinstance(group, h5py.Group) or name in ("", ".", ".."):
        raise UnreadableModelError(f"{path[:200]!r} is no path of the file. {_SAVE_AGAIN}")
    kind = group.id.links.get_info(name.encode()).type
    if kind != _h5.h5l.TYPE_HARD:
        word = "an external link to another file" if kind == _h5.h5l.TYPE_EXTERNAL else "a soft link"
        raise UnsafeModelError(f"{path[:200]!r} is {word}; a model file holds its own numbers. Save it without links.")


def _described(data_set: Any, path: str, size: int) -> dict[str, Any] | None:
    """None for a data set that holds no numbers."""
    settings = data_set.id.get_create_plist()
    layout = settings.get_layout()
    if layout == _h5.h5d.VIRTUAL or settings.get_external_count():
        raise UnsafeModelError(
            f"data set {path[:200]!r} takes its numbers from other files; a model file holds its own. Save it again."
        )
    word, swapped = _type(data_set)
    if word is None or data_set.shape is None:
        return None
    declared = prod(data_set.shape) * data_set.id.get_type().get_size()
    stored, offset = data_set.id.get_storage_size(), data_set.id.get_offset()
    allowed = min(stored, size) * (_MOST_EXPANSION if settings.get_nfilters() else 1)
    if layout == _h5.h5d.CHUNKED:
        _refuse_filters(settings, path)
    if declared > allowed:
        raise UnreadableModelError(
            f"data set {path[:200]!r} of shape {tuple(data_set.shape)} declares {declared} bytes and stores {stored}; "
            f"the file is damaged or forged. {_SAVE_AGAIN}"
        )
    direct = layout == _h5.h5d.CONTIGUOUS and offset is not None and not swapped
    return {
        "path": path,
        "shape": [int(n) for n in data_set.shape],
        "dtype": word,
        "offset": offset if direct else None,
    }


def _refuse_filters(settings: Any, path: str) -> None:
    numbers = [settings.get_filter(index)[0] for index in range(settings.get_nfilters())]
    if len(set(numbers)) < len(numbers):
        raise UnreadableModelError(
            f"data set {path[:200]!r} is packed by {len(numbers)} filters, one of them twice; once each is allowed. "
            f"Save the model again with Keras."
        )
    for number in numbers:
        if number not in _FILTERS:
            raise UnreadableModelError(
                f"data set {path[:200]!r} is packed by filter {number}; gzip, LZF, shuffle and checksums are read. "
                f"Save the model again with Keras."
            )


def _type(data_set: Any) -> tuple[str | None, bool]:
    """The word of torch for the type, None if it is no number, and whether its bytes come in the other order."""
    stored = data_set.id.get_type()
    kind, bits = stored.get_class(), 8 * stored.get_size()
    if kind == _h5.h5t.REFERENCE:
        raise UnsafeModelError(f"data set {data_set.name[:200]!r} holds references; a model holds numbers.")
    if kind == _h5.h5t.OPAQUE and bits == 16:
        return ("bfloat16" if _text(data_set, "dtype") == "bfloat16" else None), False
    if kind == _h5.h5t.ENUM:
        return ("bool" if data_set.dtype == numpy.bool_ else None), True
    if kind == _h5.h5t.FLOAT and stored.get_fields()[4] == 7 and bits == 16:
        return "bfloat16", stored.get_order() != _h5.h5t.ORDER_LE
    kinds = {_h5.h5t.FLOAT: "fiu", _h5.h5t.INTEGER: "fiu", _h5.h5t.COMPOUND: "c"}.get(kind, "")
    sizes = (64, 128) if kinds == "c" else (8, 16, 32, 64)
    if data_set.dtype.kind not in kinds or bits not in sizes or data_set.dtype.itemsize * 8 != bits:
        return None, False
    return f"{_WORDS[data_set.dtype.kind]}{bits}", data_set.dtype.newbyteorder("<") != data_set.dtype


def _attributes(group: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if not len(group.attrs):
        return found
    for name in _TEXTS:
        if (text := _text(group, name)) is not None:
            found[name] = text
    for name in _LISTS:
        if (texts := _list(group, name)) is not None:
            found[name] = texts
    return found


def _text(owner: Any, name: str) -> str | None:
    if name not in owner.attrs:
        return None
    _refuse_large(owner, name)
    value = owner.attrs[name]
    if isinstance(value, numpy.ndarray | numpy.bytes_ | numpy.str_):
        value = value.item() if value.size == 1 else None
    return value.decode("utf-8") if isinstance(value, bytes) else value if isinstance(value, str) else None


def _list(owner: Any, name: str) -> list[str] | None:
    """A list of names, which Keras cuts into numbered pieces where it is long."""
    if name in owner.attrs:
        return _piece(owner, name)
    pieces: list[str] = []
    for number in count():
        if f"{name}{number}" not in owner.attrs:
            return pieces if number else None
        pieces += _piece(owner, f"{name}{number}")
    return None


def _piece(owner: Any, name: str) -> list[str]:
    _refuse_large(owner, name)
    values = numpy.atleast_1d(owner.attrs[name]).ravel().tolist()
    return [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values]


def _refuse_large(owner: Any, name: str) -> None:
    stored = _h5.h5a.open(owner.id, name.encode())
    kind = stored.get_type()
    if kind.get_class() == _h5.h5t.REFERENCE:
        raise UnsafeModelError(f"attribute {name!r} of {owner.name[:200]!r} holds references; text is needed.")
    if prod(stored.shape) * kind.get_size() > _MOST_TEXT or prod(stored.shape) > _MOST_OBJECTS:
        raise UnreadableModelError(
            f"attribute {name!r} of {owner.name[:200]!r} declares {prod(stored.shape)} entries of {kind.get_size()} "
            f"bytes; {_MOST_TEXT >> 20} MB are allowed. {_SAVE_AGAIN}"
        )
