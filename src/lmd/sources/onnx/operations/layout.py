"""Operations that move entries and change shapes, without computing with them."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from lmd.sources.graph.operations import operation
from lmd.sources.onnx.operations.elementwise import together

__all__ = ["whole"]

_LARGEST = 1 << 40
"""Entries along an axis that a slice may ask for: those asking for more ask for all."""


def whole(tensor: Tensor | None, default: Sequence[int] | None = None) -> list[int]:
    """The numbers of a tensor of settings, or those a file of an earlier version has as an attribute."""
    return [int(n) for n in tensor.reshape(-1).tolist()] if tensor is not None else [*(default or ())]


@operation("onnx.Shape")
def shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    """Lengths of the axes."""
    return torch.tensor([*x.shape][start:end], dtype=torch.int64, device="cpu")


@operation("onnx.Reshape")
def reshape(x: Tensor, wanted: Tensor | None = None, *, shape: Sequence[int] = (), allowzero: int = 0) -> Tensor:
    """Another shape: 0 keeps a length, -1 takes what is left."""
    found = whole(wanted, shape)
    kept = found if allowzero else [x.shape[axis] if n == 0 else n for axis, n in enumerate(found)]
    return x.reshape(tuple(kept))


@operation("onnx.Flatten")
def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """Two axes: those before ``axis``, and the rest."""
    start = axis + x.ndim if axis < 0 else axis
    return x.reshape(prod(x.shape[:start]), prod(x.shape[start:]))


@operation("onnx.Flat")
def flat(x: Tensor) -> Tensor:
    """One axis."""
    return x.reshape(-1)


@operation("onnx.LaidOut")
def laid_out(x: Tensor, *, shape: Sequence[int]) -> Tensor:
    """In another shape."""
    return x.reshape(*shape)


@operation("onnx.Transpose")
def transpose(x: Tensor, *, perm: Sequence[int] | None = None) -> Tensor:
    """Axes in another order, the opposite one where none is given."""
    return x.permute(*(perm if perm is not None else reversed(range(x.ndim))))


@operation("onnx.Turned")
def turned(x: Tensor) -> Tensor:
    """Columns as rows; a vector as it is."""
    return x if x.ndim < 2 else x.transpose(-1, -2)


@operation("onnx.TurnedBack")
def turned_back(x: Tensor, before: Tensor) -> Tensor:
    """Rows as columns, if what came was turned."""
    return x if before.ndim < 2 else x.transpose(-1, -2)


@operation("onnx.Squeeze")
def squeeze(x: Tensor, given: Tensor | None = None, *, axes: Sequence[int] | None = None) -> Tensor:
    """Without axes of length 1: some, or all."""
    chosen = whole(given, axes)
    return x.squeeze(tuple(chosen)) if chosen else x.squeeze()


@operation("onnx.Unsqueeze")
def unsqueeze(x: Tensor, given: Tensor | None = None, *, axes: Sequence[int] | None = None) -> Tensor:
    """With new axes of length 1, whose places count in the result."""
    chosen = whole(given, axes)
    rank = x.ndim + len(chosen)
    for axis in sorted(axis % rank for axis in chosen):
        x = x.unsqueeze(axis)
    return x


@operation("onnx.Concat")
def concat(*tensors: Tensor, axis: int = 1) -> Tensor:
    """One behind the other."""
    return torch.cat(together(*tensors), dim=axis)


@operation("onnx.Split")
def split(
    x: Tensor, given: Tensor | None = None, *, axis: int = 0, split: Sequence[int] = (), num_outputs: int | None = None
) -> tuple[Tensor, ...]:
    """Parts of given lengths, or of equal ones, the last shorter.

    Raises:
        ValueError: neither lengths nor a number of parts is told.
    """
    sizes = whole(given, split)
    if sizes:
        return torch.split(x, sizes, dim=axis)
    if not num_outputs:
        raise ValueError("a Split tells neither the lengths of its parts nor their number.")
    return torch.split(x, -(-x.shape[axis] // num_outputs), dim=axis)


@operation("onnx.Slice")
def cut(
    x: Tensor,
    first: Tensor | None = None,
    last: Tensor | None = None,
    along: Tensor | None = None,
    by: Tensor | None = None,
    *,
    starts: Sequence[int] = (),
    ends: Sequence[int] = (),
    axes: Sequence[int] | None = None,
) -> Tensor:
    """From a start to an end along some axes, in steps that may go backwards."""
    begin, end = whole(first, starts), whole(last, ends)
    chosen = whole(along, axes) or [*range(len(begin))]
    steps = whole(by) or [1] * len(begin)
    for axis, a, b, step in zip(chosen, begin, end, steps, strict=True):
        places = range(*slice(a, b, step).indices(x.shape[axis]))
        if step > 0:
            x = x[(slice(None),) * (axis % x.ndim) + (slice(places.start, max(places.start, places.stop), step),)]
        else:
            x = x.index_select(axis, torch.tensor([*places], dtype=torch.int64, device=x.device))
    return x


@operation("onnx.Expand")
def expand(x: Tensor, wanted: Tensor) -> Tensor:
    """Repeated along axes of length 1."""
    return x.expand(torch.broadcast_shapes(x.shape, tuple(whole(wanted))))


@operation("onnx.Tile")
def tile(x: Tensor, repeats: Tensor, axis: Tensor | None = None) -> Tensor:
    """Several times along each axis."""
    counts = whole(repeats)
    if axis is not None:
        counts = [counts[0] if place == int(axis) else 1 for place in range(x.ndim)]
    return x.repeat(counts)


@operation("onnx.Pad")
def pad(
    x: Tensor,
    given: Tensor | None = None,
    value: Tensor | None = None,
    along: Tensor | None = None,
    *,
    mode: str = "constant",
    pads: Sequence[int] = (),
    paddings: Sequence[int] = (),
    **settings: float,
) -> Tensor:
    """More entries at the ends of axes, fewer where their number is negative."""
    numbers = whole(given, pads or paddings)
    axes = [axis % x.ndim for axis in whole(along)] or [*range(x.ndim)]
    filled = float(value) if value is not None else settings.get("value", 0.0)
    for place, axis in enumerate(axes):
        x = _padded(x, axis, (numbers[place], numbers[place + len(axes)]), mode, filled)
    return x


def _padded(x: Tensor, axis: int, sides: tuple[int, int], mode: str, value: float) -> Tensor:
    before, behind = sides
    if before == behind == 0:
        return x
    if mode == "constant":
        more = [x.new_full((*x.shape[:axis], max(n, 0), *x.shape[axis + 1 :]), value) for n in sides]
        kept = x.narrow(axis, max(-before, 0), x.shape[axis] - max(-before, 0) - max(-behind, 0))
        return torch.cat([more[0], kept, more[1]], dim=axis)
    return x.index_select(axis, _places(x.shape[axis], before, behind, mode).to(x.device))


def _places(length: int, before: int, behind: int, mode: str) -> Tensor:
    """Which entry stands where, for the ways to pad with entries."""
    places = torch.arange(-before, length + behind)
    if mode == "edge":
        return places.clamp(0, length - 1)
    if mode == "wrap":
        return places % length
    if mode != "reflect":
        raise ValueError(f"Pad of mode {mode!r} is none of the standard's.")
    period = max(2 * (length - 1), 1)
    places = places % period
    return torch.where(places < length, places, period - places)


@operation("onnx.Gather")
def gather(x: Tensor, places: Tensor, *, axis: int = 0) -> Tensor:
    """Entries along an axis, by their numbers; negative ones count from the end."""
    along = axis % x.ndim
    chosen = _natural(places, x.shape[along])
    x, chosen = together(x, chosen)
    taken = x.index_select(along, chosen.reshape(-1))
    return taken.reshape((*x.shape[:along], *places.shape, *x.shape[along + 1 :]))


def _natural(places: Tensor, length: int) -> Tensor:
    return torch.where(places < 0, places + length, places).to(torch.int64)


@operation("onnx.Natural")
def natural(places: Tensor, *, count: int) -> Tensor:
    """Numbers of rows, those from the end counted from the start."""
    return _natural(places, count)


@operation("onnx.GatherElements")
def gather_elements(x: Tensor, places: Tensor, *, axis: int = 0) -> Tensor:
    """One entry along an axis for each place of the others."""
    x, places = together(x, _natural(places, x.shape[axis]))
    return x.gather(axis, places)


@operation("onnx.GatherND")
def gather_nd(x: Tensor, places: Tensor, *, batch_dims: int = 0) -> Tensor:
    """Entries, or parts, by their numbers along several axes."""
    batch = prod(x.shape[:batch_dims])
    rows = x.reshape((batch, *x.shape[batch_dims:]))
    width = places.shape[-1]
    chosen = places.reshape(batch, -1, width)
    index = [_natural(chosen[..., i], rows.shape[i + 1]) for i in range(width)]
    first = torch.arange(batch, device=places.device)[:, None].expand(chosen.shape[:2])
    taken = rows[(first, *index)]
    return taken.reshape((*places.shape[:-1], *x.shape[batch_dims + width :]))


_WAYS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@operation("onnx.ScatterElements", "onnx.Scatter")
def scatter_elements(x: Tensor, places: Tensor, new: Tensor, *, axis: int = 0, reduction: str = "none") -> Tensor:
    """Entries put in places along an axis, or joined with what is there."""
    chosen = _natural(places, x.shape[axis])
    if reduction == "none":
        return x.scatter(axis, chosen, new)
    return x.scatter_reduce(axis, chosen, new, _WAYS[reduction], include_self=True)


@operation("onnx.ScatterND")
def scatter_nd(x: Tensor, places: Tensor, new: Tensor, *, reduction: str = "none") -> Tensor:
    """Entries, or parts, put in places given along several axes, or joined with what is there."""
    width = places.shape[-1]
    rows = x.reshape(prod(x.shape[:width]), prod(x.shape[width:]))
    steps = [prod(x.shape[axis + 1 : width]) for axis in range(width)]
    number = sum((_natural(places[..., i], x.shape[i]) * step for i, step in enumerate(steps)), places.new_zeros(()))
    index = number.reshape(-1)[:, None].expand(-1, rows.shape[1]).to(torch.int64)
    parts = new.reshape(-1, rows.shape[1])
    way = None if reduction == "none" else _WAYS[reduction]
    made = rows.scatter(0, index, parts) if way is None else rows.scatter_reduce(0, index, parts, way)
    return made.reshape(x.shape)


@operation("onnx.ConstantOfShape")
def constant_of_shape(wanted: Tensor, *, value: Tensor | None = None) -> Tensor:
    """One number everywhere, 0 where none is given."""
    filled = value if value is not None else torch.zeros(1)
    return torch.full(whole(wanted), filled.reshape(-1)[0].item(), dtype=filled.dtype)


@operation("onnx.OneHot")
def one_hot(places: Tensor, depth: Tensor, values: Tensor, *, axis: int = -1) -> Tensor:
    """One value at the numbered place along a new axis, the other value elsewhere."""
    count = int(depth.reshape(-1)[0])
    chosen = torch.where(places < 0, places + count, places).unsqueeze(axis)
    numbers = torch.arange(count, device=places.device)
    along = axis % (places.ndim + 1)
    numbers = numbers.reshape(*[1] * along, count, *[1] * (places.ndim - along))
    return torch.where(chosen == numbers, values[1], values[0])


@operation("onnx.Trilu")
def trilu(x: Tensor, k: Tensor | None = None, *, upper: int = 1) -> Tensor:
    """The upper or the lower triangle."""
    offset = int(k) if k is not None else 0
    return x.triu(offset) if upper else x.tril(offset)


@operation("onnx.DepthToSpace")
def depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """Channels spread over blocks of the picture."""
    n, c, h, w = x.shape
    b, depth = blocksize, c // blocksize**2
    if mode == "DCR":
        return x.reshape(n, b, b, depth, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, depth, h * b, w * b)
    return x.reshape(n, depth, b, b, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, depth, h * b, w * b)


@operation("onnx.SpaceToDepth")
def space_to_depth(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """Blocks of the picture gathered in channels."""
    n, c, h, w = x.shape
    b = blocksize
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return x.reshape(n, c, h // b, b, w // b, b).permute(*order).reshape(n, c * b * b, h // b, w // b)


@operation("onnx.ReverseSequence")
def reverse_sequence(x: Tensor, lengths: Tensor, *, batch_axis: int = 1, time_axis: int = 0) -> Tensor:
    """The first entries of each sequence backwards, as many as its length says."""
    turned = x.movedim((time_axis, batch_axis), (0, 1))
    steps = torch.arange(len(turned))[:, None]
    places = torch.where(steps < lengths, lengths - 1 - steps, steps)
    picked = turned.gather(0, places.reshape(*places.shape, *[1] * (x.ndim - 2)).expand_as(turned))
    return picked.movedim((0, 1), (time_axis, batch_axis))


@operation("onnx.Compress")
def compress(x: Tensor, kept: Tensor, *, axis: int | None = None) -> Tensor:
    """Entries whose place is marked."""
    rows = x.reshape(-1) if axis is None else x
    return rows.index_select(axis or 0, kept.nonzero().reshape(-1))
