"""Paddings that a graph has in steps around a layer, where torch's layers cannot have them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lmd.sources.graph.operations import operation_named
from lmd.sources.graph.step import Graph, Step

__all__ = ["Padding", "is_padding", "paddings_of"]

_AROUND = frozenset(
    ["keras.pad", "keras.pad_same", "keras.cut_end", "onnx.PadSame", "onnx.PadZeros", "onnx.CropTransposed"]
)
"""Operations that do a convolution's padding where torch's layers cannot."""


@dataclass(frozen=True, slots=True, eq=False)
class Padding:
    """The steps around one call of a layer.

    Attributes:
        layer: the call.
        before: what pads the input; None if nothing does.
        after: what cuts the output; None if nothing does.
    """

    layer: Step
    before: Step | None
    after: Step | None

    def pads(self, size: Sequence[int], made: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """Positions added before and after, for each axis, to an input of this spatial size.

        Args:
            size: of the input, before it is padded.
            made: what the layer alone makes of it; what is cut there counts as added, as torch's transposed layers do.
        """
        if self.before is not None:
            return _added(self.before, {self.before.inputs[0]: size}, size)
        if self.after is None:
            return ((0, 0),) * len(size)
        known = {self.layer.inputs[0]: size, self.after.inputs[0]: made}
        return tuple((-first, -last) for first, last in _added(self.after, known, made))

    def words(self) -> str:
        """What tells it from the padding of another call."""
        steps = (step for step in (self.before, self.after) if step is not None)
        return "; ".join(f"{step.operation} {sorted(step.attributes.items())}" for step in steps)


def is_padding(step: Step) -> bool:
    """Whether a step may pad for a layer."""
    return step.operation in _AROUND


def paddings_of(graph: Graph) -> Mapping[str, Padding | None]:
    """Path of a layer that has such a step to it; None where its calls are padded in different ways."""
    made = {name: step for step in graph.steps for name in step.outputs if name}
    taken = {name: step for step in graph.steps for name in step.inputs if name}
    found: dict[str, list[Padding]] = {}
    for step in graph.steps:
        if step.module:
            before, after = _belonging(step, step.inputs, made), _belonging(step, step.outputs, taken)
            found.setdefault(step.module, []).append(Padding(step, before, after))
    padded = {path: calls for path, calls in found.items() if any(call.words() for call in calls)}
    return {path: calls[0] if len({c.words() for c in calls}) == 1 else None for path, calls in padded.items()}


def _belonging(layer: Step, values: Sequence[str], steps: Mapping[str, Step]) -> Step | None:
    return next((step for name in values if (step := steps.get(name)) and _belongs(step, layer)), None)


def _belongs(other: Step, layer: Step) -> bool:
    """Whether a step pads or cuts for a layer: a padding that is a layer itself has another name."""
    return is_padding(other) and (other.name == layer.name or layer.name.startswith(f"{other.name}."))


def _added(step: Step, sizes: Mapping[str, Sequence[int]], size: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """What a step adds to the sides of its first input, seen on an input that counts its positions."""
    rest = [torch.zeros(1, 1, *sizes[name]) for name in step.inputs[1:]]
    return tuple(_sides(step, axis, size, rest) for axis in range(len(size)))


def _sides(step: Step, axis: int, size: Sequence[int], rest: Sequence[Tensor]) -> tuple[int, int]:
    counted = torch.arange(1.0, size[axis] + 1).reshape(-1, *[1] * (len(size) - axis - 1)).expand(1, 1, *size)
    answer: Any = operation_named(step.operation)(counted, *rest, **step.attributes)
    line = answer.amax(dim=[d for d in range(answer.ndim) if d != axis + 2])
    first = int(line.nonzero()[0])
    before = first - int(line[first]) + 1
    return before, len(line) - before - size[axis]
