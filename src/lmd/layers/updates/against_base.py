"""A layer's update beside the layer it changes."""

from dataclasses import dataclass, field, fields
from typing import Any

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.thin_product import ThinProduct
from lmd.layers.updates.kronecker import KroneckerProduct

__all__ = ["AgainstBase", "KroneckerUpdate", "ThinUpdate", "Update", "with_base"]


class AgainstBase(LayerMatrix):
    """A map that is added to another one, ``base``, of the same shape. Made by ``with_base``."""

    # a mark without a field of its own, so that any form of map can bear it
    __slots__ = ()

    base: LayerMatrix


@dataclass(frozen=True, slots=True, eq=False)
class Update(AgainstBase):
    """An update of any form.

    Attributes:
        base: the layer it changes.
    """

    base: LayerMatrix = field(kw_only=True)


@dataclass(frozen=True, slots=True, eq=False)
class ThinUpdate(ThinProduct, AgainstBase):
    """An update that is a product of thin factors.

    Attributes:
        base: the layer it changes.
    """

    base: LayerMatrix = field(kw_only=True)


@dataclass(frozen=True, slots=True, eq=False)
class KroneckerUpdate(KroneckerProduct, AgainstBase):
    """An update that is a Kronecker product.

    Attributes:
        base: the layer it changes.
    """

    base: LayerMatrix = field(kw_only=True)


def with_base(row: LayerMatrix, base: LayerMatrix) -> LayerMatrix:
    """The same map, with the layer it changes beside it."""
    if isinstance(row, ThinProduct):
        return ThinUpdate(**_fields(row, ThinProduct), base=base)
    if isinstance(row, KroneckerProduct):
        return KroneckerUpdate(**_fields(row, KroneckerProduct), base=base)
    return Update(**_fields(row, LayerMatrix), base=base)


def _fields(row: LayerMatrix, form: type[Any]) -> dict[str, Any]:
    return {own.name: getattr(row, own.name) for own in fields(form)}
