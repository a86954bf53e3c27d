"""A square map from a state to the next state, whose eigenvalues mean something."""

from dataclasses import dataclass

from lmd.layers.layer_matrix import LayerMatrix

__all__ = ["RecurrentMatrix"]


@dataclass(frozen=True, slots=True, eq=False)
class RecurrentMatrix(LayerMatrix):
    """``W (n, n)``: what one step does to the state, before the nonlinearity."""
