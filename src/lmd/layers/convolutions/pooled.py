"""The mean of several maps of one shape, and how far one of them is from it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lmd.sources.loaders import Held, Loader

__all__ = ["Pooled", "as_computed"]


def as_computed(tensor: Tensor) -> Tensor:
    """The tensor as it is, but never read piece by piece, unlike ``as_stored``: each piece costs the whole."""
    return tensor


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """The mean of ``form(part())`` over the parts, in float64, or one part minus it. Parts are read one at a time.

    Attributes:
        parts: loaders of the single maps.
        form: module-level function from what a part reads to its matrix.
        size: shape of that matrix.
        index: the part whose deviation is asked for; None for the mean.
        names: of the tensors that are read.
        result: what was computed before pickling, for parts in memory.
    """

    parts: tuple[Loader, ...]
    form: Callable[[Tensor], Tensor]
    size: tuple[int, ...]
    index: int | None = None
    names: tuple[str, ...] = ()
    result: Tensor | None = None

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of all parts, each once."""
        return self.names or tuple(dict.fromkeys(name for part in self.parts for name in part.tensors))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return self.size

    def __call__(self) -> Tensor:
        """Read the parts and pool them."""
        if self.result is not None:
            return self.result
        mean = torch.zeros(self.size, dtype=torch.float64)
        for part in self.parts:
            mean += self.form(part()).double() / len(self.parts)
        return mean if self.index is None else self.form(self.parts[self.index]()).double() - mean

    def narrow(self, dim: int, start: int, length: int) -> "Pooled":
        """A slice of the result, computed at once."""
        part = self().narrow(dim, start, length).clone()
        return replace(self, parts=(), names=self.tensors, size=tuple(part.shape), result=part)

    def __reduce__(self) -> tuple[Any, ...]:
        """Parts in memory are sent as their result; parts in a file as the places to read."""
        if self.result is None and any(isinstance(part, Held) for part in self.parts):
            return Pooled, ((), self.form, self.size, self.index, self.tensors, self())
        return Pooled, (self.parts, self.form, self.size, self.index, self.names, self.result)
