"""Loaders made of other loaders that still read a part only."""

from dataclasses import dataclass

from torch import Tensor

from lmd.sources.loaders import Loader

__all__ = ["Borrowed", "Difference", "Missing", "Transposed"]


@dataclass(frozen=True, slots=True, eq=False)
class Transposed:
    """A matrix with rows for columns."""

    stored: Loader

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of what is transposed."""
        return self.stored.tensors

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape after transposing."""
        return self.stored.shape[::-1]

    def __call__(self) -> Tensor:
        """The transpose."""
        return self.stored().T

    def narrow(self, dim: int, start: int, length: int) -> "Transposed":
        """A slice, read without the rest where the stored tensor allows it."""
        return Transposed(self.stored.narrow(1 - dim, start, length))


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """``mine - theirs``, element by element in float64; a slice reads the same slice of both and no more.

    The tensors are those of ``mine``: the others belong to another network.
    """

    mine: Loader
    theirs: Loader

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the tensors of ``mine``."""
        return self.mine.tensors

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of both."""
        return self.mine.shape

    def __call__(self) -> Tensor:
        """The difference."""
        return self.mine().double() - self.theirs().double()

    def narrow(self, dim: int, start: int, length: int) -> "Difference":
        """The difference of the slices."""
        return Difference(self.mine.narrow(dim, start, length), self.theirs.narrow(dim, start, length))


@dataclass(frozen=True, slots=True, eq=False)
class Borrowed:
    """A tensor that another row accounts for, or another network."""

    lent: Loader

    @property
    def tensors(self) -> tuple[str, ...]:
        """None of its own."""
        return ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what was lent."""
        return self.lent.shape

    def __call__(self) -> Tensor:
        """What was lent."""
        return self.lent()

    def narrow(self, dim: int, start: int, length: int) -> "Borrowed":
        """A slice of it."""
        return Borrowed(self.lent.narrow(dim, start, length))


@dataclass(frozen=True, slots=True, eq=False)
class Missing:
    """Tensors without numbers to read: names and a shape."""

    tensors: tuple[str, ...]
    shape: tuple[int, ...]

    def __call__(self) -> Tensor:
        """Refuse.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"{', '.join(self.tensors) or 'the tensor'} has no counterpart and cannot be compared.")

    def narrow(self, dim: int, start: int, length: int) -> "Missing":
        """The same, smaller."""
        return Missing(self.tensors, (*self.shape[:dim], length, *self.shape[dim + 1 :]))
