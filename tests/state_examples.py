"""Examples of state spaces: every step of their forward passes from their rows."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lmd.testing import Example
from tests.seeds import data, seeded
from tests.state_modules import (
    DiagonalKernel,
    GatedStates,
    LinearRecurrentUnit,
    SharedStates,
    WeightedKeyValue,
)

Matrices = dict[str, Tensor]
Pairs = Iterator[tuple[Tensor, Tensor]]


def answer(module: nn.Module, *inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return module(*inputs)


def as_blocks(values: Tensor) -> Tensor:
    """Multiplication by complex numbers on interleaved real and imaginary parts."""
    blocks = torch.stack([values.real, -values.imag, values.imag, values.real], dim=-1).unflatten(-1, (2, 2))
    return torch.block_diag(*blocks.reshape(-1, 2, 2))


def as_numbers(blocks: Tensor) -> Tensor:
    return torch.complex(blocks.diagonal()[::2].contiguous(), blocks.diagonal(-1)[::2].contiguous())


def scanned(step: Tensor, B: Tensor, C: Tensor, D: Tensor, x: Tensor) -> Tensor:
    h, outputs = torch.zeros(len(step), dtype=torch.float64), []
    for row in x.double():
        h = step.double() @ h + B.double() @ row
        outputs.append(C.double() @ h + D.double() @ row)
    return torch.stack(outputs).float()


def discretised(matrices: Matrices) -> Tensor:
    """``(exp(dt A) - 1) / A`` as blocks."""
    return as_blocks((as_numbers(matrices["step"]) - 1) / as_numbers(matrices["A"]))


def diagonal_kernel(module: DiagonalKernel, matrices: Matrices) -> Pairs:
    x = data(5, 3)
    # every state of a channel is written with a real one
    ones = torch.block_diag(*[torch.tensor([[1.0], [0.0]] * 2)] * 3)
    entering = discretised(matrices).double() @ ones.double()
    yield scanned(matrices["step"], entering, matrices["C"], torch.zeros(3, 3), x), answer(module, x)
    yield matrices["dt"].diagonal().float(), module.log_dt.detach().exp()


def unit(module: LinearRecurrentUnit, matrices: Matrices) -> Pairs:
    x = data(5, 3)
    yield scanned(*(matrices[name] for name in ("decay", "B", "C", "D")), x), answer(module, x)


def shared_states(module: SharedStates, matrices: Matrices) -> Pairs:
    x = data(5, 3)
    entering = discretised(matrices).double() @ matrices["B"].double()
    yield scanned(matrices["step"], entering, matrices["C"], matrices["D"], x), answer(module, x)


def gated_states(module: GatedStates, matrices: Matrices) -> Pairs:
    x = data(5, 6)
    gates = (
        torch.sigmoid(x @ matrices[f"{word}_gate"].T + module.get_parameter(f"{word}_gate_bias").detach().flatten())
        for word in ("input", "recurrent")
    )
    entering, forgetting = gates
    a = matrices["decay"].diagonal().float() ** forgetting
    h, outputs = torch.zeros(6), []
    for factor, step in zip(a, torch.sqrt(1 - a**2) * entering * x, strict=True):
        h = factor * h + step
        outputs.append(h)
    yield torch.stack(outputs), answer(module, x)


def weighted_key_value(module: WeightedKeyValue, matrices: Matrices) -> Pairs:
    x = data(5, 4)
    k = x @ matrices["time_mix_key"].T @ matrices["key"].T
    v, r = x @ matrices["value"].T, torch.sigmoid(x @ matrices["receptance"].T)
    above, below, outputs = torch.zeros(4), torch.zeros(4), []
    for key, value in zip(k.exp(), v, strict=True):
        first = matrices["time_first"].float() @ key
        outputs.append((above + first * value) / (below + first))
        above = matrices["decay"].float() @ above + key * value
        below = matrices["decay"].float() @ below + key
    yield (r * torch.stack(outputs)) @ matrices["output"].T, answer(module, x)


STATES: list[Example] = [
    Example("diagonal state space", seeded(DiagonalKernel), ("A", "step", "dt", "C"), diagonal_kernel),
    Example("linear recurrent unit", seeded(LinearRecurrentUnit), ("decay", "B", "C", "D"), unit),
    Example(
        "linear recurrent unit of complex tensors",
        seeded(lambda: LinearRecurrentUnit(typed=True)),
        ("decay", "B", "C", "D"),
        unit,
    ),
    Example("states shared by channels", seeded(SharedStates), ("A", "step", "dt", "B", "C", "D"), shared_states),
    Example(
        "gated states",
        seeded(GatedStates),
        ("decay", "input_gate", "recurrent_gate", "input_gate_bias", "recurrent_gate_bias"),
        gated_states,
    ),
    Example(
        "weighted keys and values",
        seeded(WeightedKeyValue),
        ("decay", "time_first", "time_mix_key", "key", "value", "receptance", "output"),
        weighted_key_value,
    ),
]
