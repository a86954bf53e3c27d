"""How wide the heads of an attention are, from the shapes that its queries take, computed ones too."""

from collections.abc import Mapping
from dataclasses import dataclass

from lmd.sources.graph.step import Step
from lmd.sources.onnx.plan.expressions import Expression, integers

__all__ = ["Cut", "Shapes", "cut_of"]

_DEEPEST = 12
_AS_IT_IS = frozenset(("Cast", "Unsqueeze", "Squeeze", "Identity", "Reshape"))


@dataclass(frozen=True, slots=True)
class Cut:
    """How the last axis of a value is cut.

    Attributes:
        width: of one piece; 0 if only their number is told.
        count: of the pieces; 0 if only their width is told.
    """

    width: int = 0
    count: int = 0

    def heads(self, outputs: int) -> int:
        """The number of heads in so many outputs; 0 if they do not fit."""
        found = self.count or (outputs // self.width if self.width <= outputs else 0)
        return found if found > 0 and outputs % found == 0 and (not self.width or found * self.width == outputs) else 0


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """The entries of shapes that a graph computes.

    Attributes:
        constants: value to what it is made of.
        makers: value to the step that makes it.
    """

    constants: Mapping[str, Expression]
    makers: Mapping[str, Step]

    def entries(self, value: str, depth: int = 0) -> list[Cut] | None:
        """The numbers of a shape: a width that is known, a number of pieces of an unknown one, or nothing."""
        known = integers(self.constants.get(value))
        if known is not None:
            return [Cut(width=n) for n in known]
        maker = self.makers.get(value)
        if maker is None or depth > _DEEPEST:
            return None
        name = maker.operation.removeprefix("onnx.")
        if name == "Concat":
            parts = [self.entries(part, depth + 1) or [Cut()] for part in maker.inputs]
            return [entry for part in parts for entry in part]
        if name in _AS_IT_IS:
            return self.entries(maker.inputs[0], depth + 1)
        if name == "Div":
            # an unknown width divided by the number of heads
            by = integers(self.constants.get(maker.inputs[1]))
            return [Cut(count=by[0])] if by and len(by) == 1 and by[0] > 0 else [Cut()]
        return [Cut()] if name in ("Gather", "Mul", "Add", "Sub") else None


def cut_of(step: Step, shapes: Shapes) -> Cut | None:
    """How a ``Reshape`` cuts the last axis; None if it does not say so."""
    entries = shapes.entries(step.inputs[1]) if len(step.inputs) > 1 else None
    if not entries or len(entries) < 3:
        return None
    last, before = entries[-1], entries[-2]
    if last.width > 0 or last.count > 0:
        return last
    return Cut(count=before.width) if last.width == -1 and before.width > 0 else None
