"""One projection of an attention layer, alone in its tensor or among others."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor

from lmd.layers.layer_matrix import LayerMatrix, as_stored, transposed
from lmd.sources.joined import Joined
from lmd.sources.loaders import Combined, Loader

__all__ = ["Projection", "Strips"]


@dataclass(frozen=True, slots=True)
class Strips:
    """Which outputs of a stored weight make up a projection: ``count`` strips of ``length``, ``stride`` apart."""

    offset: int
    length: int
    stride: int
    count: int = 1

    @property
    def size(self) -> int:
        """Number of outputs."""
        return self.length * self.count

    def pieces(self, start: int, size: int) -> Iterator[tuple[int, int]]:
        """Start and length, in the stored weight, of the outputs ``[start, start + size)`` of the projection."""
        while size:
            strip, within = divmod(start, self.length)
            step = size if self.stride == self.length else min(size, self.length - within)
            yield self.offset + strip * self.stride + within, step
            start, size = start + step, size - step


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """A linear map of an attention layer.

    Attributes:
        name: of its row.
        kind: ``query``, ``key``, ``value``, ``gate`` or ``attention_output``.
        weight: loader of the stored weight.
        bias: loader of the stored bias, or None.
        strips: its outputs among those of the stored weight.
        stored_transposed: whether the weight is stored ``(in, out)``.
        note: what its row is to say.
    """

    name: str
    kind: str
    weight: Loader
    bias: Loader | None
    strips: Strips
    stored_transposed: bool = False
    note: str = ""

    @property
    def inputs(self) -> int:
        """Number of inputs, the constant 1 of a folded bias not among them."""
        return self.weight.shape[0 if self.stored_transposed else 1]

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return self.strips.size

    def rows(self, start: int, size: int) -> Loader:
        """Some of its outputs, as stored: ``(size, in)``, or ``(in, size)``."""
        return _cut(self.weight, self.strips, int(self.stored_transposed), start, size)

    def columns(self, start: int, size: int) -> Loader:
        """What it does with some of its inputs, as stored: ``(out, size)``, or ``(size, out)``."""
        whole = self.rows(0, self.outputs)
        return whole.narrow(1 - int(self.stored_transposed), start, size)

    def biases(self, start: int, size: int) -> Loader | None:
        """The biases of some of its outputs."""
        return None if self.bias is None else _cut(self.bias, self.strips, 0, start, size)

    def row(self, *, fold_bias: bool = False) -> LayerMatrix:
        """Its own row: ``W``, or ``[W b]`` where it has a bias."""
        return self._matrix(self.name, self.rows(0, self.outputs), self.biases(0, self.outputs) if fold_bias else None)

    def part(self, index: int, width: int, *, fold_bias: bool = False) -> LayerMatrix:
        """The view of one head: its outputs or, of the output projection, its inputs."""
        name, start = f"{self.name}.{index}", index * width
        if self.kind == "attention_output":
            return self._matrix(name, self.columns(start, width), None, self.name)
        bias = self.biases(start, width) if fold_bias else None
        return self._matrix(name, self.rows(start, width), bias, self.name)

    def _matrix(self, name: str, loader: Loader, bias: Loader | None, view_of: str | None = None) -> LayerMatrix:
        form = transposed if self.stored_transposed else as_stored
        out, inn = reversed(loader.shape) if self.stored_transposed else loader.shape
        notes = [self.note, "stored (in, out)" if self.stored_transposed else ""]
        if bias is not None:
            function = _augmented_transposed if self.stored_transposed else _augmented
            loader, form, inn = Combined(function, (loader, bias), (out, inn + 1)), as_stored, inn + 1
            notes.append("[W b]: the last input is the constant 1")
        note = "; ".join(text for text in notes if text)
        return LayerMatrix(name, self.kind, (out, inn), loader, form, view_of=view_of, note=note)


def _cut(loader: Loader, strips: Strips, axis: int, start: int, size: int) -> Loader:
    pieces = tuple(loader.narrow(axis, *piece) for piece in strips.pieces(start, size))
    return pieces[0] if len(pieces) == 1 else Joined(pieces, axis)


def _augmented(weight: Shaped[Tensor, "out in"], bias: Shaped[Tensor, " out"]) -> Shaped[Tensor, "out in_and_1"]:
    return torch.cat([weight, bias[:, None].to(weight.dtype)], dim=1)


def _augmented_transposed(
    weight: Shaped[Tensor, "in out"], bias: Shaped[Tensor, " out"]
) -> Shaped[Tensor, "out in_and_1"]:
    return _augmented(weight.T, bias)
