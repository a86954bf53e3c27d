"""Recurrent layers whose weights are computed, or whose activations and gates torch's layers have not."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lmd.sources.graph.operations import operation
from lmd.sources.onnx.operations.quantised import dequantize_linear, dynamic_quantize_linear

__all__: list[str] = []

Act = Callable[[Tensor], Tensor]
_DEFAULTS = {"HardSigmoid": (0.2, 0.5), "LeakyRelu": (0.01, 0.0), "Elu": (1.0, 0.0), "ThresholdedRelu": (1.0, 0.0)}


def _activation(name: str, alpha: float | None, beta: float | None) -> Act:
    first, second = _DEFAULTS.get(name, (1.0, 0.0))
    a, b = first if alpha is None else alpha, second if beta is None else beta
    known: dict[str, Act] = {
        "Sigmoid": torch.sigmoid,
        "Tanh": torch.tanh,
        "Relu": torch.relu,
        "Affine": lambda x: a * x + b,
        "LeakyRelu": lambda x: torch.where(x < 0, a * x, x),
        "ThresholdedRelu": lambda x: torch.where(x > a, x, torch.zeros_like(x)),
        "ScaledTanh": lambda x: a * torch.tanh(b * x),
        "HardSigmoid": lambda x: (a * x + b).clamp(0, 1),
        "Elu": lambda x: torch.where(x < 0, a * torch.expm1(x), x),
        "Softsign": lambda x: x / (1 + x.abs()),
        "Softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    }
    if name not in known:
        raise ValueError(f"activation {name!r} of a recurrent layer is none of the standard's.")
    return known[name]


class _Side:
    """One direction: its matrices, its activations, and one step."""

    def __init__(self, parts: list[Tensor | None], acts: list[Act], settings: dict[str, Any]) -> None:
        W, R, bias, self.peep = parts
        assert W is not None
        assert R is not None
        self.W, self.R, self.hidden = W, R, R.shape[1]
        self.bias = bias if bias is not None else W.new_zeros(2 * len(W))
        self.acts, self.settings = acts, settings

    def seen(self, x: Tensor) -> Tensor:
        """What the matrices are multiplied with: where they are codes, the nearest number that codes of 8 bits tell."""
        return dequantize_linear(*dynamic_quantize_linear(x)) if self.settings.get("in_codes") else x

    def _clip(self, x: Tensor) -> Tensor:
        bound = self.settings.get("clip")
        return x if bound is None else x.clamp(-bound, bound)

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        into, over = self.bias.chunk(2)
        if len(self.W) == self.hidden:
            return self.acts[0](self._clip(x @ self.W.T + into + h @ self.R.T + over)), c
        if len(self.W) == 3 * self.hidden:
            return self._gru(x @ self.W.T + into, h, over), c
        return self._lstm(x @ self.W.T + into + self.seen(h) @ self.R.T + over, c)

    def _gru(self, into: Tensor, h: Tensor, over: Tensor) -> Tensor:
        (xz, xr, xh), (Rz, Rr, Rh), (bz, br, bh) = into.chunk(3, -1), self.R.chunk(3), over.chunk(3)
        z = self.acts[0](self._clip(xz + h @ Rz.T + bz))
        r = self.acts[0](self._clip(xr + h @ Rr.T + br))
        after = self.settings.get("linear_before_reset", 0)
        n = self.acts[1](self._clip(xh + (r * (h @ Rh.T + bh) if after else (r * h) @ Rh.T + bh)))
        return (1 - z) * n + z * h

    def _lstm(self, gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i, o, f, g = gates.chunk(4, -1)
        pi, po, pf = self.peep.chunk(3) if self.peep is not None else [c.new_zeros(self.hidden)] * 3
        i = self.acts[0](self._clip(i + pi * c))
        f = 1 - i if self.settings.get("input_forget") else self.acts[0](self._clip(f + pf * c))
        c = f * c + i * self.acts[1](self._clip(g))
        return self.acts[0](self._clip(o + po * c)) * self.acts[2](c), c


def _run(side: _Side, x: Tensor, state: tuple[Tensor, Tensor], lengths: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Every step; beyond the end of its sequence an example gives 0 and keeps its state."""
    h, c = state
    made = []
    for number, row in enumerate(side.seen(x)):
        new_h, new_c = side.step(row, h, c)
        if lengths is None:
            h, c = new_h, new_c
            made.append(h)
            continue
        there = (number < lengths)[:, None]
        h, c = torch.where(there, new_h, h), torch.where(there, new_c, c)
        made.append(torch.where(there, new_h, torch.zeros_like(new_h)))
    return torch.stack(made), h, c


def _backwards(x: Tensor, lengths: Tensor | None) -> Tensor:
    if lengths is None:
        return x.flip(0)
    steps = torch.arange(len(x))[:, None]
    places = torch.where(steps < lengths, lengths - 1 - steps, steps).to(torch.int64)
    return x.gather(0, places[:, :, None].expand_as(x))


def _recurrent(names: Sequence[str], given: tuple[Tensor | None, ...], settings: dict[str, Any]) -> tuple[Tensor, ...]:
    x, W, R, bias, lengths, h0, c0, peep, *_ = (*given, *[None] * 8)
    assert x is not None
    assert W is not None
    assert R is not None
    layout, direction = settings.get("layout", 0), settings.get("direction", "forward")
    if layout:
        x, h0, c0 = x.transpose(0, 1), *(s if s is None else s.transpose(0, 1) for s in (h0, c0))
    acts = _activations(names, len(W), settings)
    results = []
    for place in range(len(W)):
        parts = [p if p is None else p[place] for p in (W, R, bias, peep)]
        side = _Side(parts, acts[place], settings)
        none = x.new_zeros(x.shape[1], side.hidden)
        state = tuple(none if s is None else s[place] for s in (h0, c0))
        back = direction == "reverse" or place == 1
        made, h, c = _run(side, _backwards(x, lengths) if back else x, (state[0], state[1]), lengths)
        results.append((_backwards(made, lengths) if back else made, h, c))
    made, h, c = (torch.stack(parts, dim=dim) for parts, dim in zip(zip(*results, strict=True), (1, 0, 0), strict=True))
    if layout:
        return made.permute(2, 0, 1, 3), h.transpose(0, 1), c.transpose(0, 1)
    return made, h, c


def _activations(names: Sequence[str], count: int, settings: dict[str, Any]) -> list[list[Act]]:
    chosen = [*(settings.get("activations") or [*names] * count)]
    alphas, betas = (list(settings.get(f"activation_{word}") or ()) for word in ("alpha", "beta"))
    takes_alpha = {"Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu"}
    takes_beta = {"Affine", "ScaledTanh", "HardSigmoid"}
    acts = []
    for name in chosen:
        alpha = alphas.pop(0) if alphas and name in takes_alpha else None
        beta = betas.pop(0) if betas and name in takes_beta else None
        acts.append(_activation(name, alpha, beta))
    return [acts[place * len(names) : (place + 1) * len(names)] for place in range(count)]


@operation("onnx.LSTM")
def lstm(*given: Tensor | None, **settings: Any) -> tuple[Tensor, ...]:
    """Gates in the order input, output, forget, cell; peepholes where the file has them."""
    return _recurrent(("Sigmoid", "Tanh", "Tanh"), given, settings)


@operation("onnx.com.microsoft.DynamicQuantizeLSTM")
def dynamic_quantize_lstm(*given: Tensor | None, **settings: Any) -> tuple[Tensor, ...]:
    """Of matrices that are codes, stored turned; inputs and states are rounded to codes as it runs."""
    x, *_ = given
    W, R = (_of_codes(given, place, scale_at) for place, scale_at in ((1, 8), (2, 10)))
    return lstm(x, W, R, *given[3:8], **settings, in_codes=True)


def _of_codes(given: tuple[Tensor | None, ...], place: int, scale_at: int) -> Tensor:
    codes, scale, zero = given[place], given[scale_at], given[scale_at + 1]
    assert codes is not None
    assert scale is not None
    real = (
        codes.to(scale.dtype)
        if zero is None
        else codes.to(scale.dtype) - zero.to(scale.dtype).reshape(len(codes), 1, -1)
    )
    return (real * scale.reshape(len(codes), 1, -1)).mT


@operation("onnx.GRU")
def gru(*given: Tensor | None, **settings: Any) -> tuple[Tensor, ...]:
    """Gates in the order update, reset, hidden."""
    return _recurrent(("Sigmoid", "Tanh"), given, settings)[:2]


@operation("onnx.RNN")
def rnn(*given: Tensor | None, **settings: Any) -> tuple[Tensor, ...]:
    """One gate."""
    return _recurrent(("Tanh",), given, settings)[:2]
