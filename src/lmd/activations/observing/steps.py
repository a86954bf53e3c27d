"""Recurrent layers, step by step: what goes into the maps of the input and of the state, and what the state becomes."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Step", "steps_of"]

Step = tuple[str, Tensor, Tensor]
"""Which maps, as the rows are called (``l0.hidden``); what goes into them; what the state becomes."""


def steps_of(module: nn.Module, x: Tensor, answer: Any, given: tuple[Any, ...]) -> Iterator[Step]:
    """The steps of one call; of layers stacked in one module nothing is seen, since only the last gives its states.

    Args:
        module: a recurrent layer or cell.
        x: its input.
        answer: what it gave.
        given: all that it was called with, its first state perhaps among them.
    """
    output = _first(answer)
    state = _first(given[1]) if len(given) > 1 else None
    if isinstance(module, nn.RNNCellBase):
        yield "input", x, output
        yield "hidden", torch.zeros_like(output) if state is None else state, output
    elif isinstance(module, nn.RNNBase) and module.num_layers == 1 and isinstance(output, Tensor):
        time = int(module.batch_first and x.ndim == 3)
        directions = ("l0", "l0.reverse") if module.bidirectional else ("l0",)
        for index, (place, y) in enumerate(zip(directions, output.chunk(len(directions), dim=-1), strict=True)):
            yield f"{place}.input", x, y
            start = torch.zeros_like(y.narrow(time, 0, 1)) if state is None else state[index].unsqueeze(time)
            length = y.shape[time] - 1
            parts = [y.narrow(time, 1, length), start] if index else [start, y.narrow(time, 0, length)]
            yield f"{place}.hidden", torch.cat(parts, dim=time), y


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) else value
