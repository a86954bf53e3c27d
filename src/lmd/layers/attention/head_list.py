"""Attention with a module for each head."""

from collections.abc import Iterator
from dataclasses import replace

from torch import nn

from lmd.layers.attention.children import Child, inputs_of, outputs_beside, outputs_of, projections_of
from lmd.layers.attention.circuits import Attention, circuits
from lmd.layers.attention.counts import Heads
from lmd.layers.attention.projection import Projection, Strips
from lmd.layers.attention.stored import bends, stored_projection
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.registry import claims
from lmd.sources.joined import Joined
from lmd.sources.network import Network

__all__ = ["list_of_heads"]

_ROLES = ("query", "key", "value")
_NO_OUTPUT = "no value_output: beside the heads stands no output that reads all of them"


def _has_a_list_of_heads(module: nn.Module) -> bool:
    """A list of modules with a query, a key and a value of one head each, with or without an output beside it."""
    return _heads_below(module) is not None


@claims(_has_a_list_of_heads)
def list_of_heads(module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    """Query, key and value of every head and the output, then the circuits; a head writes with its columns."""
    found = _heads_below(module)
    assert found is not None, "claimed"
    heads = [{role: stored_projection(path, head[role], role, network) for role in _ROLES} for head in found]
    beside = _output(module, heads[0]["value"].outputs * len(heads))
    output = None if beside is None else stored_projection(path, beside, "output", network)
    for head in heads:
        for role in _ROLES:
            text = _NO_OUTPUT if role == "value" and output is None else ""
            yield head[role].noted(text).row(fold_bias=network.wishes.fold_bias)
    if output is not None:
        yield output.row(fold_bias=network.wishes.fold_bias)
    if network.wishes.parts:
        yield from _circuits(path, heads, output, network)


def _circuits(
    path: str, heads: list[dict[str, Projection]], output: Projection | None, network: Network
) -> Iterator[LayerMatrix]:
    query, key, value = (_together([head[role].in_use() for head in heads]) for role in _ROLES)
    width, value_width = heads[0]["query"].outputs, heads[0]["value"].outputs
    attention = Attention(path, query, key, value, output, Heads(len(heads), len(heads), width, value_width))
    for row in circuits(attention, network.wishes):
        head = int(row.name.rpartition(".")[2])
        # the circuit of a head is a view of that head's own query
        yield replace(row, view_of=heads[head]["query"].name if row.kind == "query_key" else row.view_of)


def _together(parts: list[Projection]) -> Projection:
    first, outputs = parts[0], sum(part.outputs for part in parts)
    biases = [part.bias for part in parts if part.bias is not None]
    bias = Joined(tuple(biases)) if len(biases) == len(parts) else None
    weight = Joined(tuple(part.weight for part in parts), int(first.stored_transposed))
    return replace(first, weight=weight, bias=bias, strips=Strips(0, outputs, outputs), kernel=None, groups=1)


def _heads_below(module: nn.Module) -> list[dict[str, Child]] | None:
    for name, child in module.named_children():
        members = list(child.named_children())
        if not members or any(not index.isdigit() for index, _ in members):
            continue
        heads = [(index, member, projections_of(member)) for index, member in members]
        roles = [
            {role: below.below(f"{name}.{index}") for role, below in found.roles.items()}
            for index, _, found in heads
            if found is not None and set(found.roles) == set(_ROLES) and not found.inside
        ]
        if len(roles) == len(members) and _are_heads(name, members, roles, module):
            return roles
    return None


def _are_heads(
    name: str, members: list[tuple[str, nn.Module]], roles: list[dict[str, Child]], module: nn.Module
) -> bool:
    sizes = {tuple(outputs_of(head[role].module) for role in _ROLES) for head in roles}
    if len(sizes) != 1 or any(bends(head[role]) for head in roles for role in _ROLES):
        return False
    query, key, value = sizes.pop()
    named = "head" in name.lower() or all("head" in type(member).__name__.lower() for _, member in members)
    fits = len(members) > 1 and _output(module, (value or 0) * len(members)) is not None
    return query == key and (named or fits)


def _output(module: nn.Module, inputs: int) -> Child | None:
    found = outputs_beside(module)
    return next((child for child in found if inputs_of(child.module) == inputs and not child.before), None)
