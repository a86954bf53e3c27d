"""Pooling; the edges of an average count only what is inside."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from lmd.sources.graph.operations import operation, operation_named
from lmd.sources.keras.operations.shapes import first, last

__all__ = ["global_pool", "pool"]

_MOST: dict[int, Callable[..., Tensor]] = {
    1: functional.max_pool1d,
    2: functional.max_pool2d,
    3: functional.max_pool3d,
}
_MEAN: dict[int, Callable[..., Tensor]] = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}


@operation("keras.pool")
def pool(
    x: Tensor, *, most: bool, size: Sequence[int], strides: Sequence[int], same: bool, channels_first: bool
) -> Tensor:
    """Largest entry or mean of each window."""
    x = x if channels_first else first(x)
    function = (_MOST if most else _MEAN)[len(size)]
    shape = {"kernel_size": tuple(size), "stride": tuple(strides)}
    if not same:
        found = function(x, **shape)
    else:
        pad = operation_named("keras.pad_same")
        edges = {"extent": size, "strides": strides}
        found = function(pad(x, **edges, value=-torch.inf if most else 0.0), **shape)
        if not most:
            found = found / function(pad(torch.ones_like(x), **edges), **shape)
    return found if channels_first else last(found)


@operation("keras.global_pool")
def global_pool(x: Tensor, mask: Tensor | None = None, *, most: bool, keep: bool, channels_first: bool) -> Tensor:
    """Largest entry or mean of each channel; of the steps that a mask leaves."""
    axes = tuple(range(2, x.ndim)) if channels_first else tuple(range(1, x.ndim - 1))
    if most:
        return x.amax(dim=axes, keepdim=keep)
    if mask is None:
        return x.mean(dim=axes, keepdim=keep)
    weights = mask.to(x.dtype).unsqueeze(1 if channels_first else -1)
    return (x * weights).sum(dim=axes, keepdim=keep) / weights.sum(dim=axes, keepdim=keep)
