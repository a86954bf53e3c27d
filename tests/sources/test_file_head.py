"""A wrong file is named for what it is."""

import gzip
from pathlib import Path

import pytest

from lmd.sources.file_head import first_bytes, looks_like


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 20, "HDF5"),
        (b"GGUF\x03", "GGUF"),
        (gzip.compress(b"x"), "gzip"),
        (b"\0" * 257 + b"ustar", "tar archive"),
        (b"anything else", "13 bytes starting with b'anything'"),
    ],
)
def test_files_are_named_with_advice(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert words in looks_like(str(path))
    assert first_bytes(str(path), 4) == content[:4]
