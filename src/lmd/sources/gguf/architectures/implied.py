"""What a file's metadata leaves out and its tensors show, and what of it no architecture can have. Needs no torch."""

import re
from collections.abc import Collection, Mapping

from lmd.sources.gguf.header import StoredTensor
from lmd.sources.gguf.shelf import Shelf

__all__ = ["completed", "heads_by_layer", "trouble_with_heads"]

_BLOCK = re.compile(r"^(?:enc\.)?blk\.(\d+)\.(.+)$")
_NEEDED = (
    "a number of heads that divides them is needed, so that weights were read by rules; convert the model again, or "
    "give the heads with --kind GLOB=heads:N"
)

Shapes = Mapping[str, tuple[int, ...]]


def completed(shelf: Shelf, tensors: Collection[StoredTensor]) -> Shelf:
    """The same with the sizes that are missing, as far as shapes show them."""
    shapes, blocks = {}, 0
    for tensor in tensors:
        block = _BLOCK.match(tensor.name)
        blocks = max(blocks, int(block[1]) + 1) if block else blocks
        # the first block that has it speaks for all
        shapes.setdefault(block[2] if block else tensor.name, tensor.shape)
    found = {
        "embedding_length": _axis(shapes, "token_embd.weight", 2, 1),
        "block_count": blocks,
        "feed_forward_length": _axis(shapes, "ffn_down.weight", 2, 1) or _axis(shapes, "ffn_down_exps.weight", 3, 2),
        "expert_count": _axis(shapes, "ffn_down_exps.weight", 3, 0),
    }
    whole = shelf.beside({key: size for key, size in found.items() if size})
    return whole.beside(_of_heads(whole, shapes))


def _of_heads(shelf: Shelf, shapes: Shapes) -> dict[str, int]:
    rows, keys = (_axis(shapes, f"attn_{part}.weight", 2, 0) for part in ("q", "k"))
    width = shelf.count("attention.key_length")
    heads = shelf.count("attention.head_count") or (rows // width if width > 0 and rows % width == 0 else 0)
    if heads < 1:
        return {}
    if rows % heads == 0 and not isinstance(shelf.value("attention.head_count"), list):
        width = width or rows // heads
    groups = keys // width if width > 0 and keys and keys % width == 0 else heads
    return {
        "attention.head_count": heads,
        "attention.head_count_kv": groups,
        **({"attention.key_length": width} if width else {}),
    }


def _axis(shapes: Shapes, name: str, axes: int, axis: int) -> int:
    shape = shapes.get(name, ())
    return shape[axis] if len(shape) == axes else 0


def trouble_with_heads(shelf: Shelf, tensors: Collection[StoredTensor], *, grouped: bool) -> str:
    """Why the numbers of heads cannot be those of the file's projections, '' if they can, or if there are none.

    Args:
        shelf: the metadata, completed.
        tensors: of the file.
        grouped: whether several queries may share a key.
    """
    width = shelf.count("attention.key_length")
    for tensor in tensors:
        block = _BLOCK.match(tensor.name)
        if block is None or len(tensor.shape) != 2 or block[2] not in _COUNTED:
            continue
        if block[2] == "attn_k.weight" and not grouped:
            continue
        word, key = _COUNTED[block[2]]
        rows, told = tensor.shape[0], shelf.value(key)
        heads, said = shelf.count(key, int(block[1])), f"{shelf.architecture}.{key}"
        if told is None:
            return f"the metadata has no {said}, and {tensor.name} has {rows} rows of {word}; {_NEEDED}"
        if heads < 1 or rows % heads or (key in _OWN_WIDTH and width and rows != heads * width):
            wide = f" and heads are {width} wide" if width and heads > 0 and rows % heads == 0 else ""
            return f"{said} is {str(told)[:40]}{wide}, and {tensor.name} has {rows} rows of {word}; {_NEEDED}"
    return ""


def heads_by_layer(shelf: Shelf) -> dict[str, int]:
    """Heads of queries that the metadata tells, by glob of the layers' paths."""
    told = shelf.value("attention.head_count")
    counts = {f"*.layers.{i}.*": told[i] for i in range(len(told))} if isinstance(told, list) else {"*": told}
    return {glob: count for glob, count in counts.items() if isinstance(count, int) and count > 0}


_COUNTED = {
    "attn_q.weight": ("queries", "attention.head_count"),
    "attn_k.weight": ("keys", "attention.head_count_kv"),
    "attn_qkv.weight": ("queries, keys and values", "attention.head_count"),
}
_OWN_WIDTH = {"attention.head_count_kv"}
"""Where the width of a head comes from another projection."""
