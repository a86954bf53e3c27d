"""Safetensors: headers without torch, numbers one tensor at a time, damage refused."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from lmd.sources import safetensors_file
from lmd.sources.errors import UnreadableModelError

DTYPES = [
    "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e8m0fnu",
    "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool", "complex64",
]  # fmt: skip
WHOLE = save({"module.fc.weight": torch.arange(12.0).reshape(3, 4), "module.fc.bias": torch.ones(3)})


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "model.safetensors"


@pytest.mark.parametrize("dtype", DTYPES)
def test_types_are_torchs_words(tmp_path: Path, dtype: str) -> None:
    tensor = torch.tensor([[0, 1, 1]]).to(getattr(torch, dtype))
    save_file({"a.weight": tensor}, tmp_path / "a.safetensors")
    archive = safetensors_file.read(str(tmp_path / "a.safetensors"))
    assert (archive.records[0].dtype, archive.records[0].shape) == (dtype, (1, 3))
    assert torch.equal(archive.loaders["a.weight"]().view(torch.uint8), tensor.view(torch.uint8))


def test_wrappers_go_and_metadata_stays(tmp_path: Path) -> None:
    save_file({"module.a.weight": torch.ones(2, 2)}, tmp_path / "a.safetensors", metadata={"format": "pt"})
    archive = safetensors_file.read(str(tmp_path / "a.safetensors"))
    assert (archive.records[0].name, archive.records[0].file_name) == ("a.weight", "module.a.weight")
    assert (archive.facts["format"], archive.facts["metadata"]) == ("safetensors", {"format": "pt"})
    assert archive.loaders["a.weight"]().sum() == 4


def test_headers_need_no_torch(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"a.weight": torch.ones(2, 2, dtype=torch.bfloat16)}, path)
    code = (
        "import sys; from lmd.sources import hugging_face, safetensors_file\n"
        "assert len(safetensors_file.read_header(sys.argv[1]).records) == 1\n"
        "assert len(hugging_face.read_header(sys.argv[2]).records) == 1\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(path), str(tmp_path)], check=True)


def refused(path: Path, content: bytes, match: str) -> None:
    path.write_bytes(content)
    with pytest.raises(UnreadableModelError, match=match):
        safetensors_file.read(str(path))


@settings(deadline=None)  # files on a disk that others use
@given(cut=st.integers(0, len(WHOLE) - 1))
def test_a_cut_file_is_unreadable(target: Path, cut: int) -> None:
    refused(target, WHOLE[:cut], "every byte it declares")


@settings(max_examples=300, deadline=None)  # files on a disk that others use
@given(flips=st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 7)), min_size=1, max_size=3))
def test_flipped_bits_are_read_or_refused(target: Path, flips: list[tuple[int, int]]) -> None:
    content = bytearray(WHOLE)
    for place, bit in flips:
        content[place] ^= 1 << bit
    target.write_bytes(content)
    try:
        for loader in safetensors_file.read(str(target)).loaders.values():
            loader()
    except UnreadableModelError as error:
        assert str(target) in str(error)  # noqa: PT017 - either outcome is right, so raises() does not fit


def header(**tensors: object) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


def test_forged_headers_are_refused(target: Path) -> None:
    def entry(begin: int, end: int, shape: list[int]) -> dict[str, object]:
        return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}

    data = b"\0" * 16
    refused(target, header(a=entry(0, 16, [4]), b=entry(8, 16, [2])) + data, "cannot be read")
    refused(target, header(a=entry(0, 16, [5])) + data, "cannot be read")
    refused(target, header(a=entry(0, 16, [2**40, 2**40])) + data, "cannot be read")
    refused(target, header(a=entry(0, 32, [8])) + data, "cannot be read")
    refused(target, header(a={"dtype": "F99", "shape": [4], "data_offsets": [0, 16]}) + data, "cannot be read")
    refused(target, struct.pack("<Q", 2**62) + b"{}", "cannot be read")


def test_what_is_no_model_is_named(target: Path, tmp_path: Path) -> None:
    refused(target, b"", "an empty file")
    refused(target, b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull")
    refused(target, header(), "without tensors")
    refused(target, b"PK\x03\x04" + b"\0" * 40, "zip archive")
    with pytest.raises(UnreadableModelError, match="not a file"):
        safetensors_file.read(str(tmp_path))
