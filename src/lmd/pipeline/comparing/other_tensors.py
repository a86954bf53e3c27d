"""Parameters that are in no layer matrix, biases above all: equal or not."""

from typing import Any

import torch

from lmd.layers.updates.matching import plain
from lmd.layers.walk import Walk
from lmd.pipeline.comparing.over_time import LAYER_FAULTS
from lmd.sources.network import Network

__all__ = ["other_tensors"]


def other_tensors(earlier: Network, later: Network, before: Walk, after: Walk) -> list[dict[str, Any]]:
    """Name, status and relative change of every other parameter; one that only one of them has is unmatched."""
    old, new = _rest(earlier, before), _rest(later, after)
    found = [_compared(earlier, old[name], later, new[name], name) for name in new if name in old]
    lone = [(name, "the earlier model has none of this name") for name in new if name not in old]
    # a set of adapters leaves most of its base as it is
    few = "adapter_config" in later.facts
    lone += [(name, "the later model has none of this name") for name in old if name not in new and not few]
    return found + [{"name": n, "status": "unmatched", "relative_change": None, "reason": why} for n, why in lone]


def _rest(network: Network, found: Walk) -> dict[str, str]:
    """Plain name to own name."""
    taken = {name for row in found.layers for name in row.loader.tensors}
    records = (r for r in network.records if r.role == "parameter" and r.name not in taken)
    return {plain(r.name): r.name for r in records if r.name in network.loaders}


def _compared(earlier: Network, old: str, later: Network, new: str, name: str) -> dict[str, Any]:
    try:
        A, B = earlier.loaders[old]().double(), later.loaders[new]().double()
    except LAYER_FAULTS as fault:
        return {"name": name, "status": "failed", "relative_change": None, "reason": str(fault)}
    if A.shape != B.shape:
        sizes = " and ".join(" x ".join(map(str, one.shape)) for one in (A, B))
        return {"name": name, "status": "unmatched", "relative_change": None, "reason": f"of shapes {sizes}"}
    if torch.equal(A, B):
        return {"name": name, "status": "equal", "relative_change": 0.0, "reason": ""}
    size = A.norm().item()
    change = (B - A).norm().item() / size if size else None
    return {"name": name, "status": "changed", "relative_change": change, "reason": "" if size else "it was zero"}
