"""Operations that sum, compare or order along axes."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lmd.sources.graph.operations import operation
from lmd.sources.onnx.operations.elementwise import dtype_of

__all__: list[str] = []

Reduction = Callable[[Tensor, list[int], bool], Tensor]


def _axes(x: Tensor, axes: Sequence[int] | None, given: Tensor | None, noop: int) -> list[int] | None:
    """Which axes go; None if none does."""
    chosen = [int(n) for n in given.reshape(-1).tolist()] if given is not None else [*(axes or ())]
    if chosen:
        return [axis % max(x.ndim, 1) for axis in chosen]
    return None if noop else [*range(x.ndim)]


def _reduction(name: str, function: Reduction) -> None:
    def apply(
        x: Tensor,
        given: Tensor | None = None,
        *,
        axes: Sequence[int] | None = None,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Tensor:
        chosen = _axes(x, axes, given, noop_with_empty_axes)
        if chosen is None:
            return function(x.unsqueeze(0), [0], False) if name not in _PLAIN else x
        return function(x, chosen, bool(keepdims)) if chosen else function(x.reshape(1), [0], False)

    operation(f"onnx.{name}")(apply)


def _sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.sum(axes, keepdim=keep, dtype=x.dtype)


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep, dtype=x.dtype)
    return x


def _mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if x.is_floating_point():
        return x.mean(axes, keepdim=keep)
    count = 1
    for axis in axes:
        count *= x.shape[axis]
    return torch.div(_sum(x, axes, keep), count, rounding_mode="trunc")


def _root_of_squares(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return _sum(x * x, axes, keep).sqrt().to(x.dtype)


_PLAIN = frozenset(("ReduceSum", "ReduceProd", "ReduceMean", "ReduceMax", "ReduceMin"))
_REDUCTIONS: dict[str, Reduction] = {
    "ReduceSum": _sum,
    "ReduceProd": _product,
    "ReduceMean": _mean,
    "ReduceMax": lambda x, axes, keep: (
        x.to(torch.uint8).amax(axes, keep).bool() if x.dtype is torch.bool else x.amax(axes, keep)
    ),
    "ReduceMin": lambda x, axes, keep: (
        x.to(torch.uint8).amin(axes, keep).bool() if x.dtype is torch.bool else x.amin(axes, keep)
    ),
    "ReduceL1": lambda x, axes, keep: _sum(x.abs(), axes, keep),
    "ReduceL2": _root_of_squares,
    "ReduceSumSquare": lambda x, axes, keep: _sum(x * x, axes, keep),
    "ReduceLogSum": lambda x, axes, keep: _sum(x, axes, keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: torch.logsumexp(x, axes, keepdim=keep),
}
for _name, _function in _REDUCTIONS.items():
    _reduction(_name, _function)


def _best(x: Tensor, axis: int, keepdims: int, last: int, *, largest: bool) -> Tensor:
    flipped = x.flip(axis) if last else x
    best = flipped.amax(axis, keepdim=True) if largest else flipped.amin(axis, keepdim=True)
    # the first of several equal ones, whichever torch's own would take
    found = (flipped == best).to(torch.uint8).argmax(axis, keepdim=True)
    found = x.shape[axis] - 1 - found if last else found
    return found if keepdims else found.squeeze(axis)


@operation("onnx.ArgMax")
def arg_max(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """Where the largest entry is, the first or the last of equal ones."""
    return _best(x, axis, keepdims, select_last_index, largest=True)


@operation("onnx.ArgMin")
def arg_min(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """Where the smallest entry is, the first or the last of equal ones."""
    return _best(x, axis, keepdims, select_last_index, largest=False)


@operation("onnx.TopK")
def top_k(
    x: Tensor, count: Tensor | None = None, *, axis: int = -1, k: int = 0, largest: int = 1, sorted: int = 1
) -> tuple[Tensor, Tensor]:
    """The largest or smallest entries along an axis, and where they are; of equal ones the first go first."""
    number = k if count is None else int(count.reshape(-1)[0])
    order = torch.sort(x, dim=axis, descending=bool(largest), stable=True)
    return order.values.narrow(axis, 0, number), order.indices.narrow(axis, 0, number)


@operation("onnx.CumSum")
def cumulative_sum(x: Tensor, axis: Tensor, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """Of everything before, from one end or the other, with or without the entry itself."""
    along = int(axis.reshape(-1)[0])
    turned = x.flip(along) if reverse else x
    total = turned.cumsum(along, dtype=x.dtype)
    total = total - turned if exclusive else total
    return total.flip(along) if reverse else total


@operation("onnx.Softmax")
def softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """Along one axis."""
    return x.softmax(axis)


@operation("onnx.LogSoftmax")
def log_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """Along one axis."""
    return x.log_softmax(axis)


@operation("onnx.Hardmax")
def hardmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """1 at the first of the largest entries along one axis."""
    first = _best(x, axis, 1, 0, largest=True)
    return torch.zeros_like(x).scatter(axis, first, 1.0)


def _flattened(x: Tensor, axis: int, function: Callable[..., Tensor]) -> Tensor:
    """Before version 13: over all axes from one on."""
    rows = 1
    for n in x.shape[: axis % max(x.ndim, 1)]:
        rows *= n
    return function(x.reshape(rows, -1), axis=-1).reshape(x.shape)


@operation("onnx.Softmax@old")
def softmax_of_rest(x: Tensor, *, axis: int = 1) -> Tensor:
    """Over all axes from one on."""
    return _flattened(x, axis, softmax)


@operation("onnx.LogSoftmax@old")
def log_softmax_of_rest(x: Tensor, *, axis: int = 1) -> Tensor:
    """Over all axes from one on."""
    return _flattened(x, axis, log_softmax)


@operation("onnx.Hardmax@old")
def hardmax_of_rest(x: Tensor, *, axis: int = 1) -> Tensor:
    """Over all axes from one on."""
    return _flattened(x, axis, hardmax)


@operation("onnx.LpNormalization")
def lp_normalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    """Divided by its norm along an axis; 0 where that is 0."""
    norm = x.norm(p=p, dim=axis, keepdim=True)
    return torch.where(norm == 0, torch.zeros_like(x), x / norm)


@operation("onnx.MeanVarianceNormalization")
def mean_variance_normalization(x: Tensor, *, axes: Sequence[int] = (0, 2, 3)) -> Tensor:
    """Mean 0 and variance 1 over some axes."""
    mean = x.mean([*axes], keepdim=True)
    spread = ((x * x).mean([*axes], keepdim=True) - mean * mean).sqrt()
    return (x - mean) / (spread + 1e-9)


@operation("onnx.NonZero")
def non_zero(x: Tensor) -> Tensor:
    """Where entries are not 0, one row for each axis."""
    return x.nonzero().T


@operation("onnx.Range")
def numbers_in_range(start: Tensor, limit: Tensor, delta: Tensor, *, stash_type: int = 1) -> Tensor:
    """From ``start`` up to ``limit`` in steps."""
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


@operation("onnx.Size")
def size(x: Tensor) -> Tensor:
    """Number of entries."""
    return torch.tensor(x.numel(), dtype=torch.int64, device="cpu")


@operation("onnx.Unique")
def unique(x: Tensor, *, axis: int | None = None, sorted: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The different entries, where each is met first, which of them each entry is, and how often it comes.

    Raises:
        ValueError: they are to be in another order than theirs.
    """
    if not sorted:
        raise ValueError("Unique in the order of the input is not run; export it with sorted=1.")
    flat = x.reshape(-1) if axis is None else x
    values, inverse, counts = torch.unique(flat, sorted=True, return_inverse=True, return_counts=True, dim=axis or 0)
    first = torch.full((len(counts),), len(inverse)).scatter_reduce(0, inverse, torch.arange(len(inverse)), "amin")
    return values, first, inverse, counts


@operation("onnx.EyeLike")
def eye_like(x: Tensor, *, dtype: int | None = None, k: int = 0) -> Tensor:
    """1 on a diagonal."""
    made = torch.zeros(x.shape, dtype=x.dtype if dtype is None else dtype_of(dtype), device=x.device)
    made.diagonal(k).fill_(1)
    return made
