"""Multi-head attention: its projections, each head's share of them, and what each head compares and writes."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from torch import nn

from lmd.layers.attention.children import Found, attends, global_roles, projections_of
from lmd.layers.attention.circuits import Attention, circuits
from lmd.layers.attention.counts import Heads, query_heads
from lmd.layers.attention.layouts import Layout, layout_of
from lmd.layers.attention.norms import norm_of
from lmd.layers.attention.omissions import omissions
from lmd.layers.attention.positions import rotary_of
from lmd.layers.attention.projection import Projection, Strips
from lmd.layers.attention.remarks import left_out
from lmd.layers.attention.settings import settings_around, settings_of
from lmd.layers.attention.stored import stored_projection
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.registry import claims, join, register
from lmd.sources.network import Network

__all__ = ["attention_by_structure", "multihead_attention"]

_UNKNOWN = "the number of heads is not known; --kind GLOB=heads:N gives it"
_GLOBAL = "of the tokens that see all others"


@claims(attends)
def attention_by_structure(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """Query, key, value, gate and output under their modules' own names, then each head's circuits as views of them.

    Found by the names of children, whatever library they are from.
    """
    found = projections_of(module)
    assert found is not None, "claimed"
    settings = settings_around(module, path, found.inside, network)
    layout = layout_of(module, path, found, settings, network)
    everywhere = _global(layout, path, found, network)
    yield from _rows([*layout.rows, *everywhere.values()], network, "")
    if layout.heads is None or not network.wishes.parts:
        return
    place = join(path, found.inside) if found.inside else path
    rotary = rotary_of(found.owner, place, settings, layout.heads, network)
    query_norm, key_norm, value_norm = (
        norm_of(found.owner, place, role, settings, layout.heads, network) for role in ("query", "key", "value")
    )
    about, missing = omissions(layout, found, path, network), left_out(found, path, network)
    for where, roles in ((path, layout.roles), (join(path, "global"), everywhere)):
        if roles:
            query, key, value = (roles[role].in_use() for role in ("query", "key", "value"))
            output = layout.roles["output"].in_use() if "output" in layout.roles else None
            norms = (query_norm, key_norm, value_norm)
            attention = Attention(where, query, key, value, output, layout.heads, rotary, norms, missing)
            shown = (row for row in circuits(attention, network.wishes) if row.kind not in layout.missing)
            yield from (_said(row, about, roles, guessed=layout.guessed) for row in shown)


def _global(layout: Layout, path: str, found: Found, network: Network) -> dict[str, Projection]:
    """The second set of projections, where there is one and the heads are known."""
    below = global_roles(found) if layout.heads is not None else {}
    return {role: stored_projection(path, child, role, network).noted(_GLOBAL) for role, child in below.items()}


def _said(row: LayerMatrix, about: Mapping[str, str], roles: Mapping[str, Projection], *, guessed: bool) -> LayerMatrix:
    sources = ("query", "key") if row.kind == "query_key" else ("value",)
    guessed = guessed or any(roles[source].confidence == "guess" for source in sources)
    note = "; ".join(filter(None, (row.note, about[row.kind])))
    return replace(row, note=note, confidence="guess" if guessed else row.confidence)


@register
def multihead_attention(module: nn.MultiheadAttention, path: str, network: Network) -> Iterator[LayerMatrix]:
    """Query, key, value ``(embed, in)`` and output ``(embed, embed)``, each head as a view of them, and its circuits.

    A head reads with its rows of query, key and value and writes with its columns of the output.
    """
    projections = [*_inputs(module, path, network), _output(module, path, network)]
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
        yield Projection(_named(module, path, kind, f"in_proj.{kind}"), kind, weight, bias, Strips(0, width, width))


def _named(module: nn.MultiheadAttention, path: str, name: str, other: str) -> str:
    """A name for a row; another one where a child of a subclass has it."""
    return join(path, other if name in module._modules else name)


def _output(module: nn.MultiheadAttention, path: str, network: Network) -> Projection:
    weight, bias = network.loader(join(path, "out_proj.weight")), network.loaders.get(join(path, "out_proj.bias"))
    rows = weight.shape[0]
    return Projection(
        _named(module, path, "output", "out_proj"), "attention_output", weight, bias, Strips(0, rows, rows)
    )
