"""Tensors that serve twice: what they are under their other names."""

from dataclasses import replace

from torch import nn

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.registry import matrices_of
from lmd.sources.network import Network
from lmd.sources.reading import TensorRecord

__all__ = ["other_roles"]


def other_roles(network: Network) -> dict[str, list[str]]:
    """Tensor name to its other names, each with the kind it has there: ``lm_head.weight (dense)``."""
    tied = [record for record in network.records if record.role == "tied"]
    if not tied:
        return {}
    modules = dict(network.skeleton.named_modules(remove_duplicate=False))
    places = {path: place for place, path in network.names.items()}
    known = {r.name: network.loaders[r.tied_to] for r in tied if r.tied_to in network.loaders}
    # a twin that the file leaves out is asked about with the numbers of the first
    asked = replace(network, loaders={**known, **network.loaders})
    roles: dict[str, list[str]] = {}
    for record in tied:
        owner = record.name.rpartition(".")[0]
        module = modules.get(places.get(owner, owner))
        roles.setdefault(record.tied_to, []).append(f"{record.name}{_kind(module, owner, record, asked)}")
    return roles


def _kind(module: nn.Module | None, path: str, record: TensorRecord, network: Network) -> str:
    if module is None:
        return ""
    kinds = (row.kind for row in _rows(module, path, network) if {record.name, record.tied_to} & {*row.loader.tensors})
    return f" ({next(kinds, type(module).__name__)})"


def _rows(module: nn.Module, path: str, network: Network) -> list[LayerMatrix]:
    try:
        return list(matrices_of(module, path, network))
    except KeyError:
        # the architecture names a tensor that the file leaves out
        return []
