"""Adapters that put trained rows in the place of some rows of a table: peft's trainable tokens."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.thin_product import ThinProduct, stacked
from lmd.layers.updates.against_base import with_base
from lmd.layers.updates.setting import Setting, misfit, pending, without_update
from lmd.sources.adapter_names import AdapterTensors
from lmd.sources.derived_loaders import Borrowed
from lmd.sources.loaders import Combined
from lmd.sources.network import Network

__all__ = ["replaced_rows"]


def replaced_rows(one: AdapterTensors, setting: Setting, network: Network) -> LayerMatrix:
    """The trained rows less those they stand in for, at their places in the table; of rank at most their number."""
    places = _places(setting.config, one.target)
    count = one.shapes["trainable_tokens_delta"][0]
    if places is None or len(places) != count:
        return without_update(one, setting, f"which {count} rows of the table were trained is not told")
    part = network.loader(one.roles["trainable_tokens_delta"])
    completed = partial(_completed, one=one, setting=setting, places=places, part=part)
    return pending(one, setting, completed, f"{count} trained rows in the place of others")


def _places(config: Mapping[str, Any], target: str) -> tuple[int, ...] | None:
    told = config.get("token_indices") or config.get("trainable_token_indices")
    if isinstance(told, Mapping):
        path = target.removesuffix(".token_adapter")
        told = next((places for name, places in told.items() if path == name or path.endswith(f".{name}")), None)
    fits = isinstance(told, list) and all(type(place) is int and place >= 0 for place in told)
    return tuple(told) if fits and isinstance(told, list) else None


def _completed(
    base: LayerMatrix, *, one: AdapterTensors, setting: Setting, places: tuple[int, ...], part: Any
) -> LayerMatrix:
    out, inn = base.shape
    if type(base).load is not LayerMatrix.load or base.groups > 1 or part.shape[1] != out or max(places) >= inn:
        return misfit(one, setting, base, "the trained rows")
    form = partial(_moved, places=places, base=base.form, size=base.shape)
    loader = Combined(form, (part, Borrowed(base.loader)), (out + inn, len(places)))
    note = f"{len(places)} entries of the table trained, the others as they were; a layer tied to it changes alike"
    row = ThinProduct(setting.name, "adapter", base.shape, loader, note=note, inner=len(places))
    return with_base(row, base)


def _moved(trained: Tensor, stored: Tensor, *, places: tuple[int, ...], base: Any, size: tuple[int, int]) -> Tensor:
    columns = torch.tensor(places)
    W = base(stored).reshape(size)
    selection = torch.zeros(len(places), size[1], dtype=torch.float64)
    selection[torch.arange(len(places)), columns] = 1.0
    return stacked(trained.double().T - W[:, columns].double(), selection)
