"""The idx format of MNIST and its kin: a magic number, sizes, and the numbers; plain or gzipped."""

import gzip
import os
import struct
import zlib
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy
import torch

from lmd.data.errors import UnreadableDataError
from lmd.data.table import Piece, Table

__all__ = ["from_idx"]

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_RATIO = 1100
"""Deflate packs at most 1032 bytes into one."""


def from_idx(path: Path) -> Table:
    """One array, its first axis counts the examples.

    Raises:
        UnreadableDataError: damaged, or its sizes do not fit its length.
    """
    with _opened(path) as file:
        shape, dtype, header = _header(file, path.name)
    whole = header + prod(shape) * dtype.itemsize
    stored = os.path.getsize(path)
    packed = path.suffix == ".gz"
    if (stored != whole and not packed) or (packed and whole > _MOST_RATIO * stored):
        raise UnreadableDataError(
            f"{path.name} says it holds {' x '.join(map(str, shape))} numbers, {whole:,} bytes, and cannot: it has "
            f"{stored:,}; it is cut or its sizes are forged: fetch it again."
        )
    if 0 in shape:
        raise UnreadableDataError(f"{path.name} has shape {shape}: no examples; give at least one.")

    def pieces(size: int) -> Iterator[Piece]:
        with _opened(path) as opened:
            _header(opened, path.name)
            for start in range(0, shape[0], size):
                rows = min(size, shape[0] - start)
                held = _read(opened, rows * prod(shape[1:]) * dtype.itemsize, path.name)
                array = numpy.frombuffer(held, dtype).reshape(rows, *shape[1:])
                yield torch.from_numpy(array.astype(dtype.newbyteorder("="))), None

    return Table(path.name, shape[0], shape[1:], pieces, form="idx", files=(str(path),))


def _opened(path: Path) -> Any:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _read(file: IO[bytes], size: int, name: str) -> bytes:
    try:
        held = file.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as fault:
        raise UnreadableDataError(f"{name} cannot be unpacked: {fault}; fetch it again.") from fault
    if len(held) != size:
        raise UnreadableDataError(f"{name} ends before the numbers that its sizes promise; fetch it again.")
    return held


def _header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], numpy.dtype, int]:
    zeros, kind, axes = struct.unpack(">HBB", _read(file, 4, name))
    if zeros or kind not in _TYPES or not 1 <= axes <= 8:
        raise UnreadableDataError(
            f"{name} does not begin like an idx file (two zero bytes, a known type, 1 to 8 axes); "
            f"give the file as it was published."
        )
    return struct.unpack(f">{axes}I", _read(file, 4 * axes, name)), numpy.dtype(_TYPES[kind]), 4 + 4 * axes
