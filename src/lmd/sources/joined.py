"""Tensors that lie in several pieces, in one file or in many, read as one."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lmd.sources.loaders import Loader, cut_shape

__all__ = ["Joined", "Renamed", "Stacked"]


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Pieces one behind the other along ``axis``; a slice reads only the pieces it touches."""

    parts: tuple[Loader, ...]
    axis: int = 0

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of all pieces, each once."""
        return _names(self.parts)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole."""
        first = self.parts[0].shape
        total = sum(part.shape[self.axis] for part in self.parts)
        return (*first[: self.axis], total, *first[self.axis + 1 :])

    def __call__(self) -> Tensor:
        """Read every piece."""
        return torch.cat([part() for part in self.parts], dim=self.axis)

    def narrow(self, dim: int, start: int, length: int) -> "Joined":
        """The slice, read without the rest."""
        cut_shape(self.shape, (dim, start, length))
        if dim != self.axis:
            return Joined(tuple(part.narrow(dim, start, length) for part in self.parts), self.axis)
        kept, place = [], 0
        for part in self.parts:
            size = part.shape[dim]
            low, high = max(start, place), min(start + length, place + size)
            if low < high:
                kept.append(part if high - low == size else part.narrow(dim, low - place, high - low))
            place += size
        return Joined(tuple(kept) or (self.parts[0].narrow(dim, 0, 0),), self.axis)


@dataclass(frozen=True, slots=True, eq=False)
class Stacked:
    """Tensors of equal shape along a new first axis; the slice of one entry reads that one alone."""

    parts: tuple[Loader, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of all entries, each once."""
        return _names(self.parts)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of entries, then the shape of one."""
        return (len(self.parts), *self.parts[0].shape)

    def __call__(self) -> Tensor:
        """Read every entry."""
        return torch.stack([part() for part in self.parts])

    def narrow(self, dim: int, start: int, length: int) -> "Stacked":
        """The slice, read without the rest."""
        cut_shape(self.shape, (dim, start, length))
        if dim == 0 and length:
            return Stacked(self.parts[start : start + length])
        if dim == 0:
            raise ValueError("a stack of no entries has no shape; take at least one.")
        return Stacked(tuple(part.narrow(dim - 1, start, length) for part in self.parts))


@dataclass(frozen=True, slots=True, eq=False)
class Renamed:
    """A loader under another name than that of its file."""

    name: str
    loader: Loader

    @property
    def tensors(self) -> tuple[str, ...]:
        """The one name."""
        return (self.name,)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.loader.shape

    def __call__(self) -> Tensor:
        """Read it."""
        return self.loader()

    def narrow(self, dim: int, start: int, length: int) -> "Renamed":
        """The slice, read as the loader reads it."""
        return Renamed(self.name, self.loader.narrow(dim, start, length))


def _names(parts: tuple[Loader, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in parts for name in part.tensors))
