"""A diagonal map of states, real or complex: every state goes its own way."""

from dataclasses import dataclass

import torch
from jaxtyping import Complex128
from torch import Tensor

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.recurrence import RecurrentMatrix

__all__ = ["DiagonalStates", "SteppedStates", "read_by_pairs", "turned_by_pairs", "written_by_pairs"]


@dataclass(frozen=True, slots=True, eq=False)
class DiagonalStates(LayerMatrix):
    """``h' = diag(eigenvalues) h``, rates per unit of time; a complex one is the block ``[[a, -b], [b, a]]``."""

    def eigenvalues(self) -> Complex128[Tensor, " states"]:
        """One for each state, in order; of a complex state the one it is stored as, its conjugate left out."""
        blocks = self.blocks().double()
        imaginary = blocks[:, 1, 0] if blocks.shape[1] == 2 else torch.zeros(len(blocks), dtype=torch.float64)
        return torch.complex(blocks[:, 0, 0], imaginary)


@dataclass(frozen=True, slots=True, eq=False)
class SteppedStates(DiagonalStates, RecurrentMatrix):
    """The same for one step: what each state is multiplied by."""


def turned_by_pairs(values: Tensor) -> Tensor:
    """``(n, 2, 2)``: multiplication by complex numbers, on their real and imaginary parts; real ones as they are."""
    values = values.flatten()
    if not values.is_complex():
        return values
    a, b = values.real, values.imag
    return torch.stack([torch.stack([a, -b], dim=1), torch.stack([b, a], dim=1)], dim=1)


def written_by_pairs(B: Tensor) -> Tensor:
    """``(..., 2 n, in)``: from real inputs to real and imaginary parts of complex states ``(..., n, in)``."""
    pairs = torch.view_as_real(B.resolve_conj()).movedim(-1, -2)
    return pairs.flatten(-3, -2)


def read_by_pairs(C: Tensor) -> Tensor:
    """``(..., out, 2 n)``: the real part of ``C h``, from real and imaginary parts of the states ``h``."""
    return torch.view_as_real(C.conj().resolve_conj()).flatten(-2)
