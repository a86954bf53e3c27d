"""NumPy's own files: one array mapped into memory, or an archive of several, read as a stream."""

import os
import zipfile
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy
import torch

from lmd.data.errors import UnreadableDataError, UnsafeDataError
from lmd.data.table import Piece, Table

__all__ = ["from_npy", "from_npz"]

_INPUTS = ("x", "inputs", "input", "data", "images", "features", "arr_0", "x_test", "x_train")
_TARGETS = ("y", "targets", "target", "labels", "label", "arr_1", "y_test", "y_train")
_RATIO, _LARGE = 400, 1 << 30
"""More bytes out than this times those in, and more than a gigabyte of them, are no data."""
_HEADER = 1 << 16

Header = tuple[tuple[int, ...], bool, numpy.dtype[Any]]


def from_npy(path: Path) -> Table:
    """One array, its first axis counts the examples; pages are read as they are needed.

    Raises:
        UnreadableDataError: damaged, or its shape does not fit its size.
        UnsafeDataError: it holds pickled objects.
    """
    with path.open("rb") as file:
        shape, fortran, dtype = _header(file, path.name)
        offset = file.tell()
    held = os.path.getsize(path) - offset
    if prod(shape) * dtype.itemsize != held:
        raise UnreadableDataError(
            f"{path.name} says it holds {shape} of {dtype}, {prod(shape) * dtype.itemsize:,} bytes, and has {held:,}; "
            f"it is cut or forged: save it again with numpy.save."
        )
    _refuse_empty(shape, path.name)

    def pieces(size: int) -> Iterator[Piece]:
        array = numpy.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")
        for start in range(0, shape[0], size):
            yield torch.from_numpy(_native(array[start : start + size])), None

    return Table(path.name, shape[0], shape[1:], pieces, form="npy", files=(str(path),))


def from_npz(path: Path) -> Table:
    """The inputs, and targets if there are some, by the names of the arrays: ``x`` and ``y``, or inputs and targets.

    Raises:
        UnreadableDataError: damaged, or it does not tell which array holds the inputs.
        UnsafeDataError: it holds pickled objects, or unpacks to far more than it is.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            inputs, targets = (_chosen(members, names) for names in (_INPUTS, _TARGETS))
            if inputs is None:
                inputs = next(iter(members)) if len(members) == 1 else None
            if inputs is None:
                raise UnreadableDataError(
                    f"{path.name} holds {', '.join(list(members)[:6]) or 'nothing'}; the inputs must be called x or "
                    f"inputs, the targets y or targets: save them so, or give one .npy file each."
                )
            wanted = [members[name] for name in (inputs, targets) if name is not None]
            shapes = [_checked_member(archive, info, path.name) for info in wanted]
    # RuntimeError: encrypted members, and compression methods that the library does not know
    except (zipfile.BadZipFile, EOFError, RuntimeError) as fault:
        raise UnreadableDataError(f"{path.name} is no npz archive that can be read: {fault}; save it again.") from fault
    _refuse_empty(shapes[0], path.name)
    if len(shapes) == 2 and shapes[1][:1] != shapes[0][:1]:
        raise UnreadableDataError(
            f"{path.name} holds {shapes[0][0]} inputs and targets of shape {shapes[1]}; give one target for each input."
        )

    def pieces(size: int) -> Iterator[Piece]:
        with zipfile.ZipFile(path) as archive:
            streams = [_rows(archive, info, path.name, size) for info in wanted]
            yield from ((parts[0], parts[1] if len(parts) > 1 else None) for parts in zip(*streams, strict=True))

    return Table(path.name, shapes[0][0], shapes[0][1:], pieces, targets is not None, form="npz", files=(str(path),))


def _chosen(members: dict[str, zipfile.ZipInfo], names: tuple[str, ...]) -> str | None:
    lowered = {name.lower(): name for name in members}
    return next((lowered[name] for name in names if name in lowered), None)


def _checked_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> tuple[int, ...]:
    if info.file_size > _LARGE and info.file_size > _RATIO * max(info.compress_size, 1):
        raise UnsafeDataError(
            f"{name}: {info.filename} unpacks from {info.compress_size:,} to {info.file_size:,} bytes; that is no data "
            f"but an attack on memory: save real data with numpy.savez."
        )
    with archive.open(info) as file:
        shape, fortran, dtype = _header(file, name)
        held = info.file_size - file.tell()
    if prod(shape) * dtype.itemsize != held or (fortran and len(shape) > 1):
        why = "is stored by columns" if fortran else f"says {prod(shape) * dtype.itemsize:,} bytes and has {held:,}"
        raise UnreadableDataError(f"{name}: {info.filename} {why}; save it again, as a C-ordered array.")
    return shape


def _rows(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, size: int) -> Iterator[torch.Tensor]:
    with archive.open(info) as file:
        shape, _, dtype = _header(file, name)
        width = prod(shape[1:]) * dtype.itemsize
        for start in range(0, shape[0], size):
            rows = min(size, shape[0] - start)
            held = file.read(rows * width)
            if len(held) != rows * width:
                raise UnreadableDataError(f"{name}: {info.filename} ends early; it is cut: save it again.")
            yield torch.from_numpy(_native(numpy.frombuffer(held, dtype).reshape(rows, *shape[1:])))


def _header(file: IO[bytes], name: str) -> Header:
    try:
        major, _ = numpy.lib.format.read_magic(file)
        read = numpy.lib.format.read_array_header_1_0 if major == 1 else numpy.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file, max_header_size=_HEADER)
    except (ValueError, EOFError, SyntaxError, TypeError, UnicodeDecodeError, MemoryError, RecursionError) as fault:
        text = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        raise UnreadableDataError(f"{name} is no NumPy array that can be read: {text}; save it again.") from fault
    if dtype.hasobject:
        raise UnsafeDataError(
            f"{name} holds pickled Python objects, and reading them would run code; save plain numbers, with "
            f"numpy.save(..., allow_pickle=False)."
        )
    if dtype.kind not in "biuf":
        raise UnreadableDataError(f"{name} is of type {dtype}; numbers are needed: floats, whole numbers, or booleans.")
    return shape, fortran, dtype


def _refuse_empty(shape: tuple[int, ...], name: str) -> None:
    if not shape or 0 in shape:
        raise UnreadableDataError(f"{name} has shape {shape}: no examples; give at least one, along the first axis.")


def _native(array: numpy.ndarray) -> numpy.ndarray:
    dtype = array.dtype.newbyteorder("=")
    return numpy.array(array, dtype if dtype.itemsize <= 8 else numpy.float64, order="C")
