"""The zip archive of a ``.keras`` file: a configuration, weights as HDF5, and nothing that could do harm."""

import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmd.sources.errors import UnreadableModelError, UnsafeModelError
from lmd.sources.file_head import first_bytes
from lmd.sources.json_text import json_object
from lmd.sources.keras.hdf5.window import Place

__all__ = ["CONFIGURATION", "WEIGHTS", "KerasZip", "is_keras_zip", "keras_zip"]

CONFIGURATION = "config.json"
WEIGHTS = "model.weights.h5"
_METADATA = "metadata.json"
_MOST_ENTRIES = 10_000
_MOST_JSON = 64 << 20
_MOST_WEIGHTS = 1 << 30
"""Of packed weights, which have to be unpacked whole; Keras stores them as they are."""
_MOST_EXPANSION = 1100
_MOST_OF_WEIGHTS = 100
"""Trained weights hardly shrink when they are packed."""
_SAVE_AGAIN = "Save the model again with Keras, or fetch the file again."
_FAULTS = (
    zipfile.BadZipFile,
    EOFError,
    KeyError,
    # the standard library's word for a way of packing that it does not know
    NotImplementedError,
    OSError,
    RuntimeError,
    UnicodeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class KerasZip:
    """What the archive holds.

    Attributes:
        configuration: of the model.
        metadata: ``keras_version``, ``date_saved``.
        weights: where the HDF5 file lies.
    """

    configuration: Mapping[str, Any]
    metadata: Mapping[str, Any]
    weights: Place


def is_keras_zip(path: Path) -> bool:
    """Whether it is a zip archive with a configuration and weights, as Keras writes it."""
    if not path.is_file() or first_bytes(str(path), 4) != b"PK\x03\x04":
        return False
    if path.suffix == ".keras":
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return {CONFIGURATION, WEIGHTS} <= set(archive.namelist())
    except _FAULTS:
        return False


def keras_zip(path: str) -> KerasZip:
    """Read the configuration, and find the weights.

    Raises:
        UnreadableModelError: damaged, without a configuration or weights, or larger inside than it may be.
        UnsafeModelError: an entry would lie outside the archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _entries(path, archive)
            configuration = _json(path, archive, entries, CONFIGURATION)
            metadata = _json(path, archive, entries, _METADATA) if _METADATA in entries else {}
            weights = _place(path, archive, entries[WEIGHTS])
    except (UnreadableModelError, UnsafeModelError):
        raise
    except (*_FAULTS, zipfile.LargeZipFile, zlib.error) as fault:
        raise UnreadableModelError(
            f"{path} is no whole zip archive ({fault}), as Keras writes it. {_SAVE_AGAIN}"
        ) from fault
    return KerasZip(configuration, metadata, weights)


def _entries(path: str, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > _MOST_ENTRIES:
        raise UnreadableModelError(f"{path} has {len(infos)} entries, {_MOST_ENTRIES} are allowed. {_SAVE_AGAIN}")
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = info.filename
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or ":" in name.split("/")[0]:
            raise UnsafeModelError(f"{path} has the entry {name[:200]!r}, outside the archive; it is forged.")
        if name in entries:
            raise UnreadableModelError(f"{path} has the entry {name[:200]!r} twice; once is right. {_SAVE_AGAIN}")
        entries[name] = info
    if missing := {CONFIGURATION, WEIGHTS} - set(entries):
        raise UnreadableModelError(
            f"{path} lacks {' and '.join(sorted(missing))}; a .keras archive holds a configuration and weights. "
            f"{_SAVE_AGAIN}"
        )
    return entries


def _json(path: str, archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], name: str) -> dict[str, Any]:
    info = entries[name]
    _refuse_bomb(path, info, _MOST_JSON)
    with archive.open(info) as stream:
        text = stream.read(info.file_size + 1)
    return json_object(text, of=f"{name} of {path}", advice=_SAVE_AGAIN)


def _refuse_bomb(path: str, info: zipfile.ZipInfo, most: int) -> None:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
        raise UnreadableModelError(f"{info.filename} of {path} is encrypted or packed in a way that is not read.")
    size = os.path.getsize(path)
    packed = info.compress_size
    expansion = _MOST_EXPANSION if info.filename != WEIGHTS else _MOST_OF_WEIGHTS
    if packed > size or info.file_size > most or info.file_size > max(packed, 1) * expansion:
        raise UnreadableModelError(
            f"{info.filename} of {path} declares {info.file_size} bytes from {packed}; up to {most} and what the "
            f"packed bytes can hold are allowed. {_SAVE_AGAIN}"
        )


def _place(path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Place:
    stored = info.compress_type == zipfile.ZIP_STORED
    _refuse_bomb(path, info, os.path.getsize(path) if stored else _MOST_WEIGHTS)
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        head = file.read(30)
        if len(head) < 30 or head[:4] != b"PK\x03\x04":
            raise ValueError(f"no entry begins where {info.filename} should")
        name, extra = struct.unpack("<HH", head[26:30])
    start = info.header_offset + 30 + name + extra
    if start + info.compress_size > os.path.getsize(path) or (stored and info.compress_size != info.file_size):
        raise ValueError(f"{info.filename} ends behind the archive")
    return Place(path, start, info.compress_size, None if stored else info.file_size)
