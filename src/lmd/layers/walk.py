"""A whole Network to its layer matrices, and the reason for every tensor that none holds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from torch import nn
from torch.nn.parameter import UninitializedParameter

from lmd.layers.bias import with_constant
from lmd.layers.complex_maps import as_real_maps, complex_tensors
from lmd.layers.folding import folded
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.parametrised_note import parametrised_note
from lmd.layers.registry import Kind, load_kinds, matrices_of, remaining
from lmd.layers.tied import other_roles
from lmd.sources.coverage import BIAS
from lmd.sources.network import Network
from lmd.sources.reading import Reading

__all__ = ["Walk", "walk"]


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """The layer matrices of a network in depth order, and why other tensors are in none.

    Attributes:
        layers: every row, views right behind the row they are a part of.
        reasons: tensor name to why no kind took it.
    """

    layers: tuple[LayerMatrix, ...]
    reasons: Mapping[str, str]


def walk(network: Network) -> Walk:
    """Ask the kinds about every module, parents first; a tensor taken by a parent is not taken again."""
    load_kinds()
    layers: list[LayerMatrix] = []
    # a tied tensor is decomposed once, under its first name
    taken = {record.name for record in network.records if record.role == "tied"}
    # codes are no numbers
    refused = {record.name for record in network.records if record.role == "parameter" and record.reason}
    twins, unreal = other_roles(network), complex_tensors(network)
    reasons: dict[str, str] = {}
    orders = _orders(network)
    readings = {tensor: reading for reading in network.readings.values() for tensor in reading.roles.values()}
    for place, module in network.skeleton.named_modules():
        path = network.names.get(place, place)
        own = network.readings.get(path)
        claimed = False
        for ask in (matrices_of, remaining):
            fresh = [
                row
                for row in as_real_maps(_rows(ask, module, path, network), unreal)
                if not taken >= set(row.loader.tensors) and refused.isdisjoint(row.loader.tensors)
            ]
            rows = [
                _noted(
                    row,
                    own or readings.get(row.loader.tensors[0]),
                    twins,
                    next((orders[one] for one in row.loader.tensors if one in orders), parametrised_note(row, module)),
                )
                for row in fresh
            ]
            layers.extend(rows)
            claimed = claimed or bool(rows)
            # a view may look at tensors of other layers (the gain of a norm): it takes none
            taken.update(name for row in rows if row.view_of is None for name in _tensors(row))
        reasons.update(_reasons(module, path, network, claimed=claimed))
    rows = folded(layers, network) if network.wishes.fold_norm else tuple(layers)
    if network.wishes.fold_bias:
        rows = tuple(with_constant(row) for row in rows)
        taken.update(name for row in rows if row.view_of is None for name in _tensors(row))
    return Walk(rows, {name: reason for name, reason in reasons.items() if name not in taken})


def _orders(network: Network) -> dict[str, str]:
    """What is said of the order of numbers, by tensor."""
    said: dict[str, str] = {}
    for fact, note in _ORDERS.items():
        names = network.facts.get(fact)
        for tensor in names if isinstance(names, list) else ():
            said[tensor] = f"{said[tensor]}; {note}" if tensor in said else note
    return said


def _tensors(row: LayerMatrix) -> tuple[str, ...]:
    return row.loader.tensors if row.bias is None else (*row.loader.tensors, *row.bias.tensors)


def _rows(ask: Kind, module: nn.Module, path: str, network: Network) -> Iterator[LayerMatrix]:
    try:
        yield from ask(module, path, network)
    except KeyError:
        # the architecture names a tensor that the file leaves out, or that could not be read; its record says why
        return


_ORDERS = {
    "sorted back": "rows within a head sorted from ggml's order to that of Hugging Face; a file that was not sorted is "
    "so now",
    "left as stored": "rows within a head as in the file, which the model.safetensors beside it has in the same order",
    "left in ggml's order": "rows within a head in ggml's order, since an adapter does not tell the number of heads; "
    "--base sorts them back",
    "order of rows not known": "rows within a head as in the file; whether they were sorted is not known",
    "scales in big-endian order": "scales of blocks were taken as big-endian, as the file calls itself; a tool that "
    "left them little-endian makes numbers without meaning, NaN or Inf",
}
"""What a row says, by the fact that lists its tensor."""


def _noted(row: LayerMatrix, reading: Reading | None, twins: Mapping[str, list[str]], more: str) -> LayerMatrix:
    tied = ", ".join(twin for name in row.loader.tensors for twin in twins.get(name, ()))
    texts = (row.note, more, reading.reason if reading else "", f"tied: serves as {tied} too" if tied else "")
    note = "; ".join(text for text in texts if text)
    if reading is None or reading.kind == "raw":
        return replace(row, note=note)
    if row.confidence == "guess":
        # how the file was read may be certain, what the kind makes of it is not
        others = tuple(dict.fromkeys((*row.alternatives, *reading.alternatives)))
        return replace(row, alternatives=others, note=note)
    return replace(row, confidence=reading.confidence, alternatives=reading.alternatives, note=note)


def _reasons(module: nn.Module, path: str, network: Network, *, claimed: bool) -> Iterator[tuple[str, str]]:
    bare = path in network.readings
    prefix = f"{path}." if path else ""
    kind = f"{type(module).__module__}.{type(module).__qualname__}"
    for name, tensor in module.named_parameters(recurse=False):
        if isinstance(tensor, UninitializedParameter) or (bare and not tensor.is_complex()):
            continue
        if "bias" in name and name not in {"bias_k", "bias_v"}:
            yield f"{prefix}{name}", BIAS
        elif tensor.is_complex():
            yield f"{prefix}{name}", f"complex numbers; no layer kind knows what {kind} makes of their two parts"
        elif tensor.ndim > 1 and claimed:
            yield f"{prefix}{name}", f"the layer kind for {kind} takes other tensors of it"
        elif tensor.ndim > 1:
            yield f"{prefix}{name}", f"no layer kind for {kind}, which owns it"
        else:
            yield f"{prefix}{name}", f"no layer kind for {kind}, and its {name!r} is no matrix"
