"""A map that is a Kronecker product of two small ones: a LoKr adapter."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor

from lmd.layers.layer_matrix import LayerMatrix
from lmd.linalg.singular.kronecker import kronecker_product

__all__ = ["KroneckerProduct", "side_by_side"]


def side_by_side(first: Shaped[Tensor, "a b"], second: Shaped[Tensor, "c d"]) -> Shaped[Tensor, " entries"]:
    """The entries of both factors in one tensor, in float64: what the loader of a ``KroneckerProduct`` must return."""
    return torch.cat([first.double().flatten(), second.double().flatten()])


@dataclass(frozen=True, slots=True, eq=False)
class KroneckerProduct(LayerMatrix):
    """``W = F (x) G``, never formed unless ``load`` is called.

    The loader returns ``side_by_side(F, G)``.

    Attributes:
        first: ``(a, b)``, the shape of ``F``; that of ``G`` is ``(out / a, in / b)``.
    """

    first: tuple[int, int] = (1, 1)

    @property
    def full_rank(self) -> int:
        """The product of the largest ranks of both factors."""
        (out, inn), (a, b) = self.shape, self.first
        return min(a, b) * min(out // a, inn // b)

    def parts(self) -> tuple[Shaped[Tensor, "a b"], Shaped[Tensor, "c d"]]:
        """``F`` and ``G``, in float64."""
        (out, inn), (a, b) = self.shape, self.first
        both = self.form(self.loader())
        return both[: a * b].reshape(a, b), both[a * b :].reshape(out // a, inn // b)

    def load(self) -> Shaped[Tensor, "out in"]:
        """The product, in float64."""
        return kronecker_product(*self.parts())

    def panels(self) -> Iterator[Shaped[Tensor, "out in"]]:
        """The product in one piece."""
        yield self.load()
