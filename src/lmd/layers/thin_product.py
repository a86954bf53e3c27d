"""A map that is a product of two thin factors: a head's circuit, an adapter."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor

from lmd.layers.layer_matrix import LayerMatrix

__all__ = ["ThinProduct", "stacked"]


def stacked(L: Shaped[Tensor, "out inner"], R: Shaped[Tensor, "inner in"]) -> Shaped[Tensor, "out_and_in inner"]:
    """The two factors as one tensor, in float64, which is what the loader of a ``ThinProduct`` must return."""
    return torch.cat([L.double(), R.double().T])


@dataclass(frozen=True, slots=True, eq=False)
class ThinProduct(LayerMatrix):
    """``W = L R``, never formed unless ``load`` is called: its rank is at most ``inner``.

    The loader returns ``stacked(L, R)``.

    Attributes:
        inner: number of columns of ``L`` and of rows of ``R``.
        constants: whether behind the inputs of the left factor, and of the right one, comes the constant 1; what
            follows it is another input beside.
    """

    inner: int = 1
    constants: tuple[bool, bool] = (False, False)

    @property
    def full_rank(self) -> int:
        """``min(out, in, inner)``."""
        return min(*self.shape, self.inner)

    def thin(self) -> tuple[Shaped[Tensor, "out inner"], Shaped[Tensor, "inner in"]]:
        """``L`` and ``R``, in float64."""
        both = self.form(self.loader())
        return both[: self.shape[0]], both[self.shape[0] :].T

    def load(self) -> Shaped[Tensor, "out in"]:
        """The product, in float64."""
        L, R = self.thin()
        return L @ R

    def panels(self) -> Iterator[Shaped[Tensor, "out in"]]:
        """The product in one piece."""
        yield self.load()
