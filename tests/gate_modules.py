"""Feed-forward blocks with gate and up in one layer, as the usual libraries lay them out."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class GEGLU(nn.Module):
    """The second half goes through the activation, as in diffusers."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(4, 12)

    def forward(self, x: Tensor) -> Tensor:
        hidden, gate = self.proj(x).chunk(2, dim=-1)
        return hidden * functional.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.ModuleList([GEGLU(), nn.Dropout(0.0), nn.Linear(6, 4)])

    def forward(self, x: Tensor) -> Tensor:
        for module in self.net:
            x = module(x)
        return x


class Halved(nn.Module):
    """Two layers of any name; the gate is the first or the second half."""

    def __init__(self, up: str, down: str, *, last: bool = False, told: bool = False) -> None:
        super().__init__()
        self.names, self.last = (up, down), last
        if told:
            self.gate_last = last
        self.add_module(up, nn.Linear(4, 12))
        self.add_module(down, nn.Linear(6, 4))

    def forward(self, x: Tensor) -> Tensor:
        up, down = (self.get_submodule(name) for name in self.names)
        first, second = up(x).chunk(2, dim=-1)
        return down(first * functional.silu(second) if self.last else functional.silu(first) * second)


class Linears(nn.Sequential):
    """A dense layer, torch's own gated unit, a dense layer."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 12), nn.GLU(), nn.Linear(6, 4))


class Latent(nn.Module):
    """Mean and variance, which is no gate."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(8, 4), nn.Linear(2, 8)

    def forward(self, x: Tensor) -> Tensor:
        mean, log_variance = self.encoder(x).chunk(2, dim=-1)
        return self.decoder(mean + torch.zeros_like(log_variance))
