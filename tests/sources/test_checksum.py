"""The checksum is the one that other tools print, and changes with anything that matters."""

import hashlib
from pathlib import Path

import pytest
import torch

from lmd.sources.checksum import sha256_of_files, sha256_of_tensors


def test_one_file_is_its_bytes_and_several_are_their_list(tmp_path: Path) -> None:
    first, second = tmp_path / "a.bin", tmp_path / "b.bin"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    assert sha256_of_files([str(first)]) == hashlib.sha256(b"one").hexdigest()
    lines = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in (first, second))
    expected = hashlib.sha256(lines.encode()).hexdigest()
    assert sha256_of_files([str(second), str(first)]) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn, torch.int64, torch.bool])
def test_tensors_count_by_name_type_shape_and_bytes(dtype: torch.dtype) -> None:
    tensor = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype)
    digest = sha256_of_tensors({"a": tensor, "b": torch.ones(1)})
    assert digest == sha256_of_tensors({"b": torch.ones(1), "a": tensor.mT.contiguous().mT})
    others = [
        {"c": tensor},
        {"a": tensor.reshape(3, 2)},
        {"a": 1 - tensor.to(torch.uint8)},
        {"a": tensor.double().half()},
    ]
    assert len({digest, *(sha256_of_tensors({"b": torch.ones(1), **other}) for other in others)}) == 5


def test_tensors_without_numbers_and_of_no_size() -> None:
    assert sha256_of_tensors({"a": torch.empty(2, device="meta")}) != sha256_of_tensors(
        {"a": torch.empty(3, device="meta")}
    )
    assert sha256_of_tensors({"a": torch.tensor(1.0)}) != sha256_of_tensors({"a": torch.tensor(2.0)})
    assert sha256_of_tensors({"a": torch.empty(0)}) == sha256_of_tensors({"a": torch.empty(0)})
