"""The tensors of a GGUF file under the names and in the shapes of their Hugging Face architecture. Needs no torch."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from lmd.sources.gguf.architectures.families import FAMILIES, ROWS_AS_THEY_ARE, UNKNOWN, Family
from lmd.sources.gguf.architectures.row_orders import RowOrder
from lmd.sources.gguf.header import StoredTensor
from lmd.sources.gguf.shelf import Shelf

__all__ = ["Named", "family_of", "named"]

_BLOCK = re.compile(r"^(?:(enc|dec)\.)?blk\.(\d+)\.(.+)$")
_SINGLE_EXPERT = re.compile(r"^(ffn_(?:gate|up|down))\.(\d+)$")
_SUFFIXES = {
    ".weight": ".weight",
    ".bias": ".bias",
    ".weight.lora_a": ".lora_A.weight",
    ".weight.lora_b": ".lora_B.weight",
}
"""ggml's to Hugging Face's."""
_MOST_EXPERTS = 4096
_FUSED = {"attn_qkv": ("attn_q", "attn_k", "attn_v")}


@dataclass(frozen=True, slots=True)
class Named:
    """One tensor of the architecture, and how it is made of one of the file.

    Attributes:
        name: in the architecture.
        shape: there.
        stored: what the file has.
        entry: number of the expert, of a stack of them; -1 for the whole.
        rows: ``(start, length)`` of a fused projection that is split; None for all.
        order: of the rows, where the file has another one.
        transposed: whether rows and columns change places.
        less: what is taken off each number.
        logarithm: whether it is the logarithm of minus the number.
    """

    name: str
    shape: tuple[int, ...]
    stored: StoredTensor
    entry: int = -1
    rows: tuple[int, int] | None = None
    order: RowOrder | None = None
    transposed: bool = False
    less: float = 0.0
    logarithm: bool = False


def family_of(shelf: Shelf, tensors: Collection[StoredTensor]) -> Family:
    """The words of the file's architecture, those that most share if it is not known."""
    word, names = shelf.architecture, {tensor.name for tensor in tensors}
    if word == "llama" and shelf.count("expert_count"):
        word = "mixtral"
    if word == "falcon" and "blk.0.attn_norm_2.weight" in names:
        word = "falcon of two norms"
    if word in ("t5", "t5encoder") and "enc.blk.0.ffn_gate.weight" not in names:
        word = f"{word} without gates"
    return FAMILIES.get(word, UNKNOWN)


def named(tensors: Collection[StoredTensor], shelf: Shelf, family: Family) -> tuple[Named, ...]:
    """Every tensor under its name in the architecture; those without one keep the file's.

    A file of other tools whose names are not ggml's keeps all of them.
    """
    own = [Named(tensor.name, tensor.shape, tensor) for tensor in tensors]
    if not any(tensor.name.startswith("token_embd.weight") or _BLOCK.match(tensor.name) for tensor in tensors):
        return tuple(own)
    found = [list(_named(tensor, shelf, family)) for tensor in tensors]
    taken: dict[str, int] = {}
    for name in (one.name for group in found for one in group):
        taken[name] = taken.get(name, 0) + 1
    # two tensors of one name would hide each other
    kept = [group if all(taken[one.name] == 1 for one in group) else [own[i]] for i, group in enumerate(found)]
    return tuple(one for group in kept for one in group)


def _named(tensor: StoredTensor, shelf: Shelf, family: Family) -> Iterator[Named]:
    word, suffix = _parted(tensor.name)
    block = _BLOCK.match(word)
    words, key, number = (family.top, word, 0) if block is None else _in_block(family, block)
    expert = _SINGLE_EXPERT.match(key)
    if expert is not None:
        key = f"{expert[1]}_exps"
    target = words.get(f"{key}{suffix}")
    end = "" if target is not None else suffix
    target = target or words.get(key)
    if family.split and key in _FUSED and key in words and ".lora_" not in suffix:
        yield from _split(tensor, shelf, [words[part].format(n=number) + suffix for part in _FUSED[key]])
        return
    if target is None:
        yield Named(tensor.name, tensor.shape, tensor)
    elif expert is not None:
        yield Named(target.format(n=number, e=expert[2]) + end, tensor.shape, tensor)
    elif "{e}" in target and len(tensor.shape) == 3 and tensor.shape[0] <= _MOST_EXPERTS:
        for index in range(tensor.shape[0]):
            yield Named(target.format(n=number, e=index) + end, tensor.shape[1:], tensor, entry=index)
    else:
        plain = Named(target.format(n=number, e="all") + end, tensor.shape, tensor)
        yield _changed(plain, key, shelf, family, number)


def _parted(name: str) -> tuple[str, str]:
    for suffix, new in _SUFFIXES.items():
        if name.endswith(suffix):
            return name.removesuffix(suffix), new
    return name, ""


def _in_block(family: Family, block: re.Match[str]) -> tuple[Mapping[str, str], str, int]:
    half, number, key = block.groups()
    return family.block, f"{half}.{key}" if half else key, int(number)


def _changed(plain: Named, key: str, shelf: Shelf, family: Family, block: int) -> Named:
    """What the converter did to one tensor, to be undone."""
    if ".lora_A." in plain.name:
        return plain
    if family.one_more and key.endswith("norm") and plain.name.endswith(".weight"):
        return replace(plain, less=1.0)
    if key in family.transposed and len(plain.shape) == 2 and ".lora_" not in plain.name:
        return replace(plain, shape=plain.shape[::-1], transposed=True)
    if key == "ssm_a":
        return replace(plain, logarithm=True)
    order = _order(key, shelf, family, plain.shape[0] if plain.shape else 0, block)
    if order is not None and order.word == "unsure" and family.rotated and ".lora_B." in plain.name:
        order = replace(order, word="ggml")
    return replace(plain, shape=_full_shape(key, plain.shape), order=order)


def _full_shape(key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """With the axes of length 1 that the converter left out."""
    if key == "ssm_conv1d" and len(shape) == 2:
        return (shape[0], 1, shape[1])
    return (1, *shape) if key == "ffn_gate_inp_shexp" and len(shape) == 1 else shape


def _order(key: str, shelf: Shelf, family: Family, rows: int, block: int) -> RowOrder | None:
    heads = shelf.count("attention.head_count", block)
    groups = shelf.count("attention.head_count_kv", block) or heads
    order = None
    if key in ("attn_q", "attn_k"):
        own = heads if key == "attn_q" else groups
        order = RowOrder("rotated", rows, own) if family.rotated else None
        if family is UNKNOWN and shelf.architecture not in ROWS_AS_THEY_ARE:
            order = RowOrder("unsure", rows, own)
    elif family.fused and key == "attn_qkv":
        order = RowOrder(family.fused, rows, heads, groups if family.fused == "groups" else 1)
    width = shelf.count("attention.key_length")
    odd = key == "attn_k" and width > 0 and rows != groups * width
    return replace(order, word="unsure") if order is not None and (odd or not order.fits) else order


def _split(tensor: StoredTensor, shelf: Shelf, names: list[str]) -> Iterator[Named]:
    """Queries, keys and values of one projection as three."""
    heads = shelf.count("attention.head_count")
    groups = shelf.count("attention.head_count_kv") or heads
    rows = tensor.shape[0] if tensor.shape else 0
    if heads < 1 or rows % (heads + 2 * groups):
        yield Named(tensor.name, tensor.shape, tensor)
        return
    width, start = rows // (heads + 2 * groups), 0
    for name, count in zip(names, (heads, groups, groups), strict=True):
        yield Named(name, (count * width, *tensor.shape[1:]), tensor, rows=(start, count * width))
        start += count * width
