"""Hugging Face folders: one weight file or an index of shards, and the architecture's config.json beside them."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from lmd.sources import safetensors_file
from lmd.sources.archive import Archive
from lmd.sources.errors import UnreadableModelError
from lmd.sources.formats import source
from lmd.sources.json_object import read_json_object
from lmd.sources.reading import TensorRecord

if TYPE_CHECKING:
    from lmd.sources.loaders import Loader

__all__ = ["config_of", "read", "read_header", "weight_files"]

Reader = Callable[[str], Archive]
_SINGLE = ("model.safetensors", "diffusion_pytorch_model.safetensors", "adapter_model.safetensors")
_INDEX = ("model.safetensors.index.json", "diffusion_pytorch_model.safetensors.index.json")
_TORCH = ("pytorch_model.bin", "adapter_model.bin")
_TORCH_INDEX = ("pytorch_model.bin.index.json",)
_OTHER_ENDINGS = (".bin", ".pt", ".pth", ".th", ".tar", ".ckpt", ".safetensors")
_MOST_BYTES = 256 * 2**20


def read_header(folder: str) -> Archive:
    """Read names, shapes and types of every tensor of a folder; without torch if its weights are safetensors.

    Raises:
        UnreadableModelError: no weights, a missing or foreign shard, a damaged file.
        UnsafeModelError: reading a torch file of it would run code.
    """
    return _read(folder, loaders=False)


@source("Hugging Face folder", accepts=Path.is_dir, header=read_header)
def read(folder: str) -> Archive:
    """Read the headers of a folder's weight files, and give each tensor a loader.

    Raises:
        UnreadableModelError: no weights, a missing or foreign shard, a damaged file.
        UnsafeModelError: reading a torch file of it would run code.
    """
    return _read(folder, loaders=True)


def _read(folder: str, *, loaders: bool) -> Archive:
    config = config_of(folder)
    files, wanted = weight_files(folder)
    reader = _reader(files[0], loaders=loaders)
    archive = reader(files[0]) if not wanted else _merged(folder, [reader(file) for file in files], wanted)
    return replace(archive, facts={**archive.facts, **({"config": config} if config else {})})


def _reader(file: str, *, loaders: bool) -> Reader:
    if file.endswith(".safetensors"):
        return safetensors_file.read if loaders else safetensors_file.read_header
    from lmd.sources import torch_checkpoint

    return torch_checkpoint.read if loaders else torch_checkpoint.read_header


def config_of(folder: str) -> dict[str, object]:
    """The folder's config.json, empty if there is none.

    Raises:
        UnreadableModelError: it is not a JSON object.
    """
    path = os.path.join(folder, "config.json")
    return _json_object(path) if os.path.isfile(path) else {}


def _json_object(path: str) -> dict[str, object]:
    needed = "a JSON object is needed. Fetch or save the folder again."
    return read_json_object(path, most_bytes=_MOST_BYTES, needed=needed)


def weight_files(folder: str) -> tuple[list[str], dict[str, str]]:
    """The files that hold a folder's weights and, if an index names them, tensor name to file.

    Raises:
        UnreadableModelError: none, several without an index, or an index that names what is not there.
    """
    for singles, indices in ((_SINGLE, _INDEX), (_TORCH, _TORCH_INDEX)):
        for name in singles:
            if os.path.isfile(os.path.join(folder, name)):
                return [os.path.join(folder, name)], {}
        for name in indices:
            if os.path.isfile(os.path.join(folder, name)):
                return _shards(folder, name)
        others = sorted(str(path) for path in Path(folder).glob("*.safetensors")) if singles is _SINGLE else []
        if len(others) == 1:
            return others, {}
    raise UnreadableModelError(_no_weights(folder))


def _no_weights(folder: str) -> str:
    looked_for = ", ".join((*_SINGLE, *_INDEX, "one *.safetensors", *_TORCH, *_TORCH_INDEX))
    present = sorted(path.name for path in Path(folder).iterdir() if path.name.endswith(_OTHER_ENDINGS))[:10]
    advice = f"Name one of its files instead: {', '.join(present)}." if present else "Name the folder of the weights."
    return f"{folder} holds no weights that say which they are; looked for {looked_for}. {advice}"


def _shards(folder: str, index: str) -> tuple[list[str], dict[str, str]]:
    path = os.path.join(folder, index)
    weight_map = _json_object(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UnreadableModelError(
            f"{path} has no 'weight_map'; an index maps each tensor's name to its file. Fetch the folder again."
        )
    ending = ".bin" if index in _TORCH_INDEX else ".safetensors"
    for shard in dict.fromkeys(str(value) for value in weight_map.values()):
        _check_shard(folder, path, shard, ending)
    wanted = {name: os.path.join(folder, shard) for name, shard in weight_map.items()}
    return sorted(set(wanted.values())), wanted


def _check_shard(folder: str, index: str, shard: str, ending: str) -> None:
    # lexically: the Hub's own cache links files to blobs outside the folder
    foreign = any(
        path.is_absolute() or path.drive or ".." in path.parts
        for path in (PurePosixPath(shard), PureWindowsPath(shard))
    )
    if foreign or not shard.endswith(ending):
        raise UnreadableModelError(
            f"{index} names the shard {shard[:200]!r}; shards are *{ending} files inside the folder. "
            "The index is damaged or forged; fetch the folder again."
        )
    if not os.path.isfile(os.path.join(folder, shard)):
        raise UnreadableModelError(
            f"{index} names the shard {shard!r}, which is missing; every shard is needed. Fetch the folder again."
        )


def _merged(folder: str, shards: list[Archive], wanted: Mapping[str, str]) -> Archive:
    records: dict[str, TensorRecord] = {}
    loaders: dict[str, Loader] = {}
    for shard in shards:
        file = shard.files[0]
        present = {record.file_name or record.name for record in shard.records}
        missing = [name for name, path in wanted.items() if os.path.abspath(path) == file and name not in present]
        if missing:
            raise UnreadableModelError(
                f"the index of {folder} promises {len(missing)} tensors in {os.path.basename(file)} that it does not "
                f"hold, first {missing[0]!r}; index and shards must belong together. Fetch the folder again."
            )
        for record in shard.records:
            if record.name in records and os.path.abspath(wanted.get(record.file_name or record.name, "")) != file:
                continue
            records[record.name] = record
            loaders.update({record.name: shard.loaders[record.name]} if record.name in shard.loaders else {})
    files = tuple(file for shard in shards for file in shard.files)
    return Archive(tuple(records.values()), loaders, shards[0].facts, files)
