"""Recurrent layers of torch that run as Keras runs them: activations, masks, directions and what they return."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lmd.sources.keras.operations.activations import FUNCTIONS

__all__ = ["KerasGRU", "KerasLSTM", "KerasRNN", "Manner"]

States = tuple[Tensor, ...]
Step = Callable[[Tensor, States], States]


@dataclass(frozen=True, slots=True)
class Manner:
    """How a recurrent layer is run.

    Attributes:
        activation: of the candidate, a name of ``FUNCTIONS``.
        gates: activation of the gates.
        sequences: whether every step is returned.
        states: whether the last states are returned too.
        backwards: whether time runs backwards.
        reset_after: of a GRU, whether the reset gate acts behind the matrix.
        merge: of one in both directions, how their outputs are merged; '' returns both.
    """

    activation: str = "tanh"
    gates: str = "sigmoid"
    sequences: bool = False
    states: bool = False
    backwards: bool = False
    reset_after: bool = True
    merge: str = "concat"


class _Run(nn.RNNBase, ABC):
    """The loop over time, on the parameters that torch's layer holds. ``x`` is ``(N, T, features)``."""

    manner: Manner

    def forward(self, x: Tensor, mask: Tensor | None = None, *initial: Tensor) -> Any:
        """Outputs, then states where they are asked for."""
        count = len(initial) // (1 + self.bidirectional)
        forward = self._direction(x, mask, initial[:count], "", backwards=self.manner.backwards)
        if not self.bidirectional:
            return self._given(*forward)
        backward = self._direction(x, mask, initial[count:], "_reverse", backwards=not self.manner.backwards)
        outputs, states = backward
        if self.manner.sequences:
            outputs = outputs.flip(1)
        merged = _merged(forward[0], outputs, self.manner.merge)
        return self._given(merged, (*forward[1], *states))

    def _given(self, outputs: Any, states: States) -> Any:
        found = outputs if isinstance(outputs, tuple) else (outputs,)
        found = (*found, *states) if self.manner.states else found
        return found[0] if len(found) == 1 else found

    def _direction(
        self, x: Tensor, mask: Tensor | None, initial: Sequence[Tensor], suffix: str, *, backwards: bool
    ) -> tuple[Tensor, States]:
        if backwards:
            x, mask = x.flip(1), None if mask is None else mask.flip(1)
        states = tuple(initial) or tuple(x.new_zeros(len(x), self.hidden_size) for _ in range(self.carried))
        step, outputs, output = self._step(suffix), [], x.new_zeros(len(x), self.hidden_size)
        for time in range(x.shape[1]):
            found = step(x[:, time], states)
            if mask is None:
                output, states = found[0], found
            else:
                there = mask[:, time].bool().unsqueeze(-1)
                output = torch.where(there, found[0], output)
                states = tuple(torch.where(there, new, old) for new, old in zip(found, states, strict=True))
            outputs.append(output)
        return (torch.stack(outputs, dim=1) if self.manner.sequences else output), states

    def _maps(self, suffix: str) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        def map_of(kind: str) -> Callable[[Tensor], Tensor]:
            weight = getattr(self, f"weight_{kind}_l0{suffix}")
            bias = getattr(self, f"bias_{kind}_l0{suffix}") if self.bias else None
            return lambda x: nn.functional.linear(x, weight, bias)

        return map_of("ih"), map_of("hh")

    carried = 1

    @abstractmethod
    def _step(self, suffix: str) -> Step:
        """One step of time, on the parameters of one direction."""


def _merged(forward: Tensor, backward: Tensor, how: str) -> Any:
    if not how:
        return forward, backward
    if how == "concat":
        return torch.cat([forward, backward], dim=-1)
    total = forward * backward if how == "mul" else forward + backward
    return total / 2 if how == "ave" else total


class KerasLSTM(_Run, nn.LSTM):
    """Gates in the order input, forget, cell, output."""

    carried = 2

    def _step(self, suffix: str) -> Step:
        (enter, stay), act, gate = self._maps(suffix), FUNCTIONS[self.manner.activation], FUNCTIONS[self.manner.gates]

        def step(x: Tensor, states: States) -> States:
            h, c = states
            i, f, g, o = (enter(x) + stay(h)).chunk(4, dim=-1)
            c = gate(f) * c + gate(i) * act(g)
            return gate(o) * act(c), c

        return step


class KerasGRU(_Run, nn.GRU):
    """Gates in the order reset, update, candidate."""

    def _step(self, suffix: str) -> Step:
        (enter, stay), act, gate = self._maps(suffix), FUNCTIONS[self.manner.activation], FUNCTIONS[self.manner.gates]
        size = self.hidden_size
        inner = getattr(self, f"weight_hh_l0{suffix}")[2 * size :]

        def step(x: Tensor, states: States) -> States:
            (h,) = states
            entering, staying = enter(x), stay(h)
            r, z = (
                gate(entering[:, k * size : (k + 1) * size] + staying[:, k * size : (k + 1) * size]) for k in (0, 1)
            )
            kept = r * staying[:, 2 * size :] if self.manner.reset_after else (r * h) @ inner.T
            n = act(entering[:, 2 * size :] + kept)
            return (z * h + (1 - z) * n,)

        return step


class KerasRNN(_Run, nn.RNN):
    """One map and no gates."""

    def _step(self, suffix: str) -> Step:
        (enter, stay), act = self._maps(suffix), FUNCTIONS[self.manner.activation]
        return lambda x, states: (act(enter(x) + stay(states[0])),)
