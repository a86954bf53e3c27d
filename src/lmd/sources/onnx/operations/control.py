"""Branches that the input chooses between, and graphs that are run again and again."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lmd.sources.graph.operations import known, operation, operation_named
from lmd.sources.graph.step import Step

__all__ = ["unknown_inside"]

Branch = tuple[tuple[Step, ...], tuple[str, ...]]
_MOST_TURNS = 100_000


def _made(branch: Branch, values: dict[str, Any]) -> tuple[Any, ...]:
    """What the steps of a branch make of values by name."""
    steps, outputs = branch
    for step in steps:
        made = operation_named(step.operation)(*(values[v] if v else None for v in step.inputs), **step.attributes)
        values.update(zip(step.outputs, made if isinstance(made, tuple) else (made,), strict=False))
    return tuple(values[name] for name in outputs)


@operation("onnx.If")
def choose(condition: Tensor, *taken: Any, names: tuple[str, ...], then: Branch, otherwise: Branch) -> Any:
    """What one branch makes of the values from outside."""
    return _made(then if bool(condition) else otherwise, dict(zip(names, taken, strict=True)))


@operation("onnx.Loop")
def loop(
    most: Tensor | None,
    condition: Tensor | None,
    *taken: Any,
    names: tuple[str, ...],
    given: tuple[str, ...],
    body: Branch,
) -> tuple[Any, ...]:
    """The last states, then what each turn makes beside them, along a new first axis.

    Raises:
        ValueError: it does not end, or makes nothing whose shape could be told.
    """
    count = len(given) - 2
    states, outside = taken[:count], dict(zip(names, taken[count:], strict=True))
    turns: list[tuple[Any, ...]] = []
    goes = condition is None or bool(condition)
    while goes and (most is None or len(turns) < int(most)):
        if len(turns) >= _MOST_TURNS:
            raise ValueError(f"a loop of more than {_MOST_TURNS} turns is not run.")
        first = (torch.tensor(len(turns)), torch.tensor(True))
        goes, *made = _made(body, {**outside, **dict(zip(given, (*first, *states), strict=True))})
        goes, states = bool(goes), tuple(made[:count])
        turns.append(tuple(made[count:]))
    if not turns and len(body[1]) > count + 1:
        raise ValueError("a loop without a single turn has outputs of unknown shape.")
    return (*states, *(torch.stack(column) for column in zip(*turns, strict=True)))


@operation("onnx.Scan")
def scan(
    *taken: Any,
    names: tuple[str, ...],
    given: tuple[str, ...],
    body: Branch,
    num_scan_inputs: int,
    **settings: Sequence[int],
) -> tuple[Any, ...]:
    """The last states, then what is made of each slice of the sequences, along an axis of each."""
    count = len(given) - num_scan_inputs
    states, sequences = taken[:count], taken[count : len(given)]
    outside = dict(zip(names, taken[len(given) :], strict=True))
    outputs = len(body[1]) - count
    slices = [
        _turned(sequence.unbind(axis), back)
        for sequence, axis, back in zip(
            sequences, *_each(settings, "scan_input_axes", "scan_input_directions", num_scan_inputs), strict=True
        )
    ]
    turns: list[tuple[Any, ...]] = []
    for parts in zip(*slices, strict=True):
        made = _made(body, {**outside, **dict(zip(given, (*states, *parts), strict=True))})
        states = made[:count]
        turns.append(made[count:])
    axes, backs = _each(settings, "scan_output_axes", "scan_output_directions", outputs)
    columns = zip(zip(*turns, strict=True), axes, backs, strict=True)
    return (*states, *(torch.stack(_turned(column, back), dim=axis) for column, axis, back in columns))


def _each(settings: Mapping[str, Sequence[int]], axes: str, directions: str, count: int) -> list[Sequence[int]]:
    return [settings.get(name, [0] * count) for name in (axes, directions)]


def _turned(parts: Sequence[Any], back: int) -> list[Any]:
    return list(reversed(parts)) if back else list(parts)


def unknown_inside(step: Step) -> list[str]:
    """A sentence for each operation inside the graphs of a step that is not known."""
    inner = [one for name in ("then", "otherwise", "body") for one in step.attributes.get(name, ((), ()))[0]]
    words = [
        f"operation {one.operation.partition('.')[2]} of node {one.name!r} inside {step.name!r} is not known"
        for one in inner
        if not known(one.operation)
    ]
    return words + [word for one in inner for word in unknown_inside(one)]
