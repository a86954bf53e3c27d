"""One layer of two networks: what it was, what it became, and the difference."""

from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.updates.against_base import AgainstBase
from lmd.layers.updates.matching import plain
from lmd.layers.updates.unpaired import Unpaired
from lmd.sources.derived_loaders import Difference
from lmd.sources.loaders import Held

__all__ = ["Changed", "Pair", "paired"]


class Pair(LayerMatrix):
    """The difference ``later - earlier`` of one layer, with both beside it. Made by ``paired``."""

    # a mark without a field of its own, as AgainstBase is
    __slots__ = ()

    earlier: LayerMatrix
    later: LayerMatrix


@dataclass(frozen=True, slots=True, eq=False)
class Changed(Pair):
    """A pair of any form.

    Attributes:
        earlier: the layer before.
        later: the layer after.
        adapter: whether what came later is an adapter beside the layer.
    """

    earlier: LayerMatrix = field(kw_only=True)
    later: LayerMatrix = field(kw_only=True)
    adapter: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True, eq=False)
class _Sum:
    """The sum of maps whatever their form, in float64, read whole."""

    maps: tuple[LayerMatrix, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the tensors of the last one, which is what the row is about."""
        return self.maps[-1].loader.tensors

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of each."""
        return self.maps[0].shape

    def __call__(self) -> Tensor:
        """The sum."""
        return torch.stack([one.load().double() for one in self.maps]).sum(dim=0)

    def narrow(self, dim: int, start: int, length: int) -> Held:
        """A slice, for which all is read."""
        return Held(" + ".join(self.tensors), self().narrow(dim, start, length))


def _whole(matrix: Tensor) -> Tensor:
    """As it is; unlike ``as_stored`` it says that nothing is saved by reading a part."""
    return matrix


def paired(row: LayerMatrix) -> LayerMatrix:
    """A row of ``compared`` with both sides beside it; one without a counterpart stays as it is.

    An adapter counts as the step from the layer it changes to the sum.
    """
    if isinstance(row, Unpaired) or not isinstance(row, AgainstBase):
        return row
    own = {one.name: getattr(row, one.name) for one in fields(LayerMatrix)}
    if isinstance(row.loader, Difference):
        later = LayerMatrix(row.name, row.base.kind, row.shape, row.loader.mine, groups=row.groups)
        return Changed(**own, earlier=row.base, later=later)
    later = LayerMatrix(row.name, row.base.kind, row.shape, _Sum((row.base, row)), _whole)
    # an adapter is no layer of its own here
    adapter = row.kind == "adapter"
    own |= {"name": plain(row.base.name), "loader": _Sum((row,)), "form": _whole, "groups": 1}
    return Changed(**own, earlier=row.base, later=later, adapter=adapter)
