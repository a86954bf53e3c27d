"""The second noun: one linear map of one layer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor

from lmd.sources.loaders import Loader
from lmd.sources.reading import Confidence

__all__ = ["Form", "LayerMatrix", "as_stored", "transposed"]

Form = Callable[[Tensor], Tensor]

_PANEL_ELEMENTS = 1 << 20
"""8 MB as float64: large enough for BLAS, small beside any tensor worth streaming."""
_LARGE_SIDE, _SMALL_PANEL_ELEMENTS = 2048, 1 << 18
"""Where the Gram matrix of the shorter side fills the memory that streaming may take, panels make room for it."""


def as_stored(tensor: Tensor) -> Tensor:
    """The tensor as it is."""
    return tensor


def transposed(tensor: Tensor) -> Tensor:
    """Rows for columns."""
    return tensor.T


@dataclass(frozen=True, slots=True, eq=False)
class LayerMatrix:
    """One linear map ``y = W x`` of one layer; nothing is read before ``load``.

    Attributes:
        name: dotted path and part, ``lstm.l0.reverse.hidden.f``.
        kind: one of the registered kinds.
        shape: ``(out, in)``.
        loader: reads what the map is made of.
        form: module-level function from the tensor read to the matrix ``(out, in)``, or to the blocks
            ``(groups, out / groups, in / groups)`` of a block-diagonal map.
        groups: number of diagonal blocks; 1 for a dense map; ``out`` for a diagonal one.
        view_of: name of the row this one is a part of, else None.
        confidence: what decided the kind.
        alternatives: other kinds the shapes allow.
        note: what the map is, where the kind alone does not say it.
        bias: what the layer adds to the map's outputs; given where ``[W b]`` is wanted, until it is folded in.
        own_inputs: whether the map reads what comes into its module, and not what comes into a norm before it.
    """

    name: str
    kind: str
    shape: tuple[int, int]
    loader: Loader
    form: Form = as_stored
    groups: int = 1
    view_of: str | None = None
    confidence: Confidence = "declared"
    alternatives: tuple[str, ...] = ()
    note: str = ""
    bias: Loader | None = None
    own_inputs: bool = True

    @property
    def full_rank(self) -> int:
        """The largest rank that the form of the map allows."""
        return min(self.shape)

    def load(self) -> Shaped[Tensor, "out in"]:
        """The whole matrix, in the stored type."""
        if self.groups == 1:
            return self.form(self.loader()).reshape(self.shape)
        return torch.block_diag(*self.blocks())

    def blocks(self) -> Shaped[Tensor, "groups out_per_group in_per_group"]:
        """The diagonal blocks; one block, the matrix itself, for a dense map."""
        out, inn = self.shape
        return self.form(self.loader()).reshape(self.groups, out // self.groups, inn // self.groups)

    def panels(self) -> Iterator[Shaped[Tensor, "out in"]]:
        """The matrix in order, cut along its longer side into pieces of at most about a million elements.

        A stored matrix is read piece by piece, so that no more than a piece is in memory.
        """
        axis = 0 if self.shape[0] >= self.shape[1] else 1
        elements = _PANEL_ELEMENTS if min(self.shape) < _LARGE_SIDE else _SMALL_PANEL_ELEMENTS
        step = max(1, elements // max(1, min(self.shape)))
        if self.form in (as_stored, transposed) and self.groups == 1 and len(self.loader.shape) == 2:
            stored_axis = axis if self.form is as_stored else 1 - axis
            for start in range(0, self.shape[axis], step):
                length = min(step, self.shape[axis] - start)
                yield self.form(self.loader.narrow(stored_axis, start, length)())
        else:
            yield from self.load().split(step, dim=axis)
