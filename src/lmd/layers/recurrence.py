"""A square map from a state to the next state, whose eigenvalues mean something."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.thin_product import ThinProduct
from lmd.linalg.singular.thin_products import product_error

__all__ = ["AffineRecurrentMatrix", "RecurrentMatrix", "RecurrentProduct"]


@dataclass(frozen=True, slots=True, eq=False)
class RecurrentMatrix(LayerMatrix):
    """``W (n, n)``: what one step does to the state, before the nonlinearity."""

    def transition(self) -> Float64[Tensor, "n n"]:
        """The map of the state alone, in float64."""
        return self.load().to(torch.float64)

    def step(self) -> tuple[Float64[Tensor, "states states"], float]:
        """The matrix whose eigenvalues are those of the map, in float64, and what rounding has changed of its norm."""
        return self.transition(), 0.0

    @property
    def states(self) -> int:
        """Side of ``step``: the number of eigenvalues that are not 0 by construction."""
        return self.full_rank


@dataclass(frozen=True, slots=True, eq=False)
class AffineRecurrentMatrix(RecurrentMatrix):
    """``[W b] (n, n + 1)``: one step, its bias folded in; the eigenvalues are those of ``W``."""

    def transition(self) -> Float64[Tensor, "n n"]:
        """``W``: the column of the constant 1 is no state."""
        return self.load().to(torch.float64)[:, :-1]


@dataclass(frozen=True, slots=True, eq=False)
class RecurrentProduct(ThinProduct, RecurrentMatrix):
    """``W = L R (n, n)`` through a narrower state: a recurrent layer with a projection.

    The eigenvalues of ``L R`` that are not 0 are those of ``R L``, which has the side of the projection.
    """

    def step(self) -> tuple[Float64[Tensor, "states states"], float]:
        """``R L`` where that is smaller than ``L R``, and the rounding of the product."""
        L, R = self.thin()
        return (R @ L if self.inner < self.shape[0] else L @ R), product_error(self.shape, (L.norm() * R.norm()).item())
