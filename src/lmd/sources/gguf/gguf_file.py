"""GGUF files, one or several to a model: quantised language models, and what other tools store in the format."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmd.sources.archive import Archive
from lmd.sources.depth_order import depth_key
from lmd.sources.errors import UnreadableModelError
from lmd.sources.file_head import first_bytes
from lmd.sources.formats import source
from lmd.sources.gguf.architectures.configs import UNGROUPED, config_of
from lmd.sources.gguf.architectures.implied import completed, heads_by_layer, trouble_with_heads
from lmd.sources.gguf.architectures.names import Named, family_of, named
from lmd.sources.gguf.architectures.positions import FREQUENCIES, with_factors
from lmd.sources.gguf.blocks.arithmetic import known
from lmd.sources.gguf.blocks.block_types import NOT_READ
from lmd.sources.gguf.header import MAGIC, Header, StoredTensor
from lmd.sources.gguf.shelf import Shelf
from lmd.sources.gguf.splits import read_heads
from lmd.sources.reading import TensorRecord

if TYPE_CHECKING:
    from lmd.sources.loaders import Loader

__all__ = ["read", "read_header"]

_MOST_FACTORS = 4096
"""Of rotary positions; half the width of a head."""


def read_header(path: str) -> Archive:
    """Read the heads of all files of a model; no number, and without torch.

    Raises:
        UnreadableModelError: a file is damaged, missing or without tensors.
    """
    return _archive(path)[0]


def _accepts(path: Path) -> bool:
    return path.is_file() and (path.suffix == ".gguf" or first_bytes(str(path), len(MAGIC)) == MAGIC)


@source("GGUF", accepts=_accepts, header=read_header)
def read(path: str) -> Archive:
    """Read the heads, and give each tensor a loader that turns into numbers what it is asked for.

    Raises:
        UnreadableModelError: a file is damaged, missing or without tensors.
    """
    from lmd.sources.gguf.architectures.changes import changed
    from lmd.sources.gguf.unsorted import kept_as_stored

    archive, tensors = _archive(path)
    kept = kept_as_stored(path, [(one, _stored(one.stored)) for one in tensors if _may_be_unsorted(one)])
    if kept:
        tensors = tuple(_unsorted(one) for one in tensors)
        archive = replace(archive, facts={**_told(archive.facts), **_row_orders(tensors)})
    loaders = {one.name: changed(one, _stored(one.stored)) for one in tensors if not _unreadable(one.stored)}
    return replace(archive, loaders=loaders, facts=_with_positions(archive.facts, loaders))


def _with_positions(facts: Mapping[str, object], loaders: Mapping[str, "Loader"]) -> Mapping[str, object]:
    """The configuration with the factors of rotary positions that the file holds; none if they are of no use."""
    config, metadata = facts.get("config"), facts.get("metadata")
    held = [name for name in FREQUENCIES if name in loaders and prod(loaders[name].shape) <= _MOST_FACTORS]
    if not held or not isinstance(config, Mapping) or not isinstance(metadata, Mapping):
        return facts
    try:
        numbers = {name: loaders[name]().double().flatten().tolist() for name in held}
        return {**facts, "config": with_factors(config, Shelf(metadata), numbers)}
    except ValueError as fault:
        others = {key: value for key, value in facts.items() if key not in ("config", "config from")}
        return {**others, "architecture": f"no declaration is made: {fault}; layers were read by rules"}


def _archive(path: str) -> tuple[Archive, tuple[Named, ...]]:
    heads = read_heads(str(Path(path).absolute()))
    stored = tuple(tensor for head in heads for tensor in head.tensors)
    shelf = completed(Shelf(heads[0].metadata), stored)
    family = family_of(shelf, stored)
    tensors = named(stored, shelf, family)
    if not tensors:
        raise UnreadableModelError(
            f"{path} is a GGUF file without tensors, perhaps a vocabulary alone; a trained model holds at least one. "
            f"Name the file of the model."
        )
    renamed = any(one.name != one.stored.name for one in tensors)
    grouped = family.model_type not in UNGROUPED
    trouble = trouble_with_heads(shelf, stored, grouped=grouped) if renamed and family.model_type else ""
    config = config_of(family, shelf, tensors) if renamed and not trouble else {}
    # converters write tensors in the order they find them in sorted files
    records = tuple(sorted((_record(one) for one in tensors), key=lambda record: depth_key(record.name)))
    facts = {**_facts(heads, shelf, config, trouble), **_row_orders(tensors)}
    return Archive(records, facts=facts, files=tuple(head.path for head in heads)), tensors


def _may_be_unsorted(one: Named) -> bool:
    return one.order is not None and one.order.word == "rotated" and not _unreadable(one.stored)


def _unsorted(one: Named) -> Named:
    return replace(one, order=replace(one.order, word="stored")) if one.order and one.order.word == "rotated" else one


def _told(facts: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in facts.items() if key not in dict(_ORDERS.values())}


def _row_orders(tensors: Collection[Named]) -> dict[str, object]:
    """What was done about the rows of queries and keys, and about bytes."""
    facts: dict[str, object] = {}
    for word, (fact, order) in _ORDERS.items():
        if names := [one.name for one in tensors if one.order is not None and one.order.word == word]:
            facts |= {fact: names, "order of query and key rows": order}
    scaled = [one.name for one in tensors if _has_turned_scales(one.stored)]
    return {**facts, **({"scales in big-endian order": scaled} if scaled else {})}


def _has_turned_scales(stored: StoredTensor) -> bool:
    return stored.big_endian and stored.kind is not None and not stored.kind.plain and bool(stored.kind.swapped)


def _record(one: Named) -> TensorRecord:
    stored = one.stored
    dtype = stored.kind.dtype if stored.kind is not None else f"ggml type {stored.number}"
    name = stored.name if one.entry < 0 else f"{stored.name}[{one.entry}]"
    role = "buffer" if stored.name.endswith(FREQUENCIES) else "parameter"
    reason = "factors of the rotary frequencies: computed, not trained" if role == "buffer" else _unreadable(stored)
    return TensorRecord(one.name, one.shape, dtype, role, reason, file_name=name if name != one.name else "")


def _unreadable(stored: StoredTensor) -> str:
    """Why the numbers of a tensor cannot be had, '' if they can."""
    if stored.kind is None:
        told = NOT_READ.get(stored.number, f"ggml type {stored.number} is not known here")
        return f"{told}; convert the model to a type that is, such as Q8_0"
    if not known(stored.kind.name):
        return f"{stored.kind.name} blocks cannot be turned into numbers here; convert the model to another type"
    if stored.big_endian and stored.kind.swapped is None:
        return f"{stored.kind.name} blocks of a big-endian file are not read; convert the model on another machine"
    return ""


def _stored(tensor: StoredTensor) -> "Loader":
    import torch

    from lmd.sources.gguf.blocks.block_tensor import BlockTensor
    from lmd.sources.loaders import FileTensor

    assert tensor.kind is not None, tensor.name
    if tensor.kind.plain and not tensor.big_endian:
        dtype = getattr(torch, tensor.kind.dtype)
        stride, strides = 1, []
        for axis in reversed(tensor.shape):
            strides.insert(0, stride)
            stride *= axis
        return FileTensor(tensor.name, tensor.path, tensor.offset, dtype, tensor.shape, tuple(strides))
    whole = (0,) * len(tensor.shape)
    return BlockTensor(
        tensor.name, tensor.path, tensor.offset, tensor.number, tensor.shape, whole, tensor.shape, tensor.big_endian
    )


_SORTED_BACK = (
    "that of Hugging Face: for architectures whose rows llama.cpp's converter sorts, they were sorted back; if the "
    "tool that made the file did not sort them, rows are now in another order within each head, which no file tells"
)
_AS_STORED = (
    "as in the file, although llama.cpp's converter sorts them: the model.safetensors beside it has the same numbers "
    "in the order that they are stored in"
)
_NOT_KNOWN = (
    "as in the file, for those whose order is not known: whether the tool that made the file sorts the rows of this "
    "architecture, or by how many heads"
)
_LEFT = "that of ggml, since an adapter does not tell the number of heads; the base does"
_ORDERS = {
    "rotated": ("sorted back", _SORTED_BACK),
    "stored": ("left as stored", _AS_STORED),
    "ggml": ("left in ggml's order", _LEFT),
    "unsure": ("order of rows not known", _NOT_KNOWN),
}
"""What is said of rows, by the word of their order."""


def _facts(heads: tuple[Header, ...], shelf: Shelf, config: Mapping[str, Any], trouble: str) -> Mapping[str, Any]:
    facts: dict[str, Any] = {
        "format": "GGUF",
        "order": "by name",
        "metadata": {"GGUF.version": heads[0].version, **heads[0].metadata},
    }
    alpha = shelf.metadata.get("adapter.lora.alpha")
    if shelf.metadata.get("general.type") == "adapter":
        facts["adapter_config"] = {"lora_alpha": alpha}
    elif config:
        facts |= {"config": config, "config from": "the file's metadata"}
    elif trouble:
        facts["architecture"] = f"no declaration is made: {trouble}"
    elif shelf.architecture:
        facts["architecture"] = f"no declaration is made of {shelf.architecture!r}; layers were read by rules"
        counts = heads_by_layer(shelf)
        facts |= {"heads": counts} if counts else {}
    return facts
