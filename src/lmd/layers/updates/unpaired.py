"""Rows without numbers: what has no counterpart, and what needs one."""

from collections.abc import Callable
from dataclasses import dataclass, field

from lmd.layers.layer_matrix import LayerMatrix

__all__ = ["NeedsBase", "Unpaired"]


@dataclass(frozen=True, slots=True, eq=False)
class Unpaired(LayerMatrix):
    """A layer that only one of two networks has, or that has another shape in the other one: nothing to decompose.

    Attributes:
        reason: why there is no difference.
    """

    reason: str = field(kw_only=True)


@dataclass(frozen=True, slots=True, eq=False)
class NeedsBase(Unpaired):
    """An update that cannot be told without the layer it changes.

    Attributes:
        completed: from that layer to the update.
    """

    completed: Callable[[LayerMatrix], LayerMatrix] = field(kw_only=True)
