"""Multi-head attention: its projections, each head's share of them, and what each head compares and writes."""

from collections.abc import Iterator
from dataclasses import replace

from torch import nn

from lmd.layers.attention.children import attends
from lmd.layers.attention.circuits import Attention, circuits
from lmd.layers.attention.counts import Heads, query_heads
from lmd.layers.attention.layouts import layout_of
from lmd.layers.attention.norms import norm_of
from lmd.layers.attention.positions import rotary_of
from lmd.layers.attention.projection import Projection, Strips
from lmd.layers.attention.remarks import left_out
from lmd.layers.attention.settings import settings_of
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.registry import claims, join, register
from lmd.sources.network import Network

__all__ = ["attention_by_structure", "multihead_attention"]

_UNKNOWN = "the number of heads is not known"


@claims(attends)
def attention_by_structure(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """Query, key, value, gate and output under their modules' own names, then each head's circuits as views of them.

    Found by the names of children, whatever library they are from.
    """
    settings = settings_of(module, path, network)
    projections, heads = layout_of(module, path, settings, network)
    yield from _rows(projections, network, "" if heads else _UNKNOWN)
    by_kind = {projection.kind: projection for projection in projections}
    if heads is None or not network.wishes.parts:
        return
    rotary = rotary_of(module, path, settings, heads, network)
    query_norm, key_norm, value_norm = (
        norm_of(module, path, role, settings, heads, network) for role in ("query", "key", "value")
    )
    attention = Attention(
        path=path,
        query=by_kind["query"],
        key=by_kind["key"],
        value=by_kind["value"],
        output=by_kind.get("attention_output"),
        heads=heads,
        rotary=rotary,
        norms=(query_norm, key_norm, value_norm),
        left_out=left_out(module, path, network),
    )
    yield from circuits(attention, network.wishes)


@register
def multihead_attention(module: nn.MultiheadAttention, path: str, network: Network) -> Iterator[LayerMatrix]:
    """Query, key, value ``(embed, in)`` and output ``(embed, embed)``, each head as a view of them, and its circuits.

    A head reads with its rows of query, key and value and writes with its columns of the output.
    """
    projections = [*_inputs(module, path, network), _output(path, network)]
    # a bare file does not tell the number of heads, its config.json may
    bare = path in network.readings
    count = query_heads(settings_of(module, path, network)) if bare else module.num_heads
    size = projections[0].outputs
    if not network.wishes.parts or not count or size % count:
        yield from _rows(projections, network, "" if count else _UNKNOWN)
        return
    width = size // count
    for projection in projections:
        yield projection.row(fold_bias=network.wishes.fold_bias)
        for head in range(count if count > 1 else 0):
            yield projection.part(head, width, fold_bias=network.wishes.fold_bias)
    query, key, value, output = projections
    heads = Heads(count, count, width, width)
    missing = "bias_k, bias_v of the layer left out" if module.bias_k is not None else ""
    yield from circuits(Attention(path, query, key, value, output, heads, left_out=missing), network.wishes)


def _rows(projections: list[Projection], network: Network, note: str) -> Iterator[LayerMatrix]:
    for projection in projections:
        text = "; ".join(filter(None, (projection.note, note)))
        yield replace(projection, note=text).row(fold_bias=network.wishes.fold_bias)


def _inputs(module: nn.MultiheadAttention, path: str, network: Network) -> Iterator[Projection]:
    width = module.embed_dim
    packed = network.loaders.get(join(path, "in_proj_weight"))
    biases = network.loaders.get(join(path, "in_proj_bias"))
    for index, kind in enumerate(("query", "key", "value")):
        bias = None if biases is None else biases.narrow(0, index * width, width)
        if packed is not None:
            weight = packed.narrow(0, index * width, width)
        else:
            weight = network.loader(join(path, f"{kind[0]}_proj_weight"))
        yield Projection(join(path, kind), kind, weight, bias, Strips(0, width, width))


def _output(path: str, network: Network) -> Projection:
    weight, bias = network.loader(join(path, "out_proj.weight")), network.loaders.get(join(path, "out_proj.bias"))
    rows = weight.shape[0]
    return Projection(join(path, "output"), "attention_output", weight, bias, Strips(0, rows, rows))
