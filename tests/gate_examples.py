"""Examples of gate and up in one layer: the forward pass from the halves."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmd.testing import Example
from tests.gate_modules import FeedForward, Halved, Linears
from tests.seeds import data, seeded

Matrices = dict[str, Tensor]
Pairs = Iterator[tuple[Tensor, Tensor]]


def gated(up: str, down: str, activation: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, Matrices], Pairs]:
    """The block from its rows: the biases of the halves stand in the order of the halves."""

    def agrees(module: nn.Module, matrices: Matrices) -> Pairs:
        x = data(3, 4)
        first, last = (module.get_submodule(name) for name in (up, down))
        shifts = first.bias.detach().chunk(2)
        # rows come half by half
        words = [name.rpartition(".")[2] for name in matrices if name.startswith(f"{up}.")]
        halves = {word: x @ matrices[f"{up}.{word}"].T + shift for word, shift in zip(words, shifts, strict=True)}
        with torch.no_grad():
            own = module(x)
        yield (activation(halves["gate"]) * halves["up"]) @ matrices[down].T + last.bias.detach(), own

    return agrees


def example(name: str, build: Callable[[], nn.Module], up: str, down: str, *, last: bool, activation=functional.silu):
    words = ("up", "gate") if last else ("gate", "up")
    rows = (*(f"{up}.{word}" for word in words), down)
    return Example(name, seeded(build), rows, gated(up, down, activation))


FUSED_GATES: list[Example] = [
    example("gated unit of diffusers", FeedForward, "net.0.proj", "net.2", last=True, activation=functional.gelu),
    example("gated unit of torch", Linears, "0", "2", last=True, activation=torch.sigmoid),
    *(
        example(f"gate and up in {up}", lambda up=up, down=down: Halved(up, down), up, down, last=False)
        for up, down in (
            *(("w12", "w3"), ("Wi", "Wo"), ("dense_h_to_4h", "dense_4h_to_h"), ("fc1", "fc2")),
            *(("weights_in", "weights_out"), ("linear_fc1", "linear_fc2"), ("into", "back")),
        )
    ),
    example("gate last in fc1", lambda: Halved("fc1", "fc2", last=True, told=True), "fc1", "fc2", last=True),
]
