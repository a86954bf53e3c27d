"""Where an adapter stands and how it acts."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.updates.unpaired import NeedsBase, Unpaired
from lmd.sources.adapter_names import AdapterTensors
from lmd.sources.derived_loaders import Missing

__all__ = ["Setting", "misfit", "pending", "without_update"]


@dataclass(frozen=True, slots=True)
class Setting:
    """Where an adapter stands: the name of its row, its strength, and what else its settings say.

    Attributes:
        name: of the row.
        scale: the factor before the update.
        note: where the scale comes from.
        experts: number of stacked experts.
        config: as in adapter_config.json, or as the live layer tells.
    """

    name: str
    scale: float
    note: str
    experts: int
    config: Mapping[str, Any]


def without_update(one: AdapterTensors, setting: Setting, reason: str) -> Unpaired:
    """A row that says why there is no update."""
    return Unpaired(setting.name, "adapter", _stored(one), _missing(one), reason=reason)


def pending(one: AdapterTensors, setting: Setting, completed: Any, note: str) -> NeedsBase:
    """A row that waits for the layer it changes; ``completed`` is a picklable function from that layer to the row."""
    reason = f"{note}: the update needs the layer that is changed; give --base"
    return NeedsBase(setting.name, "adapter", _stored(one), _missing(one), reason=reason, completed=completed)


def misfit(one: AdapterTensors, setting: Setting, base: LayerMatrix, what: str) -> Unpaired:
    """A row that says why the update does not fit the layer of the base."""
    out, inn = base.shape
    return without_update(one, setting, f"{what} do not fit the base's layer {base.name}, which is {out} x {inn}")


def _stored(one: AdapterTensors) -> tuple[int, int]:
    shape = max(one.shapes.values(), key=prod)
    return shape[0] if shape else 1, prod(shape[1:])


def _missing(one: AdapterTensors) -> Missing:
    return Missing(tuple(one.roles.values()), _stored(one))
