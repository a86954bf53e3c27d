"""Small state-space layers laid out as the usual libraries lay theirs out, with their forward passes."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class DiagonalKernel(nn.Module):
    """A convolution whose kernel is made of complex states, two for each of three channels (Gu et al. 2022)."""

    def __init__(self) -> None:
        super().__init__()
        self.log_dt = nn.Parameter(torch.empty(3))
        self.log_A_real = nn.Parameter(torch.empty(3, 2))
        self.A_imag = nn.Parameter(torch.empty(3, 2))
        self.C = nn.Parameter(torch.empty(3, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        length = len(x)
        A = torch.complex(-self.log_A_real.exp(), self.A_imag)
        turned = A * self.log_dt.exp()[:, None]
        C = torch.view_as_complex(self.C) * (turned.exp() - 1) / A
        powers = torch.exp(turned[..., None] * torch.arange(length))
        kernel = 2 * torch.einsum("hn,hnl->hl", C, powers).real
        steps = (kernel[:, : t + 1].flip(1) * x[: t + 1].T for t in range(length))
        return torch.stack([step.sum(1) for step in steps])


class LinearRecurrentUnit(nn.Module):
    """Complex states with a modulus below one (Orvieto et al. 2023); complex maps as one tensor or two."""

    def __init__(self, *, typed: bool = False) -> None:
        super().__init__()
        for name in ("nu_log", "theta_log", "gamma_log"):
            self.register_parameter(name, nn.Parameter(torch.empty(4)))
        self.typed = typed
        if typed:
            self.B = nn.Parameter(torch.empty(4, 3, dtype=torch.complex64))
            self.C = nn.Parameter(torch.empty(2, 4, dtype=torch.complex64))
        else:
            for name, shape in (("B_re", (4, 3)), ("B_im", (4, 3)), ("C_re", (2, 4)), ("C_im", (2, 4))):
                self.register_parameter(name, nn.Parameter(torch.empty(shape)))
        self.D = nn.Parameter(torch.empty(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        turned = torch.exp(torch.complex(-self.nu_log.exp(), self.theta_log.exp()))
        B = self.B if self.typed else torch.complex(self.B_re, self.B_im)
        C = self.C if self.typed else torch.complex(self.C_re, self.C_im)
        h, outputs = torch.zeros(4, dtype=torch.complex64), []
        for row in x:
            h = turned * h + self.gamma_log.exp() * (B @ row.to(torch.complex64))
            outputs.append((C @ h).real + self.D @ row)
        return torch.stack(outputs)


class SharedStates(nn.Module):
    """Complex states shared by all channels, all numbers as pairs of real ones, a step for each state."""

    def __init__(self) -> None:
        super().__init__()
        self.Lambda = nn.Parameter(torch.empty(4, 2))
        self.log_step = nn.Parameter(torch.empty(4, 1))
        self.B = nn.Parameter(torch.empty(4, 3, 2))
        self.C = nn.Parameter(torch.empty(3, 4, 2))
        self.D = nn.Parameter(torch.empty(3))

    def forward(self, x: Tensor) -> Tensor:
        values, B, C = (torch.view_as_complex(part) for part in (self.Lambda, self.B, self.C))
        turned = torch.exp(values * self.log_step.exp().flatten())
        h, outputs = torch.zeros(4, dtype=torch.complex64), []
        for row in x:
            h = turned * h + (turned - 1) / values * (B @ row.to(torch.complex64))
            outputs.append((C @ h).real + self.D * row)
        return torch.stack(outputs)


class GatedStates(nn.Module):
    """Real states with gates of two heads, three channels each, stored (heads, in, out) (De et al. 2024)."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent_param = nn.Parameter(torch.empty(6))
        for word in ("input", "recurrent"):
            self.register_parameter(f"{word}_gate_weight", nn.Parameter(torch.empty(2, 3, 3)))
            self.register_parameter(f"{word}_gate_bias", nn.Parameter(torch.empty(2, 3)))

    def gate(self, word: str, x: Tensor) -> Tensor:
        weight, bias = self.get_parameter(f"{word}_gate_weight"), self.get_parameter(f"{word}_gate_bias")
        heads = torch.einsum("thi,hij->thj", x.unflatten(1, (2, 3)), weight) + bias
        return torch.sigmoid(heads).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        log_a = -8.0 * self.gate("recurrent", x) * functional.softplus(self.recurrent_param)
        entering = torch.sqrt(1 - torch.exp(2 * log_a)) * self.gate("input", x) * x
        h, outputs = torch.zeros(6), []
        for a, step in zip(log_a.exp(), entering, strict=True):
            h = a * h + step
            outputs.append(h)
        return torch.stack(outputs)


class WeightedKeyValue(nn.Module):
    """Keys fade at each step, the newest counts more (Peng et al. 2023); without its token shift."""

    def __init__(self) -> None:
        super().__init__()
        self.time_decay, self.time_first = nn.Parameter(torch.empty(4)), nn.Parameter(torch.empty(4))
        self.time_mix_key = nn.Parameter(torch.empty(1, 1, 4))
        for name in ("key", "value", "receptance", "output"):
            self.add_module(name, nn.Linear(4, 4, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        k, v, r = self.key(x * self.time_mix_key[0]), self.value(x), torch.sigmoid(self.receptance(x))
        kept, outputs = torch.exp(-torch.exp(self.time_decay)), []
        above, below = torch.zeros(4), torch.zeros(4)
        for key, value in zip(k.exp(), v, strict=True):
            first = self.time_first.exp() * key
            outputs.append((above + first * value) / (below + first))
            above, below = kept * above + key * value, kept * below + key
        return self.output(r * torch.stack(outputs))
