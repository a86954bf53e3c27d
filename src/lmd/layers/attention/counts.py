"""How many heads an attention layer has, and how wide they are."""

from dataclasses import dataclass

from lmd.layers.attention.settings import Settings

__all__ = ["Heads", "head_width", "heads_of", "query_heads"]

_QUERIES = (
    "num_heads",
    "num_attention_heads",
    "n_heads",
    "n_head",
    "heads",
    "nhead",
    "nheads",
    "num_head",
    "n_local_heads",
    "num_q_heads",
    "h",
)
_WIDTH = (
    "head_dim",
    "attention_head_size",
    "head_size",
    "key_value_proj_dim",
    "d_kv",
    "dim_head",
    "d_head",
    "kv_channels",
    "d_k",
    "hidden_size_per_attention_head",
)


@dataclass(frozen=True, slots=True)
class Heads:
    """The heads of one attention layer.

    Attributes:
        queries: number of query heads.
        keys: number of key and value heads, each shared by ``queries / keys`` query heads.
        width: rows of query and key in each head.
        value_width: rows of value in each head.
        gated: whether each head's rows of query are followed by as many of a gate.
    """

    queries: int
    keys: int
    width: int
    value_width: int
    gated: bool = False


def query_heads(settings: Settings) -> int | None:
    """Number of query heads, if anybody says it."""
    half = "decoder" if "decoder" in settings.path else "encoder"
    return settings.count(*_QUERIES) or settings.count(f"{half}_attention_heads")


def head_width(settings: Settings) -> int | None:
    """Rows of query in each head, if anybody says it."""
    return settings.count(*_WIDTH)


def heads_of(
    settings: Settings, query: int, key: int, value: int, read: int | None, *, count: int | None = None
) -> Heads | None:
    """The heads that fit the rows of the projections; None if nobody says how many, or what is said does not fit.

    Args:
        settings: who may know.
        query: rows of the query projection.
        key: rows of the key projection.
        value: rows of the value projection.
        read: columns of the output projection, None without one.
        count: of query heads, instead of what is said.
    """
    if count is not None:
        return _fitting((query, key, value), read, count, None, gated=False)
    said, width = query_heads(settings), head_width(settings)
    guesses = [(said, width)]
    if said and width and read is not None:
        # a width may be said of something else; the output projection tells whether the number of heads alone fits
        guesses.append((said, None))
    for number, wide in guesses:
        for gated in (False, True):
            heads = _fitting((query, key, value), read, number, wide, gated=gated)
            if heads is not None:
                return heads
    return None


def _fitting(
    rows: tuple[int, int, int], read: int | None, count: int | None, width: int | None, *, gated: bool
) -> Heads | None:
    query, key, value = rows
    if query % (1 + gated) or not (count or width):
        return None
    query //= 1 + gated
    count = count or query // (width or 1)
    width = width or query // max(count, 1)
    if not count or not width or count * width != query or key % width:
        return None
    keys = key // width
    if not keys or count % keys or value % keys:
        return None
    value_width = value // keys
    if read is not None and read != count * value_width:
        return None
    return Heads(count, keys, width, value_width, gated)
