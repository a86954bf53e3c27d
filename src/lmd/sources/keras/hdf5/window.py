"""Where the bytes of an HDF5 file lie: a file of its own, or an entry of a zip archive."""

import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from lmd.sources.errors import UnreadableModelError

__all__ = ["Place", "opened"]

_STEP = 1 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """A stretch of a file.

    Attributes:
        file: its path.
        start: first byte.
        length: number of bytes; None for all to the end.
        unpacked: number of bytes that the stretch becomes when it is inflated; None if it is stored as it is.
    """

    file: str
    start: int = 0
    length: int | None = None
    unpacked: int | None = None

    def as_json(self) -> dict[str, Any]:
        """For a question to the child."""
        return asdict(self)


@contextmanager
def opened(place: Place) -> Iterator[tuple[Any, int]]:
    """The stretch as a file, or its path where it is a whole one, and the number of bytes.

    Raises:
        UnreadableModelError: it does not inflate to what it declares.
    """
    if place.length is None:
        yield place.file, os.path.getsize(place.file)
        return
    with open(place.file, "rb") as stream:
        if place.unpacked is not None:
            yield io.BytesIO(_inflated(stream, place)), place.unpacked
        else:
            yield _Window(stream, place.start, place.length), place.length


def _inflated(stream: BinaryIO, place: Place) -> bytes:
    assert place.length is not None
    assert place.unpacked is not None
    stream.seek(place.start)
    engine, made, left = zlib.decompressobj(-zlib.MAX_WBITS), bytearray(), place.length
    while left and not engine.eof and len(made) <= place.unpacked:
        packed = stream.read(min(_STEP, left))
        if not packed:
            break
        left -= len(packed)
        made += engine.decompress(packed, max(place.unpacked + 1 - len(made), 1))
    if len(made) != place.unpacked:
        raise UnreadableModelError(
            f"an entry of {place.file} declares {place.unpacked} bytes and inflates to others; the archive is damaged "
            f"or forged. Fetch or save it again."
        )
    return bytes(made)


class _Window(io.RawIOBase):
    """The bytes ``[start, start + length)`` of an open file, as a file."""

    def __init__(self, stream: BinaryIO, start: int, length: int) -> None:
        super().__init__()
        self._stream, self._start, self._length, self._at = stream, start, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = max(min(len(buffer), self._length - self._at), 0)
        self._stream.seek(self._start + self._at)
        piece = self._stream.read(wanted)
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)
