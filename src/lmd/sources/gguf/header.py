"""The head of a GGUF file: metadata, and where each tensor lies. Plain Python: no library, no torch, no number read.

Everything declared is checked against the size of the file before anything is made of it.

References:
    https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any, NoReturn

from lmd.sources.errors import UnreadableModelError
from lmd.sources.file_head import first_bytes, known_as
from lmd.sources.gguf.blocks.block_types import TYPES, BlockType

__all__ = ["MAGIC", "Header", "StoredTensor", "read_head"]

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MOST_ENTRIES = 1 << 20
"""Of metadata or tensors; real files have some hundreds to some thousands."""
_MOST_STRINGS = 1 << 24
"""In one array; the largest vocabularies have less than a million."""
_MOST_AXES, _MOST_NESTED = 8, 2
_MOST_NUMBERS = 1 << 56
_KEPT_NUMBERS, _KEPT_CHARACTERS = 1024, 4096
_KEPT_IN_ALL = 1 << 22
"""Numbers and characters; what lies beyond is counted, not kept."""
_DEFAULT_ALIGNMENT, _MOST_ALIGNMENT = 32, 1 << 24
_ADVICE = "it is damaged or cut short; fetch or convert it again."


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor as the file declares it.

    Attributes:
        name: in the file.
        shape: in torch's order, the axis that lies together last.
        number: of its type, which ``kind`` names if it is known.
        kind: None for a type that came after this reader.
        path: the file, of several.
        offset: bytes from its start.
        bytes: how many; 0 if the type is not known.
        big_endian: whether the bytes of a number stand in the other order.
    """

    name: str
    shape: tuple[int, ...]
    number: int
    kind: BlockType | None
    path: str
    offset: int
    bytes: int
    big_endian: bool


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """What a file says before its numbers.

    Attributes:
        path: the file.
        version: of the format.
        metadata: by key; long arrays as ``{"values": type, "count": n}``, long strings cut.
        tensors: in the order of the file.
    """

    path: str
    version: int
    metadata: dict[str, Any]
    tensors: tuple[StoredTensor, ...]


def read_head(path: str) -> Header:
    """Read one file's head.

    Raises:
        UnreadableModelError: it is no GGUF file of version 2 or 3, or declares what it cannot hold.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if file.read(len(MAGIC)) != MAGIC:
                words = known_as(first_bytes(path)) or "of another kind or damaged; name a GGUF file"
                _refuse(path, "does not start with GGUF", f"it is {words}.")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
                return _Head(path, memory, size).read()
    except OSError as fault:
        raise UnreadableModelError(f"{path} cannot be read ({fault}); a GGUF file is needed.") from fault


def _refuse(path: str, what: str, advice: str = _ADVICE) -> NoReturn:
    raise UnreadableModelError(f"{path} {what}; {advice}")


class _Head:
    """A place in the file that moves on as values are taken."""

    def __init__(self, path: str, memory: mmap.mmap, size: int) -> None:
        self.path, self.memory, self.size = path, memory, size
        self.place, self.order, self.room = len(MAGIC), "<", _KEPT_IN_ALL

    def read(self) -> Header:
        version = self._version()
        tensors, entries = self._counted("Q"), self._counted("Q")
        if max(tensors, entries) > _MOST_ENTRIES:
            _refuse(self.path, f"declares {tensors} tensors and {entries} entries, more than {_MOST_ENTRIES}")
        metadata: dict[str, Any] = {}
        for _ in range(entries):
            key = self._text(exact=True)
            if key in metadata:
                _refuse(self.path, f"has the entry {key[:80]!r} twice")
            metadata[key] = self._value(self._counted("I"))
        declared = [self._tensor() for _ in range(tensors)]
        return Header(self.path, version, metadata, self._placed(declared, self._alignment(metadata)))

    def _version(self) -> int:
        version = self._counted("I")
        if version & 0xFFFF == 0 and version:
            self.place, self.order = len(MAGIC), ">"
            version = self._counted("I")
        if version not in _VERSIONS:
            told = f"is GGUF of version {version}; versions {_VERSIONS[0]} and {_VERSIONS[1]} are read"
            _refuse(self.path, told, "convert the model again with a current llama.cpp.")
        return version

    def _take(self, count: int) -> int:
        """Move on by ``count`` bytes, and say where they start."""
        if count > self.size - self.place:
            _refuse(self.path, f"ends at byte {self.size}, inside what its head declares")
        self.place += count
        return self.place - count

    def _counted(self, code: str) -> Any:
        form = self.order + code
        return struct.unpack_from(form, self.memory, self._take(struct.calcsize(form)))[0]

    def _text(self, *, exact: bool = False) -> str:
        length = self._counted("Q")
        start = self._take(length)
        if not exact:
            kept = min(length, _KEPT_CHARACTERS, self.room)
            self.room -= kept
            return self.memory[start : start + kept].decode("utf-8", "replace")
        try:
            return self.memory[start : start + length].decode("utf-8")
        except UnicodeDecodeError:
            _refuse(self.path, f"has a name at byte {start} that is no text")

    def _value(self, kind: int, depth: int = 0) -> Any:
        if kind == _STRING:
            return self._text()
        if kind in _NUMBERS:
            return _as_json(self._counted(_NUMBERS[kind]))
        if kind != _ARRAY or depth == _MOST_NESTED:
            _refuse(self.path, f"has a value of type {kind} at byte {self.place}, which no version of the format has")
        inner, count = self._counted("I"), self._counted("Q")
        if inner in _NUMBERS:
            return self._numbers(_NUMBERS[inner], count)
        if count > _MOST_STRINGS or count > self.size - self.place:
            _refuse(self.path, f"declares an array of {count} values, more than it holds")
        if inner == _STRING and count > min(_KEPT_NUMBERS, self.room):
            self._skip_texts(count)
            return {"values": "strings", "count": count}
        if inner == _ARRAY and count > min(_KEPT_NUMBERS, self.room):
            _refuse(self.path, f"declares {count} arrays in an array, more than are of any use")
        self.room -= count
        return [self._value(inner, depth + 1) for _ in range(count)]

    def _numbers(self, code: str, count: int) -> Any:
        start = self._take(count * struct.calcsize(self.order + code))
        if count > min(_KEPT_NUMBERS, self.room):
            return {"values": code, "count": count}
        self.room -= count
        return [_as_json(value) for value in struct.unpack_from(f"{self.order}{count}{code}", self.memory, start)]

    def _skip_texts(self, count: int) -> None:
        # a vocabulary has a hundred thousand of them, which decides how long an inspection takes
        length, place, memory, size = struct.Struct(f"{self.order}Q").unpack_from, self.place, self.memory, self.size
        for _ in range(count):
            if place + 8 > size:
                break
            place += 8 + length(memory, place)[0]
        self._take(place - self.place)

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name, axes = self._text(exact=True), self._counted("I")
        if axes > _MOST_AXES:
            _refuse(self.path, f"declares {axes} axes of {name[:80]!r}, more than {_MOST_AXES}")
        shape = tuple(self._counted("Q") for _ in range(axes))[::-1]
        return name, shape, self._counted("I"), self._counted("Q")

    def _alignment(self, metadata: dict[str, Any]) -> int:
        alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
        whole = isinstance(alignment, int) and 0 < alignment <= _MOST_ALIGNMENT
        if not whole or alignment & (alignment - 1):
            _refuse(self.path, f"declares the alignment {str(alignment)[:40]}, which is no power of two")
        return alignment

    def _placed(
        self, declared: list[tuple[str, tuple[int, ...], int, int]], alignment: int
    ) -> tuple[StoredTensor, ...]:
        for name, _, _, offset in declared:
            if offset % alignment:
                _refuse(self.path, f"places {name[:80]!r} at {offset}, no multiple of its alignment {alignment}")
        start = self.place + -self.place % alignment
        found = [self._checked(*tensor, start=start) for tensor in declared]
        if len({tensor.name for tensor in found}) < len(found):
            names = [tensor.name for tensor in found]
            twice = next(name for name in names if names.count(name) > 1)
            _refuse(self.path, f"has two tensors of the name {twice[:80]!r}")
        for before, behind in _pairs(sorted(found, key=lambda tensor: (tensor.offset, tensor.bytes))):
            if before.offset + before.bytes > behind.offset:
                _refuse(self.path, f"has {before.name[:80]!r} and {behind.name[:80]!r} in the same place")
        return tuple(found)

    def _checked(self, name: str, shape: tuple[int, ...], number: int, offset: int, *, start: int) -> StoredTensor:
        kind = TYPES.get(number)
        if prod(axis or 1 for axis in shape) > _MOST_NUMBERS:
            _refuse(self.path, f"declares the shape {shape} of {name[:80]!r}, more numbers than any file holds")
        row = shape[-1] if shape else 1
        if kind is not None and row % kind.elements:
            told = f"stores {name[:80]!r} of shape {shape} as {kind.name}"
            _refuse(self.path, f"{told}, whose blocks hold {kind.elements} numbers of a row")
        size = 0 if kind is None else prod(shape) // kind.elements * kind.bytes
        if start + offset + size > self.size:
            told = f"places {name[:80]!r} of {size} bytes at byte {start + offset}, and has {self.size}"
            _refuse(self.path, told)
        return StoredTensor(name, shape, number, kind, self.path, start + offset, size, self.order == ">")


def _pairs(tensors: list[StoredTensor]) -> Iterator[tuple[StoredTensor, StoredTensor]]:
    held = [tensor for tensor in tensors if tensor.bytes]
    return pairwise(held)


def _as_json(value: Any) -> Any:
    """JSON has no infinity."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
