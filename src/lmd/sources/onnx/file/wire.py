"""The wire format of protocol buffers, read where it lies: a file of any size is never held in memory.

References:
    Protocol Buffers documentation, "Encoding".
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy

from lmd.sources.errors import UnreadableModelError

__all__ = ["Message", "Span", "Wire"]

Span = tuple[int, int]
"""Where the bytes of a field start and end."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10
_MOST_FIELDS = 5_000_000
"""More than any graph of operations has; numbers of weights lie in one field each."""


@dataclass(slots=True)
class Wire:
    """The bytes of a file.

    Attributes:
        name: of the file, for messages.
        memory: its bytes, mapped.
        fields: how many were read so far.
    """

    name: str
    memory: memoryview
    fields: int = 0

    def broken(self, what: str) -> UnreadableModelError:
        """The error for bytes that are no protocol buffer."""
        return UnreadableModelError(
            f"{self.name} cannot be read as ONNX ({what}); a whole file is needed. Fetch or export it again."
        )

    def message(self, *spans: Span) -> "Message":
        """The fields of a message; of several spans, those of all: so the format merges them.

        Raises:
            UnreadableModelError: the bytes are no message.
        """
        found = Message(self)
        for start, end in spans:
            self._read(found, start, end)
        return found

    def _read(self, found: "Message", start: int, end: int) -> None:
        place = start
        while place < end:
            self.fields += 1
            if self.fields > _MOST_FIELDS:
                raise self.broken(f"more than {_MOST_FIELDS} fields")
            tag, place = self.varint(place, end)
            number, kind = tag >> 3, tag & 7
            if kind == _VARINT:
                value, place = self.varint(place, end)
                found.numbers.setdefault(number, []).append(value)
                continue
            if kind == _BYTES:
                length, place = self.varint(place, end)
            elif kind in (_FIXED32, _FIXED64):
                length = 4 if kind == _FIXED32 else 8
            else:
                raise self.broken(f"a field of wire type {kind} at byte {place}")
            if length > end - place:
                raise self.broken(f"a field of {length} bytes where {end - place} are left at byte {place}")
            found.spans.setdefault(number, []).append((place, place + length))
            place += length

    def varint(self, place: int, end: int) -> tuple[int, int]:
        """A number, and the place behind it.

        Raises:
            UnreadableModelError: there is none.
        """
        value = shift = 0
        for at in range(place, min(end, place + _LONGEST_VARINT)):
            byte = self.memory[at]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (1 << 64) - 1, at + 1
            shift += 7
        raise self.broken(f"a number that does not end at byte {place}")

    def varints(self, spans: Iterable[Span]) -> numpy.ndarray:
        """Every number of packed spans, as int64.

        Raises:
            UnreadableModelError: a number does not end.
        """
        return numpy.concatenate([numpy.zeros(0, numpy.int64), *(self._packed(*span) for span in spans)])

    def _packed(self, start: int, end: int) -> numpy.ndarray:
        raw = numpy.frombuffer(self.memory[start:end], numpy.uint8)
        ends = numpy.flatnonzero(raw < 0x80)
        if len(raw) and (not len(ends) or ends[-1] != len(raw) - 1):
            raise self.broken(f"a number that does not end at byte {end}")
        starts = numpy.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
        values = numpy.zeros(len(ends), numpy.uint64)
        longest = int((ends - starts).max(initial=-1)) + 1
        if longest > _LONGEST_VARINT:
            raise self.broken(f"a number of more than {_LONGEST_VARINT} bytes before byte {end}")
        for step in range(longest):
            there = starts + step <= ends
            part = raw[starts[there] + step].astype(numpy.uint64) & numpy.uint64(0x7F)
            values[there] |= part << numpy.uint64(7 * step)
        return values.view(numpy.int64)


@dataclass(slots=True)
class Message:
    """The fields of one message, by number, in their order.

    Attributes:
        wire: the file.
        numbers: fields that are a number.
        spans: fields that are bytes, and numbers of fixed width.
    """

    wire: Wire
    numbers: dict[int, list[int]] = field(default_factory=dict)
    spans: dict[int, list[Span]] = field(default_factory=dict)

    def number(self, field_number: int, default: int = 0) -> int:
        """The last value of a field, as the signed number of 64 bits that it is."""
        return _signed(self.numbers.get(field_number, [default])[-1])

    def integers(self, field_number: int) -> list[int]:
        """All values of a repeated field, packed or not."""
        packed = self.wire.varints(self.spans.get(field_number, ())).tolist()
        return [*map(_signed, self.numbers.get(field_number, ())), *packed]

    def text(self, field_number: int) -> str:
        """The last value of a field, '' if it is not there."""
        return self.texts(field_number)[-1] if field_number in self.spans else ""

    def texts(self, field_number: int) -> list[str]:
        """All values of a field."""
        return [bytes(part).decode("utf-8", "replace") for part in self._parts(field_number)]

    def floats(self, field_number: int) -> list[float]:
        """All values of a field of single precision, packed or not.

        Raises:
            UnreadableModelError: the bytes are no whole numbers.
        """
        parts = list(self._parts(field_number))
        if any(len(part) % 4 for part in parts):
            raise self.wire.broken(f"field {field_number} holds no whole numbers")
        return [number for part in parts for number in numpy.frombuffer(part, "<f4").tolist()]

    def messages(self, field_number: int) -> list["Message"]:
        """All values of a repeated message."""
        return [self.wire.message(span) for span in self.spans.get(field_number, ())]

    def message(self, field_number: int) -> "Message":
        """The one value of a message, without fields if it is not there."""
        return self.wire.message(*self.spans.get(field_number, ()))

    def _parts(self, field_number: int) -> Iterable[memoryview]:
        return (self.wire.memory[start:end] for start, end in self.spans.get(field_number, ()))


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
