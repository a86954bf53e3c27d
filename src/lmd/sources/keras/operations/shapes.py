"""What Keras does to shapes: axes, sizes and edges."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from lmd.sources.graph.operations import operation

__all__ = ["first", "last"]


@operation("keras.channels_first")
def first(x: Tensor) -> Tensor:
    """``(N, ..., C)`` to ``(N, C, ...)``, as torch takes it."""
    return x.movedim(-1, 1)


@operation("keras.channels_last")
def last(x: Tensor) -> Tensor:
    """``(N, C, ...)`` to ``(N, ..., C)``, as Keras gives it."""
    return x.movedim(1, -1)


@operation("keras.flatten")
def _flatten(x: Tensor, *, channels_first: bool) -> Tensor:
    if channels_first and x.ndim > 2:
        x = last(x)
    return x.reshape(x.shape[0], -1)


@operation("keras.reshape")
def _reshape(x: Tensor, *, shape: Sequence[int]) -> Tensor:
    return x.reshape(x.shape[0], *shape)


@operation("keras.permute")
def _permute(x: Tensor, *, axes: Sequence[int]) -> Tensor:
    return x.permute(0, *axes)


@operation("keras.repeat")
def _repeat(x: Tensor, *, times: int) -> Tensor:
    return x.unsqueeze(1).repeat(1, times, 1)


@operation("keras.flatten_last")
def _flatten_last(x: Tensor, *, count: int) -> Tensor:
    return x.flatten(-count)


@operation("keras.unflatten_last")
def _unflatten_last(x: Tensor, *, shape: Sequence[int]) -> Tensor:
    return x.unflatten(-1, tuple(shape))


def _spread(pairs: Sequence[Sequence[int]], *, channels_first: bool) -> list[int]:
    """Edges axis by axis to torch's order, last axis first."""
    ordered = [*pairs, (0, 0)] if not channels_first else list(pairs)
    return [n for pair in reversed(ordered) for n in pair]


@operation("keras.pad")
def _pad(x: Tensor, *, edges: Sequence[Sequence[int]], channels_first: bool) -> Tensor:
    return functional.pad(x, _spread(edges, channels_first=channels_first))


@operation("keras.crop")
def _crop(x: Tensor, *, edges: Sequence[Sequence[int]], channels_first: bool) -> Tensor:
    start = 2 if channels_first else 1
    for axis, (before, after) in enumerate(edges, start):
        x = x.narrow(axis, before, x.shape[axis] - before - after)
    return x


@operation("keras.pad_same")
def _pad_same(x: Tensor, *, extent: Sequence[int], strides: Sequence[int], value: float = 0.0) -> Tensor:
    """Pad ``(N, C, ...)`` so that ``ceil(size / stride)`` patches fit; an odd one goes to the end."""
    edges: list[int] = []
    for size, reach, stride in zip(x.shape[2:], extent, strides, strict=True):
        total = max((-(-size // stride) - 1) * stride + reach - size, 0)
        edges = [total // 2, total - total // 2, *edges]
    return functional.pad(x, edges, value=value)


@operation("keras.cut_end")
def _cut_end(x: Tensor, *, lengths: Sequence[int]) -> Tensor:
    """Leave out the last entries of ``(N, C, ...)`` along each axis."""
    for axis, length in enumerate(lengths, 2):
        x = x.narrow(axis, 0, x.shape[axis] - length)
    return x


@operation("keras.upsample")
def _upsample(x: Tensor, *, size: Sequence[int], bilinear: bool, channels_first: bool) -> Tensor:
    x = x if channels_first else first(x)
    if bilinear:
        x = functional.interpolate(x, scale_factor=tuple(float(n) for n in size), mode="bilinear")
    else:
        for axis, times in enumerate(size, 2):
            x = x.repeat_interleave(times, dim=axis)
    return x if channels_first else last(x)


@operation("keras.as_indices")
def _as_indices(x: Tensor) -> Tensor:
    return x.long()


@operation("keras.is_not")
def _is_not(x: Tensor, *, value: float) -> Tensor:
    """Where an entry, or any of the features of a step, is another number."""
    return x != value


@operation("keras.any_is_not")
def _any_is_not(x: Tensor, *, value: float) -> Tensor:
    return (x != value).any(dim=-1)


@operation("keras.where")
def _where(x: Tensor, mask: Tensor) -> Tensor:
    return x * mask.unsqueeze(-1).to(x.dtype)


@operation("keras.together")
def _together(*masks: Tensor) -> Tensor:
    found = masks[0]
    for mask in masks[1:]:
        found = found & mask
    return found


@operation("keras.scale")
def _scale(x: Tensor, *, scale: Sequence[float] | float, offset: Sequence[float] | float) -> Tensor:
    return x * torch.as_tensor(scale, dtype=x.dtype) + torch.as_tensor(offset, dtype=x.dtype)


@operation("keras.standardise")
def _standardise(x: Tensor, mean: Tensor, variance: Tensor, *, invert: bool) -> Tensor:
    deviation = torch.clamp(variance.sqrt(), min=1e-7)
    return x * deviation + mean if invert else (x - mean) / deviation


@operation("keras.unit")
def _unit(x: Tensor, *, axes: tuple[int, ...]) -> Tensor:
    return x * torch.rsqrt(torch.clamp(x.square().sum(dim=axes, keepdim=True), min=1e-12))


@operation("keras.fold_time")
def _fold_time(x: Tensor) -> Tensor:
    return x.flatten(0, 1)


@operation("keras.unfold_time")
def _unfold_time(x: Tensor, like: Tensor) -> Tensor:
    return x.unflatten(0, tuple(like.shape[:2]))
