"""A few of the examples that pass, each with the same chance."""

import torch
from torch import Tensor

__all__ = ["Sample"]

_MOST, _MOST_NUMBERS = 1000, 1 << 22


class Sample:
    """Examples drawn as they pass, each with the same chance (Vitter 1985, algorithm R)."""

    def __init__(self, generator: torch.Generator) -> None:
        """Draw with this generator."""
        self._generator = generator
        self._inputs: list[Tensor] = []
        self._outputs: list[Tensor] = []
        self.seen = 0

    def add(self, inputs: Tensor, outputs: Tensor) -> None:
        """One batch and what the network gave for it."""
        most = max(2, min(_MOST, _MOST_NUMBERS // max(1, inputs[0].numel(), outputs[0].numel())))
        for x, y in zip(inputs, outputs, strict=True):
            self.seen += 1
            if len(self._inputs) < most:
                self._inputs.append(x.clone())
                self._outputs.append(y.clone())
                continue
            place = int(torch.randint(self.seen, (), generator=self._generator))
            if place < most:
                self._inputs[place], self._outputs[place] = x.clone(), y.clone()

    def taken(self) -> tuple[Tensor, Tensor]:
        """Inputs and outputs of the sample."""
        return torch.stack(self._inputs), torch.stack(self._outputs)
