"""Folders: which files hold the weights, and what an index may say."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lmd.sources import hugging_face
from lmd.sources.errors import UnreadableModelError

TENSORS = {f"layer.{index}.weight": torch.full((2, 3), float(index)) for index in range(4)}


def sharded(folder: Path, *, torch_files: bool = False, **changed: Any) -> None:
    """Two shards of two tensors; ``changed`` replaces entries of the index."""
    ending, stem = ("bin", "pytorch_model") if torch_files else ("safetensors", "model")
    weight_map: dict[str, Any] = {}
    for number in range(2):
        shard = f"{stem}-{number}.{ending}"
        part = dict(list(TENSORS.items())[2 * number : 2 * number + 2])
        if torch_files:
            torch.save(part, folder / shard)
        else:
            save_file(part, folder / shard)
        weight_map.update(dict.fromkeys(part, shard))
    weight_map.update(changed)
    (folder / f"{stem}.{ending}.index.json").write_text(json.dumps({"weight_map": weight_map}))


@pytest.mark.parametrize("torch_files", [False, True])
def test_shards_are_one_network(tmp_path: Path, torch_files: bool) -> None:
    sharded(tmp_path, torch_files=torch_files)
    archive = hugging_face.read(str(tmp_path))
    assert {record.name for record in archive.records} == TENSORS.keys()
    assert len(archive.files) == 2
    for name, tensor in TENSORS.items():
        assert torch.equal(archive.loaders[name](), tensor)
    assert not hugging_face.read_header(str(tmp_path)).loaders


@pytest.mark.parametrize("name", ["model", "diffusion_pytorch_model", "adapter_model", "silero_vad_16k"])
def test_one_weight_file_and_its_config(tmp_path: Path, name: str) -> None:
    save_file(TENSORS, tmp_path / f"{name}.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    archive = hugging_face.read(str(tmp_path))
    assert len(archive.records) == 4
    assert archive.facts["config"] == {"model_type": "bert"}
    assert archive.files == (str(tmp_path / f"{name}.safetensors"),)


def test_torch_weights_are_found(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "pytorch_model.bin")
    assert len(hugging_face.read(str(tmp_path)).loaders) == 4


def refused(folder: Path, match: str) -> None:
    with pytest.raises(UnreadableModelError, match=match):
        hugging_face.read(str(folder))


@pytest.mark.parametrize("escape", ["../model-0.safetensors", "a/../../x.safetensors", "C:\\x.safetensors", "x.bin", 3])
def test_foreign_shards_are_refused(tmp_path: Path, escape: object) -> None:
    sharded(tmp_path, extra=escape)
    refused(tmp_path, "inside the folder")


def test_absolute_shards_are_refused(tmp_path: Path) -> None:
    sharded(tmp_path, extra=str(tmp_path / "model-0.safetensors"))
    refused(tmp_path, "inside the folder")


def test_missing_shards_and_tensors_are_refused(tmp_path: Path) -> None:
    sharded(tmp_path, extra="model-7.safetensors")
    refused(tmp_path, "'model-7.safetensors', which is missing")
    sharded(tmp_path, extra="model-1.safetensors")
    refused(tmp_path, "does not hold, first 'extra'")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"weight_map": {}}', '{"weight_map": 3}', "[" * 100_000, "\x00"])
def test_damaged_json_is_refused(tmp_path: Path, text: str) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(text)
    refused(tmp_path, "index.json")
    index.unlink()
    save_file(TENSORS, tmp_path / "model.safetensors")
    if "weight_map" not in text:
        (tmp_path / "config.json").write_text(text)
        refused(tmp_path, "config.json")


def test_a_folder_without_weights_says_what_was_looked_for(tmp_path: Path) -> None:
    refused(tmp_path, "model.safetensors.index.json.*Name the folder")
    (tmp_path / "resnet.pth").write_bytes(b"x")
    refused(tmp_path, r"Name one of its files instead: resnet\.pth")
