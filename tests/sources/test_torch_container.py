"""Damaged and forged torch files: right or a clear refusal, never another exception."""

import io
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmd.sources import torch_checkpoint
from lmd.sources.errors import UnreadableModelError, UnsafeModelError

STATE = {"fc.weight": torch.arange(12.0).reshape(3, 4), "fc.bias": torch.ones(3)}
REFUSED = (UnreadableModelError, UnsafeModelError)


def bytes_of(value: object, *, zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


WHOLE = {zipped: bytes_of({"state_dict": STATE, "epoch": 3}, zipped=zipped) for zipped in (True, False)}
CONTAINERS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "model.pt"


def read_all(path: Path) -> None:
    for loader in torch_checkpoint.read(str(path)).loaders.values():
        loader()


def refused(path: Path, content: bytes, match: str) -> None:
    path.write_bytes(content)
    with pytest.raises(UnreadableModelError, match=match):
        torch_checkpoint.read(str(path))


@CONTAINERS
@settings(deadline=None)  # files on a disk that others use
@given(data=st.data())
def test_a_cut_file_is_unreadable(target: Path, zipped: bool, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(WHOLE[zipped]) - 1))
    target.write_bytes(WHOLE[zipped][:cut])
    with pytest.raises(UnreadableModelError):
        torch_checkpoint.read(str(target))


@CONTAINERS
@settings(max_examples=400, deadline=None)  # files on a disk that others use
@given(data=st.data())
def test_flipped_bits_are_read_or_refused(target: Path, zipped: bool, data: st.DataObject) -> None:
    content = bytearray(WHOLE[zipped])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    target.write_bytes(content)
    try:
        read_all(target)
    except REFUSED as error:
        assert str(target) in str(error)  # noqa: PT017 - either outcome is right, so raises() does not fit


@CONTAINERS
@settings(deadline=None)  # files on a disk that others use
@given(junk=st.binary(max_size=200))
def test_junk_after_a_magic_number_is_refused(target: Path, zipped: bool, junk: bytes) -> None:
    target.write_bytes((b"PK\x03\x04" if zipped else b"\x80\x02") + junk)
    with pytest.raises(REFUSED):
        torch_checkpoint.read(str(target))


def test_what_is_no_checkpoint_is_named(target: Path) -> None:
    refused(target, b"", "an empty file")
    refused(target, b"hello world", "written by torch.save")
    refused(target, b"<!DOCTYPE html>", "a web page")
    refused(target, b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull")
    refused(target, pickle.dumps({"a": [1.0]}, protocol=2), "magic number")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    refused(target, buffer.getvalue(), "a tar archive")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("word/document.xml", "x")
    refused(target, buffer.getvalue(), "without the one 'data.pkl'")


def test_a_directory_is_not_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UnreadableModelError, match="not a file"):
        torch_checkpoint.read(str(tmp_path))


def rewritten(*, compress: int = zipfile.ZIP_STORED, replace: dict[str, bytes] | None = None, twice: str = "") -> bytes:
    """The zip checkpoint with members compressed, replaced or doubled."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(WHOLE[True])) as source, zipfile.ZipFile(buffer, "w", compress) as target:
        for name in source.namelist():
            content = (replace or {}).get(name.partition("/")[2], source.read(name))
            target.writestr(name, content)
            if twice and name.endswith(twice):
                target.writestr(name, content)
    return buffer.getvalue()


def test_members_must_be_stored_and_single(target: Path) -> None:
    target.write_bytes(rewritten())
    read_all(target)
    refused(target, rewritten(compress=zipfile.ZIP_DEFLATED), "compressed")
    with pytest.warns(UserWarning, match="Duplicate name"):
        doubled = rewritten(twice="data/0")
    refused(target, doubled, "twice")


def test_other_byte_orders_are_refused(target: Path) -> None:
    refused(target, rewritten(replace={"byteorder": b"big"}), "byte order b'big'")


def test_storages_smaller_than_declared_are_refused(target: Path) -> None:
    refused(target, rewritten(replace={"data/0": b"\0" * 44}), "holds 44 bytes instead of 48")


SAVED_PICKLE = zipfile.ZipFile(io.BytesIO(WHOLE[True])).read("archive/data.pkl")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"K\x03K\x04\x86", b"K\x03K\x05\x86"),  # one column more than the storage holds
        (b"K\x03K\x04\x86", b"\x8a\x05\0\0\0\0\x01K\x04\x86"),  # 2^32 rows
        (b"K\x03K\x04\x86", b"\x8a\x09\0\0\0\0\0\0\0\0\x01K\x04\x86"),  # 2^64 rows
        (b"K\x03K\x04\x86", b"J\xff\xff\xff\xffK\x04\x86"),  # -1 rows
        (b"K\x04K\x01\x86", b"K\x09K\x01\x86"),  # a stride that leaves the storage
        (b"K\x0ctq", b"M\x0c\x7ftq"),  # a storage larger than the file
        (b"K\x0ctq", b"J\xff\xff\xff\xfftq"),  # a storage of -1 elements
        (b"K\x0ctq", b"Ntq"),  # a storage of None elements
    ],
)
def test_forged_sizes_are_refused(target: Path, old: bytes, new: bytes) -> None:
    assert old in SAVED_PICKLE
    refused(target, rewritten(replace={"data.pkl": SAVED_PICKLE.replace(old, new, 1)}), "forged|damaged")


def test_a_repeated_element_cannot_fill_memory(target: Path) -> None:
    value = {"fc.weight": torch.ones(1).expand(2**40, 2)}
    refused(target, bytes_of(value, zipped=True), "forged")
    refused(target, bytes_of(value, zipped=False), "forged")


def test_forged_counts_of_the_legacy_format_are_refused(target: Path) -> None:
    content = WHOLE[False]
    place = content.rindex(struct.pack("<q", 12) + struct.pack("<f", 0.0))
    for count in (11, 13, 2**62, -1):
        refused(target, content[:place] + struct.pack("<q", count) + content[place + 8 :], "not the one declared")


@CONTAINERS
def test_deep_nesting_is_refused(target: Path, zipped: bool) -> None:
    head, tail = (b"\x80\x02", b".")
    deep = head + b"]" * 100_000 + b"a" * 99_999 + tail
    shared = head + b"]q\0" + b"".join(b"]q%c(h%ch%ce" % (i, i - 1, i - 1) for i in range(1, 40)) + tail
    itself = head + b"]q\0h\0a" + tail
    legacy = WHOLE[False]
    start = legacy.index(b"\x80\x02}", legacy.index(b"little_endian"))
    end = legacy.index(b".\x80\x02]", start) + 1
    # Python's hash of the key would end the process
    key = head + b"}N" + b"\x85" * 1_000_000 + b"Ns" + tail
    for forged in (deep, shared, itself, key):
        content = rewritten(replace={"data.pkl": forged}) if zipped else legacy[:start] + forged + b"\x80\x02]."
        refused(target, content, "deeper than")
    assert end > start
