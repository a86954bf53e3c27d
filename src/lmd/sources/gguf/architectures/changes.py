"""Loaders that give the tensors of an architecture from those of a file, still a part at a time."""

from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from lmd.sources.derived_loaders import Transposed
from lmd.sources.gguf.architectures.names import Named
from lmd.sources.gguf.architectures.row_orders import UNSORTED, RowOrder
from lmd.sources.joined import Renamed
from lmd.sources.loaders import Combined, Loader, cut_shape
from lmd.sources.rounding import rounding_of

__all__ = ["Entry", "Reordered", "changed"]

_NEAR = 256
"""Rows between two wanted ones that are read along, rather than in two pieces."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One entry of a stack of tensors; the others are not read."""

    stack: Loader
    index: int

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the stack."""
        return self.stack.tensors

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one entry."""
        return self.stack.shape[1:]

    def __call__(self) -> Tensor:
        """Read the entry."""
        return self.stack.narrow(0, self.index, 1)()[0]

    def narrow(self, dim: int, start: int, length: int) -> "Entry":
        """A slice of the entry."""
        return Entry(self.stack.narrow(dim + 1, start, length), self.index)


@dataclass(frozen=True, slots=True, eq=False)
class Reordered:
    """Rows in another order than that of the file; a slice reads the rows it needs and those close by."""

    stored: Loader
    order: RowOrder
    start: int
    length: int

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of what is stored."""
        return self.stored.tensors

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the slice."""
        return (self.length, *self.stored.shape[1:])

    def __call__(self) -> Tensor:
        """Read the rows and sort them."""
        wanted = self.order.places(torch.arange(self.start, self.start + self.length))
        if not self.length:
            return self.stored.narrow(0, 0, 0)()
        ordered, back = wanted.sort()
        cuts = [0, *(torch.nonzero(ordered.diff() > _NEAR).flatten() + 1).tolist(), self.length]
        pieces = []
        for low, high in pairwise(cuts):
            rows = ordered[low:high]
            first, last = int(rows[0]), int(rows[-1])
            pieces.append(self.stored.narrow(0, first, last - first + 1)()[rows - first])
        return torch.cat(pieces)[back.argsort()]

    def narrow(self, dim: int, start: int, length: int) -> "Reordered":
        """The slice."""
        cut_shape(self.shape, (dim, start, length))
        if dim == 0:
            return Reordered(self.stored, self.order, self.start + start, length)
        return Reordered(self.stored.narrow(dim, start, length), self.order, self.start, self.length)


def changed(named: Named, stored: Loader) -> Loader:
    """The loader of a tensor of the architecture, under its name there."""
    loader = stored
    if named.entry >= 0:
        loader = Entry(loader, named.entry)
    if named.rows is not None:
        loader = loader.narrow(0, *named.rows)
    if named.order is not None and named.order.word not in UNSORTED:
        loader = Reordered(loader, named.order, 0, loader.shape[0])
    if named.transposed:
        loader = Transposed(loader)
    if named.less:
        loader = Combined(partial(_less, by=named.less), (loader,), named.shape)
    if named.logarithm:
        loader = Combined(_logarithm, (loader,), named.shape)
    if loader.shape != named.shape:
        loader = Combined(partial(torch.reshape, shape=named.shape), (loader,), named.shape)
    return Renamed(named.name, loader)


def _less(tensor: Tensor, *, by: float) -> Tensor:
    return tensor - by


def _logarithm(tensor: Tensor) -> Tensor:
    return torch.log(-tensor)


@rounding_of.register
def _of_entry(loader: Entry) -> Loader | None:
    stack = rounding_of(loader.stack)
    return None if stack is None else Entry(stack, loader.index)


@rounding_of.register
def _of_reordered(loader: Reordered) -> Loader | None:
    stored = rounding_of(loader.stored)
    return None if stored is None else replace(loader, stored=stored)
