"""Experts in stacks of free names beside their router, and graph layers with stacks that are no experts."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Routed(nn.Module):
    """Stacks in the module itself, stored (experts, in, out); the router is a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(4, 3, bias=False)
        self.w_in, self.b_in = nn.Parameter(torch.empty(3, 4, 6)), nn.Parameter(torch.empty(3, 6))
        self.w_out = nn.Parameter(torch.empty(3, 6, 4))

    def expert(self, x: Tensor, index: int) -> Tensor:
        return torch.relu(x @ self.w_in[index] + self.b_in[index]) @ self.w_out[index]

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.softmax(self.router(x), dim=-1)
        return sum(scores[:, e : e + 1] * self.expert(x, e) for e in range(3))


class Stacks(nn.Module):
    """Stored (experts, out, in), gate and up in one stack."""

    def __init__(self) -> None:
        super().__init__()
        self.wi = nn.Parameter(torch.empty(3, 12, 4))
        self.wo = nn.Parameter(torch.empty(3, 4, 6))

    def forward(self, x: Tensor, index: int) -> Tensor:
        gate, up = functional.linear(x, self.wi[index]).chunk(2, dim=-1)
        return functional.linear(functional.silu(gate) * up, self.wo[index])


class RoutedStacks(nn.Module):
    """Stacks in a child, the router a matrix stored (in, experts)."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.empty(4, 3))
        self.experts = Stacks()

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.softmax(x @ self.gate, dim=-1)
        return sum(scores[:, e : e + 1] * self.experts(x, e) for e in range(3))


class GatedGraph(nn.Module):
    """One message map for each step, then a GRU (Li et al. 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3, 4, 4))
        self.rnn = nn.GRUCell(4, 4)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        for W in self.weight:
            x = self.rnn(adjacency @ (x @ W), x)
        return x


class Bases(nn.Module):
    """Five relations made of two bases (Schlichtkrull et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.comp = nn.Parameter(torch.empty(2, 4, 3)), nn.Parameter(torch.empty(5, 2))
        self.root, self.bias = nn.Parameter(torch.empty(4, 3)), nn.Parameter(torch.empty(3))

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        maps = torch.einsum("rb,bio->rio", self.comp, self.weight)
        return sum(adjacency * (k + 1) @ (x @ W) for k, W in enumerate(maps)) + x @ self.root + self.bias


class Blocks(nn.Module):
    """Two relations, each of two blocks on the diagonal."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.root = nn.Parameter(torch.empty(2, 2, 2, 3)), nn.Parameter(torch.empty(4, 6))

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        parts = x.unflatten(1, (2, 2))
        sent = sum(
            adjacency * (k + 1) @ torch.einsum("nbi,bio->nbo", parts, W).flatten(1) for k, W in enumerate(self.weight)
        )
        return sent + x @ self.root
