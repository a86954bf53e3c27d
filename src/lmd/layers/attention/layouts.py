"""Where the outputs of query, key and value lie in the weights that an attention layer stores."""

from dataclasses import replace

from torch import nn

from lmd.layers.attention.children import projections_below
from lmd.layers.attention.counts import Heads, head_width, heads_of, query_heads
from lmd.layers.attention.projection import Projection, Strips
from lmd.layers.attention.settings import Settings
from lmd.layers.registry import join
from lmd.sources.network import Network
from lmd.sources.skeleton import is_stored_transposed

__all__ = ["Layout", "layout_of"]

Layout = tuple[list[Projection], Heads | None]
_PARTS = ("query", "key", "value")
_INTERLEAVED = ("query_key_value",)
"""Names of fused projections whose heads lie one behind the other, each with its query, key and value."""
_GROUPED = ("internlm2",)
_PIECES_OF_CODEGEN = 4


def layout_of(module: nn.Module, path: str, settings: Settings, network: Network) -> Layout:
    """The projections of a module, output last, and its heads if they are known.

    Raises:
        KeyError: a weight that the module has is not in the file.
    """
    stored = {
        role: _whole(join(path, below), child, role, network)
        for role, (below, child) in projections_below(module).items()
    }
    output = stored.get("output")
    read = output.inputs if output else None
    if "query_key_value" in stored:
        parts, heads = _fused(stored["query_key_value"], settings, read)
    elif "key_value" in stored:
        parts, heads = _separate([stored["query"], *_halves(stored["key_value"])], settings, read)
    else:
        parts, heads = _separate([stored[part] for part in _PARTS], settings, read)
    return [*parts, *([output] if output else [])], heads


def _whole(path: str, module: nn.Module, role: str, network: Network) -> Projection:
    weight, turned = network.loader(join(path, "weight")), is_stored_transposed(module)
    outputs = weight.shape[1 if turned else 0]
    kind = "attention_output" if role == "output" else role
    bias = network.loaders.get(join(path, "bias"))
    return Projection(path, kind, weight, bias, Strips(0, outputs, outputs), turned)


def _separate(parts: list[Projection], settings: Settings, read: int | None) -> Layout:
    query, key, value = parts
    heads = heads_of(settings, query.outputs, key.outputs, value.outputs, read)
    if heads is None or not heads.gated:
        return parts, heads
    step, note = 2 * heads.width, "every head's rows of query are followed by as many of its gate"
    halves = [
        _part(query, kind, Strips(place * heads.width, heads.width, step, heads.queries), note)
        for place, kind in enumerate(("query", "gate"))
    ]
    return [halves[0], key, value, halves[1]], heads


def _part(stored: Projection, kind: str, strips: Strips, note: str = "") -> Projection:
    return replace(stored, name=f"{stored.name}.{kind}", kind=kind, strips=strips, note=note)


def _halves(stored: Projection) -> list[Projection]:
    size = stored.outputs // 2
    return [_part(stored, kind, Strips(place * size, size, size)) for place, kind in enumerate(("key", "value"))]


def _fused(stored: Projection, settings: Settings, read: int | None) -> Layout:
    """Query, key and value of one weight; the weight as it is, without heads, where nobody says how it is divided."""
    heads = _heads_of_fused(stored, settings, read)
    last = stored.name.rpartition(".")[2]
    if heads is None:
        return _unknown(stored, last, read)
    if "codegen" in _family(settings):
        strips = _codegen(stored)
    elif _by_head(last, heads, settings):
        strips = _interleaved(heads)
    else:
        strips = _blocks(heads.queries * heads.width, heads.keys * heads.width)
    return [_part(stored, kind, strip) for kind, strip in zip(_PARTS, strips, strict=True)], heads


def _heads_of_fused(stored: Projection, settings: Settings, read: int | None) -> Heads | None:
    count, width = query_heads(settings), head_width(settings)
    rows = read or stored.outputs // 3
    count = count or rows // (width or rows + 1)
    width = width or rows // max(count, 1)
    if not count or not width or read not in (None, count * width):
        return None
    # what the weight holds beside the queries is keys and values
    rest = stored.outputs // width - count
    keys = rest // 2
    fits = keys > 0 and (count + 2 * keys) * width == stored.outputs and count % keys == 0
    return Heads(count, keys, width, width) if fits else None


def _by_head(last: str, heads: Heads, settings: Settings) -> bool:
    if settings.value("new_decoder_architecture") is True or any(name in _family(settings) for name in _GROUPED):
        return True
    if last == "c_attn":
        return settings.value("multi_query") is False
    return last in _INTERLEAVED and heads.queries == heads.keys


def _family(settings: Settings) -> str:
    return f"{settings.value('model_type') or ''} {settings.classes[0]}".lower()


def _blocks(query: int, key: int) -> tuple[Strips, Strips, Strips]:
    return Strips(0, query, query), Strips(query, key, key), Strips(query + key, key, key)


def _interleaved(heads: Heads) -> tuple[Strips, Strips, Strips]:
    width, shared = heads.width, heads.queries // heads.keys
    step = (shared + 2) * width
    return (
        Strips(0, shared * width, step, heads.keys),
        Strips(shared * width, width, step, heads.keys),
        Strips((shared + 1) * width, width, step, heads.keys),
    )


def _codegen(stored: Projection) -> tuple[Strips, Strips, Strips]:
    """CodeGen was trained on four machines: each has its heads' query, then value, then key."""
    step = stored.outputs // _PIECES_OF_CODEGEN
    size = step // 3
    query, value, key = (Strips(place * size, size, step, _PIECES_OF_CODEGEN) for place in range(3))
    return query, key, value


def _unknown(stored: Projection, last: str, read: int | None) -> Layout:
    if last in _INTERLEAVED or (read is None and stored.outputs != 3 * stored.inputs):
        note = "query, key and value in one weight; how many heads divide it is not known"
        return [replace(stored, kind="dense", note=note)], None
    query = read or stored.inputs
    rest = stored.outputs - query
    if rest <= 0 or rest % 2:
        return [replace(stored, kind="dense", note="query, key and value in one weight, divided in no known way")], None
    strips = _blocks(query, rest // 2)
    return [_part(stored, kind, strip) for kind, strip in zip(_PARTS, strips, strict=True)], None
