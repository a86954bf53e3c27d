"""Examples of stacks of experts and of messages, each with its forward pass from its rows."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmd.testing import Example
from tests.expert_modules import Bases, Blocks, GatedGraph, Routed, RoutedStacks
from tests.kind_examples import ADJACENCY, answer, stack_rows
from tests.seeds import data, seeded

Matrices = dict[str, Tensor]
Pairs = Iterator[tuple[Tensor, Tensor]]


def routed(module: Routed, matrices: Matrices) -> Pairs:
    x, total = data(5, 4), torch.zeros(5, 4)
    scores = torch.softmax(x @ matrices["router"].T, dim=-1)
    for e in range(3):
        hidden = torch.relu(x @ matrices[f"w_in.{e}"].T + matrices["b_in"].T[e])
        total = total + scores[:, e : e + 1] * (hidden @ matrices[f"w_out.{e}"].T)
    yield total, answer(module, x)
    yield matrices["w_in.mean"] + matrices["w_in.1.deviation"], matrices["w_in.1"]


def routed_stacks(module: RoutedStacks, matrices: Matrices) -> Pairs:
    x, total = data(5, 4), torch.zeros(5, 4)
    scores = torch.softmax(x @ matrices["gate"].T, dim=-1)
    for e in range(3):
        gate, up = (x @ matrices[f"experts.wi.{e}.{half}"].T for half in ("gate", "up"))
        total = total + scores[:, e : e + 1] * ((functional.silu(gate) * up) @ matrices[f"experts.wo.{e}"].T)
    yield total, answer(module, x)


def gated_graph(module: GatedGraph, matrices: Matrices) -> Pairs:
    x = data(3, 4)
    own = answer(module, x, ADJACENCY)
    for step in range(3):
        x = answer(module.rnn, ADJACENCY @ (x @ matrices[f"weight.{step}"].T), x)
    yield x, own


def bases(module: nn.Module, matrices: Matrices) -> Pairs:
    x = data(3, 4)
    sent = sum(ADJACENCY * (k + 1) @ (x @ matrices[f"relation.{k}"].T.float()) for k in range(5))
    yield sent + x @ matrices["root"].T + module.bias.detach(), answer(module, x, ADJACENCY)


def blocks(module: nn.Module, matrices: Matrices) -> Pairs:
    x = data(3, 4)
    sent = sum(ADJACENCY * (k + 1) @ (x @ matrices[f"weight.{k}"].T) for k in range(2))
    yield sent + x @ matrices["root"].T, answer(module, x, ADJACENCY)


GRU = tuple(f"rnn.{part}.{gate}" for part in ("input", "hidden") for gate in "rzn")
STACKS: list[Example] = [
    Example(
        "experts beside their router",
        seeded(Routed),
        ("router", *stack_rows("w_in"), "b_in", *stack_rows("w_out")),
        routed,
    ),
    Example(
        "stacks of a child beside the router",
        seeded(RoutedStacks),
        ("gate", *stack_rows("experts.wi", "gate", "up"), *stack_rows("experts.wo")),
        routed_stacks,
    ),
    Example("gated graph network", seeded(GatedGraph), ("weight.0", "weight.1", "weight.2", *GRU), gated_graph),
    Example(
        "relations of bases",
        seeded(Bases),
        ("weight.0", "weight.1", *(f"relation.{k}" for k in range(5)), "comp", "root"),
        bases,
    ),
    Example("relations of blocks", seeded(Blocks), ("weight.0", "weight.1", "root"), blocks),
]
