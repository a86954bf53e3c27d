"""One projection of an attention layer, alone in its tensor or among others."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Shaped
from torch import Tensor

from lmd.layers.layer_matrix import LayerMatrix, as_stored, transposed
from lmd.sources.joined import Joined
from lmd.sources.loaders import Combined, Loader
from lmd.sources.reading import Confidence

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
        kernel: the stored kernel, of a grouped convolution that is the whole projection.
        groups: of that convolution.
        used: weight and bias as they work together with the batch normalisation behind them, None without one.
        confidence: of what its row is.
        alternatives: other kinds its row may be.
        bias_strips: its outputs among those of the stored bias, where they lie otherwise than in the weight.
    """

    name: str
    kind: str
    weight: Loader
    bias: Loader | None
    strips: Strips
    stored_transposed: bool = False
    note: str = ""
    kernel: Loader | None = None
    groups: int = 1
    used: tuple[Loader, Loader | None] | None = None
    confidence: Confidence = "declared"
    alternatives: tuple[str, ...] = ()
    bias_strips: Strips | None = None

    @property
    def inputs(self) -> int:
        """Number of inputs, the constant 1 of a folded bias not among them."""
        return self.weight.shape[0 if self.stored_transposed else 1]

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        return self.strips.size

    def in_use(self) -> "Projection":
        """As heads use it: with the batch normalisation behind it."""
        if self.used is None:
            return self
        return replace(self, weight=self.used[0], bias=self.used[1], kernel=None, groups=1, used=None)

    def noted(self, *texts: str) -> "Projection":
        """With more to say."""
        return replace(self, note="; ".join(filter(None, (self.note, *texts))))

    def rows(self, start: int, size: int) -> Loader:
        """Some of its outputs, as stored: ``(size, in)``, or ``(in, size)``."""
        return _cut(self.weight, self.strips, int(self.stored_transposed), start, size)

    def columns(self, start: int, size: int) -> Loader:
        """What it does with some of its inputs, as stored: ``(out, size)``, or ``(size, out)``."""
        whole = self.rows(0, self.outputs)
        return whole.narrow(1 - int(self.stored_transposed), start, size)

    def biases(self, start: int, size: int) -> Loader | None:
        """The biases of some of its outputs."""
        return None if self.bias is None else _cut(self.bias, self.bias_strips or self.strips, 0, start, size)

    def row(self, *, fold_bias: bool = False) -> LayerMatrix:
        """Its own row: ``W``, or ``[W b]`` where it has a bias."""
        if self.kernel is not None and self.groups > 1 and not (fold_bias and self.bias):
            form, note = partial(_blocks, groups=self.groups), f"{self.groups} groups"
            shape, text = (self.outputs, self.inputs), "; ".join(filter(None, (self.note, note)))
            return self._said(LayerMatrix(self.name, self.kind, shape, self.kernel, form, self.groups, note=text))
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
        return self._said(LayerMatrix(name, self.kind, (out, inn), loader, form, view_of=view_of, note=note))

    def _said(self, row: LayerMatrix) -> LayerMatrix:
        return replace(row, confidence=self.confidence, alternatives=self.alternatives)


def _blocks(kernel: Tensor, *, groups: int) -> Tensor:
    return kernel.reshape(groups, kernel.shape[0] // groups, -1)


def _cut(loader: Loader, strips: Strips, axis: int, start: int, size: int) -> Loader:
    pieces = tuple(loader.narrow(axis, *piece) for piece in strips.pieces(start, size))
    return pieces[0] if len(pieces) == 1 else Joined(pieces, axis)


def _augmented(weight: Shaped[Tensor, "out in"], bias: Shaped[Tensor, " out"]) -> Shaped[Tensor, "out in_and_1"]:
    return torch.cat([weight, bias[:, None].to(weight.dtype)], dim=1)


def _augmented_transposed(
    weight: Shaped[Tensor, "in out"], bias: Shaped[Tensor, " out"]
) -> Shaped[Tensor, "out in_and_1"]:
    return _augmented(weight.T, bias)
