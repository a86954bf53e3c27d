"""How much rounding of the stored numbers puts into each row and column of a layer."""

from collections.abc import Iterator
from dataclasses import fields
from hashlib import blake2b

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.layers.layer_matrix import LayerMatrix
from lmd.sources.rounding import rounding_of

__all__ = ["rounding_sums"]

_UNITS = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}
"""Half a unit in the last place, of numbers that are stored as they are."""
_ROUNDINGS = 2
"""A stored number was rounded when it was computed, and when it was written."""


def rounding_sums(layer: LayerMatrix) -> tuple[Float64[Tensor, " out"], Float64[Tensor, " in"]]:
    """Sums of the variances of the rounding errors of a stored layer, by row and by column.

    Of half-precision and quantised numbers from their own steps; of float32 and float64 two roundings by half a unit
    in the last place. Vectors along the longer side that are stored equal have equal errors: they count as one.
    """
    axis = 0 if layer.shape[0] >= layer.shape[1] else 1
    across = torch.zeros(layer.shape[1 - axis], dtype=torch.float64)
    along = torch.zeros(layer.shape[axis], dtype=torch.float64)
    first: dict[bytes, int] = {}
    for numbers, variances in _panels(layer):
        across += variances.sum(dim=axis)
        places = torch.tensor(list(_places(numbers, axis, first)), dtype=torch.long)
        along.index_add_(0, places, variances.sum(dim=1 - axis))
    return (along, across) if axis == 0 else (across, along)


def _panels(layer: LayerMatrix) -> Iterator[tuple[Tensor, Tensor]]:
    told = rounding_of(layer.loader) if type(layer).load is LayerMatrix.load else None
    if told is None:
        for panel in layer.panels():
            unit = _UNITS.get(panel.dtype, _UNITS[torch.float64])
            yield panel, _ROUNDINGS * (unit * panel.double()).square()
        return
    own = {one.name: getattr(layer, one.name) for one in fields(LayerMatrix)}
    errors = LayerMatrix(**{**own, "loader": told})
    for panel, error in zip(layer.panels(), errors.panels(), strict=True):
        yield panel, error.double().square()


def _places(panel: Tensor, axis: int, first: dict[bytes, int]) -> Iterator[int]:
    """For each vector of a panel the place of the first one that equals it."""
    vectors = (panel if axis == 0 else panel.T).contiguous().view(torch.uint8).numpy()
    for vector in vectors:
        yield first.setdefault(blake2b(vector, digest_size=16).digest(), len(first))
