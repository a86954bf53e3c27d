"""How a tensor of a declared architecture is made of the tensors of its file."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from lmd.sources.joined import Joined, Renamed, Stacked
from lmd.sources.loaders import Loader

__all__ = ["Recipe", "renamed"]

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Tensors of a file to one tensor of the architecture: stacked, then joined, then cut, whichever is asked for.

    Attributes:
        groups: names in the file; those of one group are stacked along a new first axis.
        stacked: whether they are; each group has one name otherwise.
        axis: along which the groups are joined.
        piece: ``(axis, index, count)`` if the tensor is one of ``count`` equal pieces of the result.
        cut: ``(axis, start, length)`` if it is a piece of another size.
    """

    groups: tuple[tuple[str, ...], ...]
    stacked: bool = False
    axis: int = 0
    piece: tuple[int, int, int] | None = None
    cut: tuple[int, int, int] | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """Every name in the file."""
        return tuple(name for group in self.groups for name in group)

    def loader(self, name: str, loaders: Mapping[str, Loader]) -> Loader:
        """The loader of the result, under the name it has in the architecture.

        Raises:
            KeyError: the file lacks a source.
            ValueError: the shapes of the sources do not fit each other.
        """
        for group in self.groups:
            _refuse_different([loaders[source].shape for source in group])
        parts = [_group([loaders[source] for source in group], stacked=self.stacked) for group in self.groups]
        _refuse_different([_without(part.shape, self.axis) for part in parts])
        whole = parts[0] if len(parts) == 1 else Joined(tuple(parts), self.axis)
        if self.piece is not None:
            axis, index, count = self.piece
            size = whole.shape[axis] // count
            whole = whole.narrow(axis, index * size, size)
        if self.cut is not None:
            whole = whole.narrow(*self.cut)
        return Renamed(name, whole)


def renamed(recipes: Mapping[str, Recipe], shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Shapes of a file's tensors under the names of the architecture; tensors without a recipe keep theirs.

    Raises:
        KeyError: the file lacks a source.
        ValueError: the shapes of the sources do not fit each other.
    """
    promised = {name: _Promised(name, shape) for name, shape in shapes.items()}
    used = {source for recipe in recipes.values() for source in recipe.sources}
    found = {name: shape for name, shape in shapes.items() if name not in used}
    return found | {name: recipe.loader(name, promised).shape for name, recipe in recipes.items()}


def _group(loaders: list[Loader], *, stacked: bool) -> Loader:
    return Stacked(tuple(loaders)) if stacked else loaders[0]


def _without(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], *shape[axis + 1 :])


def _refuse_different(shapes: list[Shape]) -> None:
    if len(set(shapes)) > 1:
        raise ValueError(f"tensors of the shapes {sorted(set(shapes))} make up one; they must agree.")


@dataclass(frozen=True, slots=True)
class _Promised:
    """A shape in the place of a loader, where only a header was read."""

    name: str
    shape: Shape

    @property
    def tensors(self) -> tuple[str, ...]:
        return (self.name,)

    def __call__(self) -> Tensor:
        raise AssertionError(f"{self.name} is a shape only.")

    def narrow(self, dim: int, start: int, length: int) -> "_Promised":
        return _Promised(self.name, (*self.shape[:dim], length, *self.shape[dim + 1 :]))
