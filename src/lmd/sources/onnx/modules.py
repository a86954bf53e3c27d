"""Torch's layers as ONNX calls them: where shapes lie otherwise, or more ranks are allowed."""

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["AnyBatchNorm", "AnyInstanceNorm", "ChannelScale", "OnnxGRU", "OnnxLSTM", "OnnxRNN", "Slopes"]


class AnyBatchNorm(nn.BatchNorm1d):
    """Over the second axis, whatever the number of axes; counts no batches."""

    def __init__(self, width: int, **options: Any) -> None:
        """As torch's, without the count."""
        super().__init__(width, **options)
        self.num_batches_tracked = None

    def _check_input_dim(self, x: Tensor) -> None:
        return

    def forward(self, x: Tensor) -> Tensor:
        """Evaluation mode."""
        return nn.functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
        )


class AnyInstanceNorm(nn.InstanceNorm1d):
    """Over all axes behind the second, whatever their number."""

    def forward(self, x: Tensor) -> Tensor:
        """Each channel of each example by itself."""
        return nn.functional.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


class ChannelScale(nn.Module):
    """A gain for each entry of one axis, and a shift.

    Args:
        width: number of entries.
        shape: as which the gain meets its input.
        shift: the same of the shift; empty for none.
        device: of the numbers.
        dtype: of the numbers.
    """

    def __init__(
        self, width: int, shape: tuple[int, ...], shift: tuple[int, ...], *, device: Any = None, dtype: Any = None
    ) -> None:
        """Allocate gain and shift."""
        super().__init__()
        self.shape, self.shift = shape, shift
        self.weight = nn.Parameter(torch.empty(width, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(width, device=device, dtype=dtype)) if shift else None

    def forward(self, x: Tensor) -> Tensor:
        """``gain x + shift``."""
        made = x * self.weight.reshape(self.shape)
        return made if self.bias is None else made + self.bias.reshape(self.shift)


class Slopes(nn.PReLU):
    """A PReLU on any number of axes."""


class _Onnx(nn.RNNBase):
    """A recurrent layer that takes and gives what ONNX does.

    Attributes:
        backwards: whether it reads its sequence from the end.
        layout: 1 where the batch comes first.
    """

    backwards: bool
    layout: int

    def forward(self, x: Tensor, lengths: Tensor | None = None, *start: Tensor | None) -> tuple[Tensor, ...]:
        """Every step's outputs ``(steps, directions, batch, hidden)``, then the last states.

        Raises:
            ValueError: the sequences are of different length.
        """
        x = x.transpose(0, 1) if self.layout else x
        if lengths is not None and not x.is_meta and bool((lengths != len(x)).any()):
            raise ValueError("sequences of different length came; only whole ones are run.")
        states = [s if s is None or not self.layout else s.transpose(0, 1) for s in start[: self._states]]
        made, last = self._run(x.flip(0) if self.backwards else x, states)
        made = made.flip(0) if self.backwards else made
        count = 2 if self.bidirectional else 1
        made = made.reshape(*made.shape[:2], count, self.hidden_size).transpose(1, 2)
        if self.layout:
            return made.permute(2, 0, 1, 3), *(state.transpose(0, 1) for state in last)
        return made, *last

    _states = 1

    def _run(self, x: Tensor, states: list[Tensor | None]) -> tuple[Tensor, tuple[Tensor, ...]]:
        made, last = super().forward(x, *(states[:1] or [None]))
        return made, (last,)


class OnnxRNN(_Onnx, nn.RNN):
    """A plain recurrent layer."""


class OnnxGRU(_Onnx, nn.GRU):
    """A GRU; ``reset_after`` as torch has it, or the reset gate on the state before its matrix."""

    reset_after: bool = True

    def _run(self, x: Tensor, states: list[Tensor | None]) -> tuple[Tensor, tuple[Tensor, ...]]:
        if self.reset_after:
            return super()._run(x, states)
        count = 2 if self.bidirectional else 1
        start = states[0] if states and states[0] is not None else x.new_zeros(count, x.shape[1], self.hidden_size)
        sides = [self._side(x, start[side], "_reverse" if side else "") for side in range(count)]
        return torch.cat([made for made, _ in sides], dim=-1), (torch.stack([last for _, last in sides]),)

    def _side(self, x: Tensor, h: Tensor, suffix: str) -> tuple[Tensor, Tensor]:
        W, R = (getattr(self, f"weight_{part}_l0{suffix}") for part in ("ih", "hh"))
        bias = x.new_zeros(2, len(W))
        if self.bias:
            bias = torch.stack([getattr(self, f"bias_{part}_l0{suffix}") for part in ("ih", "hh")])
        (Rr, Rz, Rn), (br, bz, bn) = R.chunk(3), bias[1].chunk(3)
        made = []
        for into in (x.flip(0) if suffix else x) @ W.T + bias[0]:
            xr, xz, xn = into.chunk(3, dim=-1)
            r, z = torch.sigmoid(xr + h @ Rr.T + br), torch.sigmoid(xz + h @ Rz.T + bz)
            n = torch.tanh(xn + (r * h) @ Rn.T + bn)
            h = (1 - z) * n + z * h
            made.append(h)
        steps = torch.stack(made)
        return steps.flip(0) if suffix else steps, h


class OnnxLSTM(_Onnx, nn.LSTM):
    """An LSTM, with two states."""

    _states = 2

    def _run(self, x: Tensor, states: list[Tensor | None]) -> tuple[Tensor, tuple[Tensor, ...]]:
        count = 2 if self.bidirectional else 1
        none = x.new_zeros(count, x.shape[1], self.hidden_size)
        h, c = (s if s is not None else none for s in (*states, None, None)[:2])
        made, last = nn.LSTM.forward(self, x, (h, c))
        return made, last
