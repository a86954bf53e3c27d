"""Small modules laid out as the usual libraries lay theirs out, with their forward passes."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class LayerScale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class ClassToken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, 6))
        self.pos_embed = nn.Parameter(torch.empty(1, 5, 6))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.cls_token.expand(len(x), 1, 6), x], dim=1) + self.pos_embed


class WithoutLayers(nn.Module):
    """Matrices and a stack that no module wraps."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.empty(3, 4))
        self.turned = nn.Parameter(torch.eye(3))
        self.stack = nn.Parameter(torch.empty(3, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.matrix) @ torch.linalg.inv(self.turned).T


class StackedExperts(nn.Module):
    """As in Mixtral, or the other way round as in Llama 4."""

    width, experts = 4, 3

    def __init__(self, *, transposed: bool = False) -> None:
        super().__init__()
        self.turned = transposed
        self.gate_up_proj = nn.Parameter(torch.empty(3, 4, 10) if transposed else torch.empty(3, 10, 4))
        self.down_proj = nn.Parameter(torch.empty(3, 5, 4) if transposed else torch.empty(3, 4, 5))

    def joined(self, gate: Tensor, up: Tensor, expert: int) -> Tensor:
        return functional.silu(gate) * up

    def shift(self, expert: int) -> float:
        return 0.0

    def forward(self, x: Tensor, expert: int) -> Tensor:
        into, back = self.gate_up_proj[expert], self.down_proj[expert]
        if self.turned:
            into, back = into.T, back.T
        gate, up = functional.linear(x, into).chunk(2, dim=-1)
        return functional.linear(functional.silu(gate) * up, back)


class PairedExperts(nn.Module):
    """As in GPT-OSS: with biases, stored (in, out), gate and up in alternating columns."""

    width, experts = 4, 3

    def __init__(self) -> None:
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.empty(3, 4, 10))
        self.gate_up_proj_bias = nn.Parameter(torch.empty(3, 10))
        self.down_proj = nn.Parameter(torch.empty(3, 5, 4))
        self.down_proj_bias = nn.Parameter(torch.empty(3, 4))

    def joined(self, gate: Tensor, up: Tensor, expert: int) -> Tensor:
        bias = self.gate_up_proj_bias[expert].detach()
        gate, up = gate + bias[::2], up + bias[1::2]
        return (up + 1) * gate * torch.sigmoid(1.702 * gate)

    def shift(self, expert: int) -> Tensor:
        return self.down_proj_bias[expert].detach()

    def forward(self, x: Tensor, expert: int) -> Tensor:
        both = x @ self.gate_up_proj[expert] + self.gate_up_proj_bias[expert]
        gate, up = both[..., ::2], both[..., 1::2]
        hidden = (up + 1) * gate * torch.sigmoid(1.702 * gate)
        return hidden @ self.down_proj[expert] + self.down_proj_bias[expert]


class SeparateExperts(nn.Module):
    """Three stacks stored (experts, in, out); the width of the network is an attribute."""

    experts, hidden_size = 3, 4

    def __init__(self) -> None:
        super().__init__()
        self.w1 = nn.Parameter(torch.empty(3, 4, 6))
        self.w2 = nn.Parameter(torch.empty(3, 6, 4))
        self.w3 = nn.Parameter(torch.empty(3, 4, 6))

    def forward(self, x: Tensor, expert: int) -> Tensor:
        return (functional.silu(x @ self.w1[expert]) * (x @ self.w3[expert])) @ self.w2[expert]


class Expert(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(4, 5)
        self.fc2 = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(torch.relu(self.fc1(x)))


class ExpertList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(4, 2, bias=False)
        self.experts = nn.ModuleList([Expert(), Expert()])

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.softmax(self.gate(x), dim=1)
        return sum(scores[:, e : e + 1] * expert(x) for e, expert in enumerate(self.experts))


class Router(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.num_experts = 3
        self.weight = nn.Parameter(torch.empty(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight)


class FusedGate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_up_proj = nn.Linear(4, 10, bias=False)
        self.down_proj = nn.Linear(5, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        return self.down_proj(functional.silu(gate) * up)


class SwiGLU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(4, 5, bias=False)
        self.up_proj = nn.Linear(4, 5, bias=False)
        self.down_proj = nn.Linear(5, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Mixer(nn.Module):
    """Mamba's selective state space: width 3, inner width 4, 2 states, step rank 2, causal convolution of 3."""

    def __init__(self) -> None:
        super().__init__()
        self.A_log = nn.Parameter(torch.empty(4, 2))
        self.D = nn.Parameter(torch.empty(4))
        self.in_proj = nn.Linear(3, 8, bias=False)
        self.conv1d = nn.Conv1d(4, 4, 3, groups=4, padding=2)
        self.x_proj = nn.Linear(4, 6, bias=False)
        self.dt_proj = nn.Linear(2, 4)
        self.out_proj = nn.Linear(4, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        into, gate = self.in_proj(x).chunk(2, dim=-1)
        into = functional.silu(self.conv1d(into.T)[:, : len(x)].T)
        dt, B, C = self.x_proj(into).split([2, 2, 2], dim=-1)
        dt = functional.softplus(self.dt_proj(dt))
        h, outputs = x.new_zeros(4, 2), []
        for step in range(len(x)):
            kept = torch.exp(-dt[step, :, None] * torch.exp(self.A_log)) * h
            h = kept + dt[step, :, None] * B[step] * into[step, :, None]
            outputs.append(h @ C[step] + self.D * into[step])
        return self.out_proj(torch.stack(outputs) * functional.silu(gate))


class OwnLinear(nn.Module):
    """A graph library's own linear layer, stored (out, in)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight)


class GraphConvolution(nn.Module):
    """Normalised neighbours are summed after one map (Kipf & Welling 2017)."""

    def __init__(self, in_channels: int = 4, out_channels: int = 5) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.lin = OwnLinear(in_channels, out_channels)
        self.bias = nn.Parameter(torch.empty(out_channels))

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        return adjacency @ self.lin(x) + self.bias


class GraphSum(nn.Module):
    """The same with the weight stored (in, out); square, so that the shape does not tell."""

    def __init__(self) -> None:
        super().__init__()
        self.in_features = self.out_features = 4
        self.weight = nn.Parameter(torch.empty(4, 4))

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        return adjacency @ (x @ self.weight)


class GraphAttention(nn.Module):
    """Two heads of width 5 (Velickovic et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.in_channels, self.out_channels = 4, 5
        self.lin = OwnLinear(4, 10)
        self.att_src = nn.Parameter(torch.empty(1, 2, 5))
        self.att_dst = nn.Parameter(torch.empty(1, 2, 5))

    def forward(self, x: Tensor) -> Tensor:
        features = self.lin(x).unflatten(1, (2, 5))
        source, target = (features * self.att_src).sum(-1), (features * self.att_dst).sum(-1)
        scores = torch.softmax(functional.leaky_relu(target[:, None] + source[None], 0.2), dim=1)
        return torch.einsum("tsh,shc->thc", scores, features).flatten(1)


class RelationalGraph(nn.Module):
    """One map for each relation, stored (relations, in, out) (Schlichtkrull et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.in_channels, self.out_channels = 4, 3
        self.weight = nn.Parameter(torch.empty(2, 4, 3))
        self.root = nn.Parameter(torch.empty(4, 3))

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        messages = sum(adjacency * (k + 1) @ (x @ W) for k, W in enumerate(self.weight))
        return messages + x @ self.root


class CrystalGraph(nn.Module):
    """Both nodes and their edge in one map (Xie & Grossman 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.fc_full = nn.Linear(8, 6)

    def forward(self, own: Tensor, neighbour: Tensor, edge: Tensor) -> Tensor:
        return self.fc_full(torch.cat([own, neighbour, edge], dim=1))
