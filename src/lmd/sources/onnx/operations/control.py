"""Branches that the input chooses between."""

from typing import Any

from torch import Tensor

from lmd.sources.graph.operations import known, operation, operation_named
from lmd.sources.graph.step import Step

__all__ = ["unknown_inside"]

Branch = tuple[tuple[Step, ...], tuple[str, ...]]


@operation("onnx.If")
def choose(condition: Tensor, *taken: Any, names: tuple[str, ...], then: Branch, otherwise: Branch) -> Any:
    """What one branch makes of the values from outside."""
    steps, outputs = then if bool(condition) else otherwise
    values: dict[str, Any] = dict(zip(names, taken, strict=True))
    for step in steps:
        made = operation_named(step.operation)(*(values[v] if v else None for v in step.inputs), **step.attributes)
        values.update(zip(step.outputs, made if isinstance(made, tuple) else (made,), strict=False))
    found = tuple(values[name] for name in outputs)
    return found[0] if len(found) == 1 else found


def unknown_inside(step: Step) -> list[str]:
    """A sentence for each operation inside the branches of a step that is not known."""
    inner = [one for name in ("then", "otherwise") for one in step.attributes.get(name, ((), ()))[0]]
    words = [
        f"operation {one.operation.partition('.')[2]} of node {one.name!r} inside {step.name!r} is not known"
        for one in inner
        if not known(one.operation)
    ]
    return words + [word for one in inner if one.operation == "onnx.If" for word in unknown_inside(one)]
