"""Operations on windows of a picture: convolutions with weights that are computed, and pooling."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lmd.sources.graph.operations import operation

__all__ = ["convolved"]

_CONV: tuple[Any, ...] = (functional.conv1d, functional.conv2d, functional.conv3d)
_TRANSPOSED: tuple[Any, ...] = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)
Pads = list[tuple[int, int]]


def _pads(
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    settings: dict[str, Any],
) -> Pads:
    """Entries to add on both sides of each axis."""
    auto = settings.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        return _same(size, extents, strides, lower=auto == "SAME_LOWER")
    pads = settings.get("pads") or [0] * 2 * len(kernel)
    return [(0, 0)] * len(kernel) if auto == "VALID" else [*zip(pads[: len(kernel)], pads[len(kernel) :], strict=True)]


def _same(size: Sequence[int], extents: Sequence[int], strides: Sequence[int], *, lower: bool) -> Pads:
    """As many outputs as the stride leaves; an odd number is one more in front, or behind."""
    found = []
    for n, extent, stride in zip(size, extents, strides, strict=True):
        total = max((-(-n // stride) - 1) * stride + extent - n, 0)
        small, large = total // 2, total - total // 2
        found.append((large, small) if lower else (small, large))
    return found


def _padded(x: Tensor, pads: Pads, value: float = 0.0) -> Tensor:
    flat = [n for pair in reversed(pads) for n in pair]
    return functional.pad(x, flat, value=value) if any(flat) else x


@operation("onnx.PadSame")
def pad_same(x: Tensor, *, extents: Sequence[int], strides: Sequence[int], lower: bool) -> Tensor:
    """Zeros around, so that a convolution has as many outputs as its stride leaves."""
    return _padded(x, _same(x.shape[2:], extents, strides, lower=lower))


@operation("onnx.PadZeros")
def pad_zeros(x: Tensor, *, pads: Pads) -> Tensor:
    """Zeros around, as many as are told for each side."""
    return _padded(x, pads)


@operation("onnx.Conv")
def convolved(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    group: int = 1,
    strides: Sequence[int] = (),
    dilations: Sequence[int] = (),
    **settings: Any,
) -> Tensor:
    """With a kernel that is computed."""
    axes = weight.ndim - 2
    steps, spread = strides or [1] * axes, dilations or [1] * axes
    x = _padded(x, _pads(x.shape[2:], weight.shape[2:], steps, spread, settings))
    return _CONV[axes - 1](x, weight, bias, stride=tuple(steps), dilation=tuple(spread), groups=group)


@operation("onnx.ConvTranspose")
def conv_transposed(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    group: int = 1,
    strides: Sequence[int] = (),
    dilations: Sequence[int] = (),
    output_padding: Sequence[int] = (),
    output_shape: Sequence[int] = (),
    **settings: Any,
) -> Tensor:
    """With a kernel that is computed."""
    axes = weight.ndim - 2
    steps, spread = tuple(strides) or (1,) * axes, tuple(dilations) or (1,) * axes
    whole = _TRANSPOSED[axes - 1](x, weight, bias, stride=steps, dilation=spread, groups=group)
    pads = settings.get("pads") or [0] * 2 * axes
    chosen = {
        "pads": [*zip(pads[:axes], pads[axes:], strict=True)],
        "more": output_padding or [0] * axes,
        "strides": steps,
        "size": output_shape,
        "auto": settings.get("auto_pad", "NOTSET"),
    }
    if bias is None or not any(chosen["more"]):
        return crop_transposed(whole, x, **chosen)
    shift = bias.reshape(-1, *[1] * axes)
    return crop_transposed(whole - shift, x, **chosen) + shift


@operation("onnx.CropTransposed")
def crop_transposed(
    whole: Tensor, x: Tensor, *, pads: Pads, more: Sequence[int], strides: Sequence[int], size: Sequence[int], auto: str
) -> Tensor:
    """What is left of a whole transposed convolution when its padding is cut off, on both sides by their own number."""
    for place, stride in enumerate(strides):
        axis, length = place + 2, whole.shape[place + 2] + more[place]
        before, behind = pads[place]
        wanted = size[place - len(strides)] if size else x.shape[axis] * stride
        if size or auto in ("SAME_UPPER", "SAME_LOWER"):
            total = length - wanted if size else max(length - wanted, 0)
            before = total // 2 if auto == "SAME_UPPER" else total - total // 2
            behind = total - before
        kept = length - before - behind
        missing = before + kept - whole.shape[axis]
        if missing > 0:
            whole = torch.cat([whole, whole.new_zeros(*whole.shape[:axis], missing, *whole.shape[axis + 1 :])], axis)
        if before < 0:
            whole = torch.cat([whole.new_zeros(*whole.shape[:axis], -before, *whole.shape[axis + 1 :]), whole], axis)
        whole = whole.narrow(axis, max(before, 0), kept)
    return whole


def _ceiled(
    size: Sequence[int], pads: Pads, kernel: Sequence[int], strides: Sequence[int], spread: Sequence[int]
) -> Pads:
    """More room behind, so that the last window, which leaves the input, is there; one that starts outside is not."""
    found = []
    for n, (before, behind), k, s, d in zip(size, pads, kernel, strides, spread, strict=True):
        extent = (k - 1) * d + 1
        count = -(-(n + before + behind - extent) // s) + 1
        if (count - 1) * s >= n + before:
            count -= 1
        found.append((before, max((count - 1) * s + extent - n - before, behind)))
    return found


def _windows(
    x: Tensor,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    value: float,
    settings: dict[str, Any],
) -> tuple[Tensor, Pads, list[int], list[int]]:
    """Windows along new last axes, of the input with ``value`` around it."""
    axes = len(kernel)
    steps, spread = [*strides] or [1] * axes, [*dilations] or [1] * axes
    pads = _pads(x.shape[2:], kernel, steps, spread, settings)
    if settings.get("ceil_mode"):
        pads = _ceiled(x.shape[2:], pads, kernel, steps, spread)
    padded = _padded(x, pads, value)
    for place in range(axes):
        extent = (kernel[place] - 1) * spread[place] + 1
        padded = padded.unfold(place + 2, extent, steps[place])[..., :: spread[place]]
    return padded, pads, steps, spread


@operation("onnx.MaxPool")
def max_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] = (),
    dilations: Sequence[int] = (),
    storage_order: int = 0,
    **settings: Any,
) -> tuple[Tensor, Tensor]:
    """The largest entry of each window, and where it is."""
    low = float("-inf") if x.is_floating_point() else torch.iinfo(x.dtype).min
    windows, *_ = _windows(x, kernel_shape, strides, dilations, low, settings)
    axes = len(kernel_shape)
    best = windows.flatten(-axes).max(dim=-1)
    numbers = torch.arange(prod(x.shape[2:]), device=x.device).reshape(1, 1, *x.shape[2:])
    if storage_order:
        order = [*range(len(kernel_shape))]
        numbers = torch.arange(prod(x.shape[2:])).reshape(*reversed(x.shape[2:])).permute(*reversed(order))[None, None]
    places, *_ = _windows(numbers, kernel_shape, strides, dilations, -1, settings)
    places = places.flatten(-axes).expand_as(windows.flatten(-axes)).gather(-1, best.indices[..., None])[..., 0]
    per_channel = torch.arange(prod(x.shape[:2]), device=x.device).reshape(*x.shape[:2], *[1] * axes)
    return best.values, places + per_channel * prod(x.shape[2:])


@operation("onnx.AveragePool")
def average_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] = (),
    dilations: Sequence[int] = (),
    count_include_pad: int = 0,
    **settings: Any,
) -> Tensor:
    """The mean of each window, of the entries that are there or of the padding too, but never of what ceiling adds."""
    axes = len(kernel_shape)
    windows, _, steps, spread = _windows(x, kernel_shape, strides, dilations, 0.0, settings)
    there = torch.ones(1, 1, *x.shape[2:], dtype=x.dtype, device=x.device)
    if count_include_pad:
        pads = _pads(x.shape[2:], kernel_shape, steps, spread, settings)
        there = _padded(there, pads, 1.0)
        whole = [(n - a - b) for n, (a, b) in zip(there.shape[2:], pads, strict=True)]
        ceiled = _ceiled(whole, pads, kernel_shape, steps, spread) if settings.get("ceil_mode") else pads
        more = [(0, after - behind) for (_, after), (_, behind) in zip(ceiled, pads, strict=True)]
        counts, *_ = _windows(_padded(there, more), kernel_shape, strides, dilations, 0.0, {})
    else:
        counts, *_ = _windows(there, kernel_shape, strides, dilations, 0.0, settings)
    return windows.flatten(-axes).sum(-1) / counts.flatten(-axes).sum(-1)


@operation("onnx.LpPool")
def lp_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] = (),
    dilations: Sequence[int] = (),
    p: int = 2,
    **settings: Any,
) -> Tensor:
    """The norm of each window."""
    windows, *_ = _windows(x, kernel_shape, strides, dilations, 0.0, settings)
    return windows.flatten(-len(kernel_shape)).abs().pow(p).sum(-1).pow(1.0 / p)


@operation("onnx.GlobalAveragePool")
def global_average_pool(x: Tensor) -> Tensor:
    """The mean of each channel."""
    return x.mean([*range(2, x.ndim)], keepdim=True)


@operation("onnx.GlobalMaxPool")
def global_max_pool(x: Tensor) -> Tensor:
    """The largest entry of each channel."""
    return x.amax([*range(2, x.ndim)], keepdim=True)


@operation("onnx.GlobalLpPool")
def global_lp_pool(x: Tensor, *, p: int = 2) -> Tensor:
    """The norm of each channel."""
    return x.abs().pow(p).sum([*range(2, x.ndim)], keepdim=True).pow(1.0 / p)


@operation("onnx.LRN")
def local_response(x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Tensor:
    """Divided by the squares of the channels around."""
    before, behind = (size - 1) // 2, size - 1 - (size - 1) // 2
    squares = functional.pad((x * x).movedim(1, -1), (before, behind)).unfold(-1, size, 1).sum(-1).movedim(-1, 1)
    return x / (bias + alpha / size * squares) ** beta
