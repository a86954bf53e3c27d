"""Several projections in one stored weight: the ways they may lie in it, the likeliest first."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import permutations

from lmd.layers.attention.counts import Heads, head_width, heads_of, query_heads
from lmd.layers.attention.projection import Projection, Strips
from lmd.layers.attention.settings import Settings

__all__ = ["Parts", "counts_of", "is_told", "orders_of_fused", "parts_of_fused", "parts_of_pairs", "undivided"]

Parts = tuple[dict[str, Projection], Heads | None]
"""The projections by role, and their heads."""

_HEAD_BY_HEAD = ("query_key_value", "in_proj", "linear_qkv", "queries_keys_values")
"""Names of fused projections whose heads lie one behind the other, each with its query, key and value."""
_GROUPED = ("internlm2", "lightning")
"""Families that lie so under another name."""
_SURE = ("c_attn", "in_proj", "linear_qkv", "W_pack")
"""Names that are given to one layout only."""
_PIECES_OF_CODEGEN = 4
_VALUE_WIDTHS = ("val_dim", "value_dim", "v_dim", "d", "head_dim")
_RATIOS = ("attn_ratio", "attention_ratio")
_ROLES = ("query", "key", "value")


def parts_of_fused(whole: Projection, settings: Settings, read: int | None, count: int | None = None) -> list[Parts]:
    """The ways in which query, key and value may lie in one weight with the heads that are said.

    Args:
        whole: the stored projection.
        settings: who may know the number of heads.
        read: columns of the output projection, None without one.
        count: of heads, instead of what is said.
    """
    last = whole.name.rpartition(".")[2]
    order = ("key", "query", "value") if "kqv" in last.lower() else _ROLES
    found: list[Parts] = []
    if (own := _of_unequal_heads(settings, whole.outputs, read)) is not None and count is None:
        lengths = {"query": own.width, "key": own.width, "value": own.value_width}
        found += [_divided(whole, strips, own) for strips in (_by_head(lengths, own.keys), _blocks(lengths, own))]
    heads = _heads_of_fused(whole, settings, read, count)
    if heads is None:
        return found
    if "codegen" in _family(settings):
        return [_divided(whole, _codegen(whole), heads)]
    shared = heads.queries // heads.keys
    lengths = {role: heads.width * (shared if role == "query" else 1) for role in order}
    ways = [_blocks(dict.fromkeys(order, heads.width), heads), _by_head(lengths, heads.keys)]
    if _lies_by_head(last, whole, heads, settings):
        ways.reverse()
    return [*found, *(_divided(whole, strips, heads) for strips in ways)]


def orders_of_fused(whole: Projection, settings: Settings, read: int | None, count: int) -> Iterator[Parts]:
    """The same in every other order of the three, and channel by channel."""
    heads = _heads_of_fused(whole, settings, read, count)
    if heads is None:
        return
    shared = heads.queries // heads.keys
    for order in permutations(_ROLES):
        lengths = {role: heads.width * (shared if role == "query" else 1) for role in order}
        yield _divided(whole, _blocks(dict.fromkeys(order, heads.width), heads), heads)
        yield _divided(whole, _by_head(lengths, heads.keys), heads)
        if shared == 1:
            yield _divided(whole, _by_head(dict.fromkeys(order, 1), heads.queries * heads.width), heads)


def parts_of_pairs(
    stored: Mapping[str, Projection], settings: Settings, read: int | None, count: int | None = None
) -> list[Parts]:
    """The ways in which two of query, key and value may lie in one weight beside the third, or in none."""
    found: list[Parts] = []
    for parts, strips in _ways_of_pairs(stored, settings):
        query, key, value = (parts[role].outputs for role in _ROLES)
        heads = heads_of(settings, query, key, value, read, count=count)
        found.append((_gated(parts, heads), heads) if strips is None else (parts, heads))
    return found


def counts_of(size: int) -> Iterator[int]:
    """Numbers of heads that divide a size."""
    yield from (count for count in range(1, size + 1) if size % count == 0)


def is_told(whole: Projection, settings: Settings) -> bool:
    """Whether the name of a fused weight, its family or the module's own widths tell how it is divided."""
    name = whole.name.rpartition(".")[2]
    return name in _SURE or settings.is_known or isinstance(settings.own.get("key_dim"), int)


def undivided(whole: Projection, read: int | None) -> Parts:
    """Query, key and value where nobody says how many heads divide them; the weight as it is, if that matters."""
    last = whole.name.rpartition(".")[2]
    if last in _HEAD_BY_HEAD or (read is None and whole.outputs != 3 * whole.inputs):
        note = "query, key and value in one weight; how many heads divide it is not known"
        return {"whole": replace(whole, kind="dense").noted(note)}, None
    query = read or whole.inputs
    rest = whole.outputs - query
    # keys and values of fewer heads stand in weights of these names
    if rest <= 0 or rest % 2 or (rest != 2 * query and not last.lower().startswith(("qkv_proj", "wqkv"))):
        note = "query, key and value in one weight, divided in no known way"
        return {"whole": replace(whole, kind="dense").noted(note)}, None
    strips = {
        "query": Strips(0, query, query),
        "key": Strips(query, rest // 2, rest // 2),
        "value": Strips(query + rest // 2, rest // 2, rest // 2),
    }
    return _divided(whole, strips, None)


def _divided(whole: Projection, strips: Mapping[str, Strips], heads: Heads | None, note: str = "") -> Parts:
    return {role: _part(whole, role, strips[role], note) for role in _ROLES if role in strips}, heads


def _part(whole: Projection, kind: str, strips: Strips, note: str = "") -> Projection:
    return replace(whole, name=f"{whole.name}.{kind}", kind=kind, strips=strips, kernel=None).noted(note)


def _blocks(widths: Mapping[str, int], heads: Heads) -> dict[str, Strips]:
    """All heads of the first, all heads of the second, and so on."""
    strips, offset = {}, 0
    for role, width in widths.items():
        size = width * (heads.queries if role == "query" else heads.keys)
        strips[role], offset = Strips(offset, size, size), offset + size
    return strips


def _by_head(lengths: Mapping[str, int], count: int) -> dict[str, Strips]:
    """Each head, or group of heads, with its part of the first, of the second, and so on."""
    strips, offset, step = {}, 0, sum(lengths.values())
    for role, length in lengths.items():
        strips[role], offset = Strips(offset, length, step, count), offset + length
    return strips


def _codegen(whole: Projection) -> dict[str, Strips]:
    """CodeGen was trained on four machines: each has its heads' query, then value, then key."""
    step = whole.outputs // _PIECES_OF_CODEGEN
    size = step // 3
    order = ("query", "value", "key")
    return {role: Strips(place * size, size, step, _PIECES_OF_CODEGEN) for place, role in enumerate(order)}


def _heads_of_fused(whole: Projection, settings: Settings, read: int | None, count: int | None) -> Heads | None:
    width = None if count else head_width(settings)
    count = count or query_heads(settings)
    rows = read or whole.outputs // 3
    count = count or rows // (width or rows + 1)
    width = width or rows // max(count, 1)
    if not count or not width or read not in (None, count * width):
        return None
    # what the weight holds beside the queries is keys and values
    rest = whole.outputs // width - count
    keys = rest // 2
    fits = keys > 0 and (count + 2 * keys) * width == whole.outputs and count % keys == 0
    return Heads(count, keys, width, width) if fits else None


def _of_unequal_heads(settings: Settings, outputs: int, read: int | None) -> Heads | None:
    """Heads whose keys are narrower or wider than their values, as the module's own attributes say."""
    count, width = query_heads(settings), settings.own.get("key_dim")
    if not count or not isinstance(width, int):
        return None
    widths = [settings.own.get(name) for name in _VALUE_WIDTHS]
    ratios = [settings.own.get(name) for name in _RATIOS]
    widths += [int(ratio * width) for ratio in ratios if isinstance(ratio, int | float)]
    for value in widths:
        if isinstance(value, int) and count * (2 * width + value) == outputs and read in (None, count * value):
            return Heads(count, count, width, value)
    return None


def _lies_by_head(last: str, whole: Projection, heads: Heads, settings: Settings) -> bool:
    if settings.value("new_decoder_architecture") is True or any(name in _family(settings) for name in _GROUPED):
        return True
    if last == "c_attn":
        return not whole.stored_transposed and settings.value("multi_query") is False
    return last == "linear_qkv" or (last in _HEAD_BY_HEAD and heads.queries == heads.keys)


def _family(settings: Settings) -> str:
    return f"{settings.value('model_type') or ''} {settings.classes[0]}".lower()


def _ways_of_pairs(
    stored: Mapping[str, Projection], settings: Settings
) -> Iterator[tuple[dict[str, Projection], Mapping[str, Strips] | None]]:
    if "key_value" in stored:
        pair, roles, third = stored["key_value"], ("key", "value"), stored["query"]
    elif "query_key" in stored:
        pair, roles, third = stored["query_key"], ("query", "key"), stored["value"]
        if pair.outputs != 2 * third.outputs:
            shared = pair.noted("serves as query and as key")
            yield {"query": replace(shared, kind="query"), "key": replace(shared, kind="query"), "value": third}, {}
    else:
        yield {role: stored[role] for role in _ROLES}, None
        return
    others = {third.kind: third}
    for strips in _halves(pair, roles, settings):
        both = {**others, **{role: _part(pair, role, strips[role]) for role in roles}}
        yield {role: both[role] for role in _ROLES}, strips


def _halves(pair: Projection, roles: tuple[str, str], settings: Settings) -> Iterator[dict[str, Strips]]:
    count, width = query_heads(settings), settings.own.get("key_dim")
    if count and isinstance(width, int) and pair.outputs % count == 0 and pair.outputs // count > width:
        yield _by_head({roles[0]: width, roles[1]: pair.outputs // count - width}, count)
    size = pair.outputs // 2
    yield {role: Strips(place * size, size, size) for place, role in enumerate(roles)}
    if count and size % count == 0:
        yield _by_head(dict.fromkeys(roles, size // count), count)


def _gated(parts: dict[str, Projection], heads: Heads | None) -> dict[str, Projection]:
    if heads is None or not heads.gated:
        return parts
    query, step = parts["query"], 2 * heads.width
    note = "every head's rows of query are followed by as many of its gate"
    halves = {
        kind: _part(query, kind, Strips(place * heads.width, heads.width, step, heads.queries), note)
        for place, kind in enumerate(("query", "gate"))
    }
    return {"query": halves["query"], "key": parts["key"], "value": parts["value"], "gate": halves["gate"]}
