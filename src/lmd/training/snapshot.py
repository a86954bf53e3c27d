"""One look at the layers of a live module, which leaves no trace in it."""

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.walk import walk
from lmd.linalg.threads import fitting_threads
from lmd.pipeline.comparing.over_time import LAYER_FAULTS, cheap_findings
from lmd.sources.loaders import Held
from lmd.sources.torch_module import from_module
from lmd.sources.wishes import Wishes

__all__ = ["Snapshot", "layers_of_module", "snapshot"]

Snapshot = dict[str, dict[str, Any]]


def layers_of_module(model: nn.Module, glob: str) -> tuple[LayerMatrix, ...]:
    """Its whole layers; they read the live parameters whenever they are loaded.

    Raises:
        ValueError: the glob fits none of them.
    """
    with torch.random.fork_rng(), torch.no_grad():
        network = replace(from_module(model), wishes=Wishes(parts=False))
        rows = [row for row in walk(network).layers if row.view_of is None]
    chosen = tuple(row for row in rows if fnmatchcase(row.name, glob) and 0 not in row.shape)
    if not chosen:
        some = ", ".join(row.name for row in rows[:4]) or "none"
        raise ValueError(f"layers={glob!r} fits none of the {len(rows)} layers; names look like {some}.")
    return chosen


def snapshot(layers: tuple[LayerMatrix, ...], start: Mapping[str, Tensor]) -> Snapshot:
    """Layer to key to value, baseline and error; a layer that cannot be measured has a reason alone.

    Args:
        layers: of the live module.
        start: matrices from which the change is told; may be empty.
    """
    with torch.no_grad():
        return {row.name: _seen(row, start.get(row.name)) for row in layers}


def _seen(row: LayerMatrix, start: Tensor | None) -> dict[str, Any]:
    try:
        W = row.load().detach().to("cpu")
        held = W if row.groups == 1 else torch.stack(list(row.blocks())).detach().to("cpu")
        here = LayerMatrix(row.name, row.kind, row.shape, Held(row.name, held), groups=row.groups)
        with fitting_threads((row.full_rank, max(row.shape))):
            found = {key: _short(number) for key, number in cheap_findings(here).items()}
        return {**found, **({"relative_change": _change(W, start)} if start is not None else {})}
    except LAYER_FAULTS as fault:
        return {"reason": f"{type(fault).__name__}: {fault}"}


def _short(number: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: number[key] for key in ("value", "baseline", "error")}
    return {**kept, **({"reason": number["reason"]} if number["reason"] else {})}


def _change(W: Tensor, start: Tensor) -> dict[str, Any]:
    before = start.double()
    size, change = before.norm().item(), (W.double() - before).norm().item()
    if size == 0:
        return {"value": None, "baseline": None, "error": None, "reason": "the layer was zero at the start"}
    unrelated = (1 + (W.double().norm().item() / size) ** 2) ** 0.5
    return {"value": change / size, "baseline": unrelated, "error": 2.0**-50 * (1 + change / size)}
