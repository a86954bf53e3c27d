"""A tensor of an ONNX file: what it declares, checked against where its numbers lie."""

import os
from dataclasses import dataclass, field
from math import prod

import numpy

from lmd.sources.errors import UnreadableModelError, UnsafeModelError
from lmd.sources.onnx.file.model import Constant, Place
from lmd.sources.onnx.file.wire import Message, Wire

__all__ = ["CODES_OF_BITS", "DTYPES", "TensorReader", "of_numbers"]

DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
    17: "float8_e4m3fn",
    18: "float8_e4m3fnuz",
    19: "float8_e5m2",
    20: "float8_e5m2fnuz",
    21: "uint4",
    22: "int4",
    23: "float4_e2m1",
    24: "float8_e8m0fnu",
    25: "uint2",
    26: "int2",
}
"""ONNX's number of a type to torch's word, or to ONNX's own where torch has no such type."""

_BYTES = {
    **dict.fromkeys(("uint8", "int8", "bool"), 1),
    **dict.fromkeys(("uint16", "int16", "float16", "bfloat16"), 2),
    **dict.fromkeys(("float32", "int32", "uint32"), 4),
    **dict.fromkeys(("float64", "int64", "uint64", "complex64"), 8),
    "complex128": 16,
    **dict.fromkeys(("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"), 1),
}
_PACKED = {"uint4": 4, "int4": 4, "float4_e2m1": 4, "uint2": 2, "int2": 2}
"""Bits of the types that several share a byte of."""
CODES_OF_BITS = {dtype: bits for dtype, bits in _PACKED.items() if "int" in dtype}
"""Those of them that are whole numbers."""

# numbers of the fields of a tensor
_DIMS, _TYPE, _FLOATS, _INT32S, _STRINGS, _INT64S, _NAME, _RAW, _DOUBLES, _UINT64S = 1, 2, 4, 5, 6, 7, 8, 9, 10, 11
_EXTERNAL, _LOCATION = 13, 14
_KEY, _VALUE = 1, 2
_TYPED = {
    **dict.fromkeys(("float32", "complex64"), _FLOATS),
    **dict.fromkeys(("float64", "complex128"), _DOUBLES),
    "int64": _INT64S,
    **dict.fromkeys(("uint32", "uint64"), _UINT64S),
}
"""The field that holds the numbers of a type; the others' are in the field of 32-bit integers, one varint each."""


def of_numbers(name: str, numbers: numpy.ndarray) -> Constant:
    """A constant that is written as a few numbers."""
    return Constant(name, str(numbers.dtype), numbers.shape, Place(held=numbers.tobytes()))


@dataclass(slots=True)
class TensorReader:
    """Reads the tensors of one file.

    Attributes:
        wire: its bytes.
        path: absolute, without links followed.
        files: further files that numbers lie in, once each.
    """

    wire: Wire
    path: str
    files: list[str] = field(default_factory=list)

    def constant(self, message: Message, name: str = "") -> Constant:
        """Read what one tensor declares, and find its numbers.

        Args:
            message: the tensor.
            name: of the value, if it is not the tensor's own.

        Raises:
            UnreadableModelError: its numbers are not as many as its shape says, or a file with them is missing.
            UnsafeModelError: its numbers are in a file outside the folder of the model.
        """
        name = name or message.text(_NAME)
        shape = tuple(message.integers(_DIMS))
        number = message.number(_TYPE)
        dtype = DTYPES.get(number, f"type {number}")
        if any(n < 0 for n in shape):
            raise self.wire.broken(f"tensor {name!r} declares the shape {shape}")
        if dtype in CODES_OF_BITS:
            length = -(-prod(self._bounded(shape, message, dtype)) * _PACKED[dtype] // 8)
            return Constant(name, dtype, shape, self._place(message, name, "uint8", length))
        if dtype not in _BYTES:
            if dtype in _PACKED:
                self._check_external(message, name)
            return Constant(name, dtype, self._bounded(shape, message, dtype), None, _why_not(dtype))
        length = prod(shape) * _BYTES[dtype]
        return Constant(name, dtype, shape, self._place(message, name, dtype, length))

    def _bounded(self, shape: tuple[int, ...], message: Message, dtype: str) -> tuple[int, ...]:
        """The shape of a tensor that is not read, refused where the whole file is too short for it."""
        most = 8 * (len(self.wire.memory) + sum(os.path.getsize(file) for file in self.files))
        if prod(shape) > most:
            raise self.wire.broken(f"a tensor of type {dtype} declares the shape {shape}, more than the file holds")
        return shape

    def _place(self, message: Message, name: str, dtype: str, length: int) -> Place:
        if message.number(_LOCATION) == 1:
            return self._external(message, name, length)
        if _RAW in message.spans:
            start, end = message.spans[_RAW][-1]
            self._check_length(name, end - start, length)
            return Place(self.path, start)
        return self._typed(message, name, dtype, length)

    def _check_length(self, name: str, found: int, length: int) -> None:
        if found != length:
            raise self.wire.broken(f"tensor {name!r} declares {length} bytes of numbers and has {found}")

    def _typed(self, message: Message, name: str, dtype: str, length: int) -> Place:
        """Numbers in a field of their type; those of fixed width lie as in memory."""
        number = _TYPED.get(dtype, _INT32S)
        spans = message.spans.get(number, [])
        if number in (_FLOATS, _DOUBLES):
            self._check_length(name, sum(end - start for start, end in spans), length)
            if len(spans) == 1:
                return Place(self.path, spans[0][0])
            return Place(held=b"".join(bytes(self.wire.memory[start:end]) for start, end in spans))
        values = numpy.array(message.integers(number), numpy.int64)
        self._check_length(name, len(values) * _BYTES[dtype], length)
        # the low bytes of each number: those of 16 and 8 bits are kept as the integers with their bits
        raw = values.astype("<i8").view(numpy.uint8).reshape(-1, 8)[:, : _BYTES[dtype]]
        return Place(held=raw.tobytes())

    def _check_external(self, message: Message, name: str) -> None:
        if message.number(_LOCATION) == 1:
            self._outside(message, name)

    def _external(self, message: Message, name: str, length: int) -> Place:
        path, told = self._outside(message, name)
        size = os.path.getsize(path)
        offset = _natural(told.get("offset", "0"))
        declared = _natural(told["length"]) if "length" in told else max(size - (offset or 0), 0)
        if offset is None or declared is None or offset + declared > size or offset > size:
            long = f", {told['length']} bytes long" if "length" in told else ""
            fault = "that is no whole number" if None in (offset, declared) else f"the file has {size} bytes"
            raise UnreadableModelError(
                f"{self.path}: the numbers of tensor {name!r} are declared to start at byte {told.get('offset', 0)} of "
                f"{path}{long}; {fault}. Fetch or export both again."
            )
        self._check_length(name, declared, length)
        return Place(path, offset)

    def _outside(self, message: Message, name: str) -> tuple[str, dict[str, str]]:
        """The file that numbers lie in, inside the folder of the model, and what is told of the place."""
        told = {entry.text(_KEY): entry.text(_VALUE) for entry in message.messages(_EXTERNAL)}
        location = told.get("location", "")
        if not location:
            raise UnreadableModelError(
                f"{self.path}: no file is named that the numbers of tensor {name!r} are in. Fetch or export it again."
            )
        path = os.path.normpath(os.path.join(os.path.dirname(self.path), location))
        if _leaves(location) or not self._is_beside(path):
            raise UnsafeModelError(
                f"{self.path}: the numbers of tensor {name!r} are declared in {location!r}, outside the folder of the "
                f"model; only files inside it are read. Export the model again if you trust it."
            )
        if os.path.exists(path) and (not os.path.isfile(path) or os.path.samefile(path, self.path)):
            what = "the model itself" if os.path.isfile(path) else "no regular file"
            raise UnreadableModelError(
                f"{self.path}: the numbers of tensor {name!r} are declared in {location!r}, which is {what}; they have "
                f"to be in a file of their own beside it. Fetch or export both again."
            )
        if not os.path.isfile(path):
            raise UnreadableModelError(
                f"{self.path}: the numbers of tensor {name!r} are in {location!r}, which is not beside it; fetch that "
                f"file too, and keep both in one folder."
            )
        if path not in self.files:
            self.files.append(path)
        return path, told

    def _is_beside(self, path: str) -> bool:
        """Whether a file lies in the folder of the model, or in that of the file which the model is a link to."""
        return _is_below(path, os.path.dirname(self.path)) or _is_below(
            path, os.path.dirname(os.path.realpath(self.path))
        )


def _leaves(location: str) -> bool:
    """Whether a path is none that names a file below a folder."""
    plain = os.path.normpath(location.replace("\\", "/"))
    return "\0" in location or os.path.isabs(plain) or plain.split("/")[0] == ".."


def _is_below(path: str, folder: str) -> bool:
    """Whether a file lies below a folder when every link is followed."""
    return os.path.realpath(path).startswith(os.path.join(os.path.realpath(folder), ""))


def _natural(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _why_not(dtype: str) -> str:
    if dtype == "string":
        return "text is no number"
    if dtype in _PACKED:
        return f"{dtype}: {_PACKED[dtype]}-bit codes, whose real numbers lmd does not compute yet"
    return f"{dtype}: no type of ONNX that lmd knows"
