"""Torch checkpoints, both containers, lazily: every tensor is found in the file, none is read."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path as FilePath
from typing import Any

import torch

from lmd.sources.archive import Archive
from lmd.sources.checkpoint_tree import CheckpointTree, Path, common_path, sort_out
from lmd.sources.errors import UnreadableModelError
from lmd.sources.file_head import first_bytes
from lmd.sources.formats import source
from lmd.sources.loaders import Combined, FileTensor, Held, Loader
from lmd.sources.reading import Role, TensorRecord
from lmd.sources.tensor_names import without_wrappers
from lmd.sources.torch_container import Contents, read_contents
from lmd.sources.torch_pickle import ArrayState, can_restrict
from lmd.sources.torch_whole import read_whole

__all__ = ["read", "read_header"]

_BESIDE = "recorded beside the network"
_OPTIMISER = "state of the optimiser"


def read_header(path: str) -> Archive:
    """Read names, shapes and types; no number.

    Raises:
        UnreadableModelError: not a whole torch checkpoint with tensors.
        UnsafeModelError: reading it would run code from it.
    """
    return replace(read(path), loaders={})


_SUFFIXES = frozenset({".pt", ".pth", ".th", ".ckpt", ".bin", ".tar", ".jit", ".pkl"})


def _accepts(path: FilePath) -> bool:
    return path.is_file() and (
        path.suffix in _SUFFIXES or first_bytes(str(path), 4) in (b"PK\x03\x04", b"\x80\x02\x8a\x0a")
    )


@source("torch checkpoint", accepts=_accepts, header=read_header)
def read(path: str) -> Archive:
    """Find every tensor of a checkpoint.

    Raises:
        UnreadableModelError: not a whole torch checkpoint with tensors.
        UnsafeModelError: reading it would run code from it.
    """
    path = os.path.abspath(path)
    if not can_restrict():
        return _archive(path, read_whole(path), None)
    contents = read_contents(path)
    return _archive(path, contents.root, contents)


@dataclass(frozen=True, slots=True, eq=False)
class _Named:
    """One tensor of the tree with the name it gets."""

    name: str
    in_file: str
    tensor: Any
    role: Role
    reason: str


def _archive(path: str, root: object, contents: Contents | None) -> Archive:
    tree = sort_out(root, (torch.Tensor, ArrayState))
    records: list[TensorRecord] = []
    loaders: dict[str, Loader] = {}
    first: dict[object, str] = {}
    for named in _named(tree):
        loader, reason = _loader(named.name, named.tensor, path, contents)
        record = _record(named, loader, reason)
        place = _place(loader) if record.role == "parameter" else None
        if place is not None and (original := first.setdefault(place, record.name)) != record.name:
            record = replace(record, role="tied", reason=f"same tensor as {original}", tied_to=original)
        records.append(record)
        if loader is not None:
            loaders[named.name] = loader
    return Archive(tuple(records), loaders, _facts(tree, contents), (path,))


def _record(named: _Named, loader: Loader | None, reason: str) -> TensorRecord:
    tensor = loader.tensor if isinstance(loader, Held) else named.tensor
    shape = () if isinstance(tensor, torch.Tensor) and tensor.is_nested else tuple(tensor.shape)
    dtype = str(tensor.dtype).removeprefix("torch.")
    in_file = named.in_file if named.in_file != named.name else ""
    return TensorRecord(named.name, shape, dtype, named.role, reason or named.reason, in_file)


def _named(tree: CheckpointTree) -> Iterator[_Named]:
    networks, taken = _network_names(tree, short=True), {".".join(path) for path in (*tree.beside, *tree.optimisers)}
    names = [name for name, _, _ in networks]
    if len({*names, *taken}) < len(names) + len(taken):
        networks = _network_names(tree, short=False)
    for name, in_file, tensor in networks:
        yield _Named(name, in_file, tensor, "parameter", "")
    for path, tensor in tree.beside.items():
        yield _Named(".".join(path), ".".join(path), tensor, "buffer", _BESIDE)
    for path, tensor in tree.optimisers.items():
        yield _Named(".".join(path), ".".join(path), tensor, "optimiser", _OPTIMISER)


def _network_names(tree: CheckpointTree, *, short: bool) -> list[tuple[str, str, Any]]:
    """Name in the network, name in the file and tensor of each entry; ``short`` drops the container that all share."""
    shared = len(common_path(set(tree.networks))) if short else 0
    found = []
    for path, group in tree.networks.items():
        inner = without_wrappers(group)
        for key, tensor in group.items():
            found.append((_join(path[shared:], inner[key] if short else key), _join(path, key), tensor))
    return found


def _join(path: Path, key: str) -> str:
    return ".".join((*path, key))


def _loader(name: str, tensor: Any, path: str, contents: Contents | None) -> tuple[Loader | None, str]:
    """The tensor's loader, or None and why it has none."""
    if isinstance(tensor, ArrayState):
        return _array_loader(name, tensor)
    if not _is_dense(tensor):
        return None, f"not a dense tensor ({type(tensor).__name__}, {tensor.layout}, {tensor.dtype})"
    if contents is None:
        return Held(name, tensor), ""
    if tensor.untyped_storage()._cdata not in contents.pickle.places:
        return None, "saved without its numbers"
    loader = _file_tensor(name, path, tensor, contents)
    if tensor.is_conj():
        return Combined(torch.conj_physical, (loader,), loader.shape), ""
    return (Combined(torch.neg, (loader,), loader.shape) if tensor.is_neg() else loader), ""


def _is_dense(tensor: torch.Tensor) -> bool:
    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.layout is torch.strided
    return plain and not tensor.is_quantized and not tensor.is_nested


def _file_tensor(name: str, path: str, tensor: torch.Tensor, contents: Contents) -> FileTensor:
    place = contents.pickle.places[tensor.untyped_storage()._cdata]
    size, stride, element = tuple(tensor.shape), tensor.stride(), tensor.dtype.itemsize
    start = int(tensor.storage_offset()) * element
    end = start + (sum((n - 1) * s for n, s in zip(size, stride, strict=True)) + 1) * element if prod(size) else 0
    # torch reads a stride of 0 as repetition, by which a small file can declare any size
    if end > place.nbytes or prod(size) > contents.pickle.limit:
        raise UnreadableModelError(
            f"{path} declares tensor {name!r} of size {size} and stride {stride} at element {tensor.storage_offset()} "
            f"of a storage of {place.nbytes} bytes; a tensor must lie inside its storage. "
            "The file is damaged or forged; fetch it again."
        )
    offset = contents.storages[place.key].offset + place.start + start
    return FileTensor(name, path, offset, tensor.dtype, size, stride)


_ARRAY_TYPES = {
    "f8": torch.float64,
    "f4": torch.float32,
    "f2": torch.float16,
    "i8": torch.int64,
    "i4": torch.int32,
    "i2": torch.int16,
    "i1": torch.int8,
    "u1": torch.uint8,
    "b1": torch.bool,
}


def _array_loader(name: str, array: ArrayState) -> tuple[Loader | None, str]:
    dtype = _ARRAY_TYPES.get(array.dtype)
    if dtype is None or len(array.data) != prod(array.shape) * dtype.itemsize or not array.data:
        return None, f"not a dense array of numbers (NumPy type {array.dtype!r})"
    return Held(name, torch.frombuffer(bytearray(array.data), dtype=dtype).reshape(array.shape)), ""


def _place(loader: Loader | None) -> object:
    """What two tensors that share their numbers have in common; None for empty ones."""
    if isinstance(loader, Held) and loader.tensor.numel():
        return loader.tensor.data_ptr(), loader.tensor.dtype, loader.shape, loader.tensor.stride()
    if isinstance(loader, FileTensor) and prod(loader.size):
        return loader.offset, loader.dtype, loader.size, loader.stride
    return None


def _facts(tree: CheckpointTree, contents: Contents | None) -> dict[str, object]:
    facts: dict[str, object] = {"format": f"torch {contents.container}" if contents else "torch"}
    if tree.settings:
        facts["optimisers"] = tree.settings
    if tree.recorded:
        facts["recorded"] = tree.recorded
    if len(tree.networks) > 1:
        facts["networks"] = [".".join(path) for path in tree.networks]
    return facts
