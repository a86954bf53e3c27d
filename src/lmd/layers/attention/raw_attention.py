"""Attention whose weights are parameters of the module itself, with an axis of heads."""

from collections.abc import Iterator
from dataclasses import replace

from torch import nn

from lmd.layers.attention.circuits import Attention, circuits
from lmd.layers.attention.counts import Heads
from lmd.layers.attention.pieces import HeadStack
from lmd.layers.attention.positions import Rotary
from lmd.layers.attention.projection import Projection, Strips
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.registry import claims, join, own_shapes
from lmd.linalg.rotary import rotary_frequencies
from lmd.sources.loaders import Loader
from lmd.sources.network import Network

__all__ = ["raw_attention"]

Axes = tuple[int, int]
"""That of the heads, that of what each head has."""

_WITH_HEADS_FIRST: dict[str, tuple[str, Axes]] = {
    "query": ("W_Q", (0, 2)),
    "key": ("W_K", (0, 2)),
    "value": ("W_V", (0, 2)),
    "attention_output": ("W_O", (0, 1)),
}
"""As in TransformerLens: ``(heads, model, head)``, the output ``(heads, head, model)``."""
_WITH_HEADS_BETWEEN: dict[str, tuple[str, Axes]] = {
    "query": ("q", (1, 2)),
    "key": ("k", (1, 2)),
    "value": ("v", (1, 2)),
    "attention_output": ("o", (1, 2)),
}
"""As in XLNet: ``(model, heads, head)``, the output too."""
_BIASES = {"query": ("b_Q", "r_w_bias"), "key": ("b_K", "_b_K"), "value": ("b_V", "_b_V")}
_BY_POSITION = ("r", "r_r_bias", "r_s_bias", "seg_embed")
_PRODUCT = 3
"""Axes of a weight."""


def _holds_heads(module: nn.Module) -> bool:
    """A module that owns 3-D `W_Q`, `W_K`, `W_V`, `W_O`, or `q`, `k`, `v`, `o`, with an axis of heads."""
    return _heads(module) is not None


@claims(_holds_heads)
def raw_attention(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """Query, key and value ``(heads * head, model)``, output ``(model, heads * head)``, and each head's circuits."""
    found = _heads(module)
    assert found is not None, "claimed"
    names, heads = found
    parts = [_projection(module, path, kind, name, axes, network) for kind, (name, axes) in names.items()]
    if path in network.readings:
        parts = [replace(part, confidence="siblings").noted("by names and shapes an attention") for part in parts]
    for part in parts:
        yield part.row(fold_bias=network.wishes.fold_bias)
    if not network.wishes.parts:
        return
    query, key, value, output = parts
    added = [name for name in _BY_POSITION if name in module._parameters and "W_Q" not in names["query"]]
    about = f"what is added by position is left out ({', '.join(added)})" if added else ""
    attention = Attention(path, query, key, value, output, heads, _rotary(module, heads))
    for row in circuits(attention, network.wishes):
        text = about if row.kind == "query_key" else ""
        note = "; ".join(filter(None, (row.note, text)))
        yield replace(row, note=note, confidence=query.confidence)


def _heads(module: nn.Module) -> tuple[dict[str, tuple[str, Axes]], Heads] | None:
    own = own_shapes(module)
    for layout in (_WITH_HEADS_FIRST, _WITH_HEADS_BETWEEN):
        # keys and values of fewer heads have another name in TransformerLens, which repeats them under this one
        names = {kind: (f"_{n}" if f"_{n}" in own else n, axes) for kind, (n, axes) in layout.items()}
        if all(len(own.get(name, ())) == _PRODUCT for name, _ in names.values()):
            sizes = {kind: tuple(own[name][axis] for axis in axes) for kind, (name, axes) in names.items()}
            rest = {kind: own[name][_PRODUCT - sum(axes)] for kind, (name, axes) in names.items()}
            if _fit(sizes, rest):
                (count, width), (keys, _), (_, value_width) = (sizes[kind] for kind in ("query", "key", "value"))
                return names, Heads(count, keys, width, value_width)
    return None


def _fit(sizes: dict[str, tuple[int, ...]], rest: dict[str, int]) -> bool:
    query, key, value, output = (sizes[kind] for kind in ("query", "key", "value", "attention_output"))
    fit = query[1] == key[1] and key[0] == value[0] and query[0] % key[0] == 0 and output == (query[0], value[1])
    return fit and rest["key"] == rest["value"] and rest["query"] == rest["attention_output"]


def _projection(module: nn.Module, path: str, kind: str, name: str, axes: Axes, network: Network) -> Projection:
    stored = network.loader(join(path, name))
    stack = HeadStack(stored, *axes)
    biases = (network.loaders.get(join(path, b)) for b in _BIASES.get(kind, ()) if b in module._parameters)
    found = next((b for b in biases if b is not None and b.shape == tuple(stored.shape[axis] for axis in axes)), None)
    bias: Loader | None = None if found is None else HeadStack(found, 0, 1)
    note = f"stored {' x '.join(map(str, stored.shape))}, heads along axis {axes[0]}"
    is_output = kind == "attention_output"
    size = stack.shape[1 if is_output else 0]
    return Projection(join(path, name), kind, stack, bias, Strips(0, size, size), is_output, note)


def _rotary(module: nn.Module, heads: Heads) -> Rotary | None:
    """TransformerLens says in ``cfg`` whether and how positions turn."""
    settings = vars(module).get("cfg")
    if getattr(settings, "positional_embedding_type", "") != "rotary":
        return None
    width, base = getattr(settings, "rotary_dim", None) or heads.width, getattr(settings, "rotary_base", None)
    interleaved = bool(getattr(settings, "rotary_adjacent_pairs", False))
    if base is None or getattr(settings, "use_NTK_by_parts_rope", False):
        return Rotary((), interleaved, reason="its frequencies are stretched in a way that is not known here")
    return Rotary(rotary_frequencies(width, float(base), {}), interleaved)
