"""The two containers of torch checkpoints, zip and legacy: where the pickle is and where each storage's bytes lie."""

import io
import os
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from lmd.sources.errors import UnreadableModelError, UnsafeModelError
from lmd.sources.file_head import first_bytes, looks_like
from lmd.sources.torch_pickle import MALFORMED, RestrictedPickle

__all__ = ["Contents", "Extent", "read_contents"]

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_ZIP = b"PK\x03\x04"
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_ENCRYPTED = 0x1


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes ``[offset, offset + nbytes)`` of a file."""

    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """A checkpoint without its numbers.

    Attributes:
        root: the unpickled object, tensors on the meta device.
        pickle: its reader, which knows the place of each tensor's storage.
        storages: storage key to its bytes in the file.
        container: ``zip`` or ``legacy``.
    """

    root: Any
    pickle: RestrictedPickle
    storages: Mapping[str, Extent]
    container: str


def read_contents(path: str) -> Contents:
    """Read everything but the numbers of a torch checkpoint.

    Raises:
        UnreadableModelError: not a whole torch checkpoint.
        UnsafeModelError: reading it would run code from it.
    """
    try:
        head = first_bytes(path)
        if head.startswith(_ZIP):
            return _read_zip(path)
        if head.startswith(_PICKLES):
            return _read_legacy(path)
        words = looks_like(path)
    except (*MALFORMED, zipfile.BadZipFile) as error:
        if isinstance(error, UnreadableModelError | UnsafeModelError):
            raise
        words = "not a file; name one" if not os.path.isfile(path) else "damaged or cut short; fetch or save it again"
        raise UnreadableModelError(
            f"{path} cannot be read as a torch checkpoint ({type(error).__name__}: {_first_line(error)}); a whole file "
            f"written by torch.save is needed. It is {words}."
        ) from error
    raise UnreadableModelError(
        f"{path} is not a torch checkpoint; a file written by torch.save is needed. It is {words}."
    )


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:200]


def _read_zip(path: str) -> Contents:
    size = os.path.getsize(path)
    with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        members = {member.filename: member for member in archive.infolist()}
        if len(members) < len(archive.infolist()):
            raise ValueError("the zip archive names a member twice")
        prefix = _prefix(path, members)
        _check_byte_order(path, archive, members.get(f"{prefix}byteorder"))
        pickled = members[f"{prefix}data.pkl"]
        _extent(file, pickled, size)
        reader = RestrictedPickle(path, size)
        root = reader.load(io.BytesIO(archive.read(pickled)))
        storages = {key: _extent(file, members[f"{prefix}data/{key}"], size) for key in reader.element_sizes}
    return Contents(root, reader, _whole(storages, reader), "zip")


def _prefix(path: str, members: Mapping[str, zipfile.ZipInfo]) -> str:
    prefixes = [
        name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl") and name.count("/") == 1
    ]
    if len(prefixes) != 1:
        raise UnreadableModelError(
            f"{path} is a zip archive of {len(members)} members without the one 'data.pkl' of a torch checkpoint; "
            "save model.state_dict() with torch.save or as safetensors."
        )
    prefix = prefixes[0]
    if f"{prefix}constants.pkl" in members or any(name.startswith(f"{prefix}code/") for name in members):
        raise UnsafeModelError(
            f"{path} is refused: it is a TorchScript program ('{prefix}code'), and loading it runs it. Only files of "
            "tensors are read. Where its code is trusted, save torch.jit.load(...).state_dict(), or export safetensors."
        )
    return prefix


def _check_byte_order(path: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo | None) -> None:
    if member is None:
        return
    order = archive.open(member).read(16)
    if order != b"little":
        raise UnreadableModelError(
            f"{path} was saved in byte order {order!r}; only b'little' is read. "
            "Load it with torch.load on any machine and save it again there."
        )


def _extent(file: BinaryIO, member: zipfile.ZipInfo, size: int) -> Extent:
    """Where a member's bytes lie, from its local header, checked against the central directory and the file."""
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
        raise ValueError(f"member {member.filename!r} is compressed; torch.save stores")
    if member.flag_bits & _ENCRYPTED:
        raise ValueError(f"member {member.filename!r} is encrypted")
    file.seek(member.header_offset)
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    if signature != _ZIP or file.read(name_length) != member.orig_filename.encode("utf-8"):
        raise ValueError(f"member {member.filename!r} is not where the directory says")
    offset = member.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    if offset + member.file_size > size:
        raise ValueError(f"member {member.filename!r} leaves the file")
    return Extent(offset, member.file_size)


def _whole(storages: dict[str, Extent], reader: RestrictedPickle) -> dict[str, Extent]:
    for key, (element, count) in reader.element_sizes.items():
        if storages[key].nbytes < element * count:
            raise ValueError(f"storage {key} holds {storages[key].nbytes} bytes instead of {element * count}")
    return storages


def _read_legacy(path: str) -> Contents:
    size = os.path.getsize(path)
    reader = RestrictedPickle(path, size)
    with open(path, "rb") as file:
        if reader.load(file) != _LEGACY_MAGIC:
            raise ValueError("a pickle, but without the magic number of torch.save")
        if reader.load(file) != _LEGACY_PROTOCOL:
            raise ValueError("an unknown version of the legacy format")
        system = reader.load(file)
        if not system.get("little_endian", system.get(b"little_endian", True)):
            raise ValueError("saved in big-endian order, only little-endian is read; save it again with a new torch")
        root = reader.load(file)
        keys = [key.decode("ascii") if isinstance(key, bytes) else str(key) for key in reader.load(file)]
        storages = _legacy_storages(file, keys, reader, size)
    return Contents(root, reader, _whole(storages, reader), "legacy")


def _legacy_storages(file: BinaryIO, keys: list[str], reader: RestrictedPickle, size: int) -> dict[str, Extent]:
    """Each storage is a count of elements (int64) and its bytes, in the order of ``keys``."""
    storages: dict[str, Extent] = {}
    offset = file.tell()
    for key in keys:
        element, declared = reader.element_sizes[key]
        file.seek(offset)
        (count,) = struct.unpack("<q", file.read(8))
        nbytes = count * element
        if count != declared or offset + 8 + nbytes > size:
            raise ValueError(f"storage {key} of {count} elements is not the one declared, or leaves the file")
        storages[key] = Extent(offset + 8, nbytes)
        offset += 8 + nbytes
    return storages
