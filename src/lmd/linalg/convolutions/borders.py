"""What a padding that repeats the input adds to the norm of a convolution, border by border."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod

import torch
from jaxtyping import Float64
from torch import Tensor

from lmd.linalg.convolutions.convolution import Convolution
from lmd.linalg.convolutions.padding import padded_size, read_positions

__all__ = ["Border", "borders"]

_MOST_ELEMENTS = 1 << 22
"""Of the kernel of a border: its norm takes some seconds."""


@dataclass(frozen=True, slots=True, eq=False)
class Border:
    """The convolution restricted to what is read more than once along some axes: a convolution along the others.

    Attributes:
        weight: norm of the map from the border to the padded input; the restricted convolution's is at most this
            times that of the whole one.
        kernel: as torch stores it, ``(groups, out, in)`` if no axes are left; None if it would be too large.
        geometry: of the convolution along the other axes; None if there are none.
        size: of the padded input along the other axes.
    """

    weight: float
    kernel: Float64[Tensor, "..."] | None
    geometry: Convolution | None
    size: tuple[int, ...]


def borders(geometry: Convolution, kernel: Float64[Tensor, "..."], size: Sequence[int]) -> Iterator[Border]:
    """Every border, edge and corner, whose squared norms, with that of the unpadded convolution, sum to a bound.

    Along one axis the padding map has ``P P^T = sum_p m_p q_p q_p^T``, ``q_p`` the unit vector over the ``m_p`` places
    that repeat position ``p``; this is at most ``I + R R^T`` with columns ``sqrt(m_p - 1) q_p``. So with the unpadded
    convolution ``C`` the squared norm of ``C P`` is at most the sum of those of ``C R_S`` over the sets ``S`` of axes.
    """
    repeated = [axis for axis in range(geometry.dimensions) if _repeats(geometry, size, axis).shape[1]]
    for count in range(1, len(repeated) + 1):
        for axes in combinations(repeated, count):
            yield _border(geometry, kernel, size, axes)


def _border(geometry: Convolution, kernel: Tensor, size: Sequence[int], axes: Sequence[int]) -> Border:
    repeats = {axis: _repeats(geometry, size, axis) for axis in axes}
    rows = {axis: _rows(geometry, size, axis, R) for axis, R in repeats.items()}
    weight = prod(R.square().sum(dim=0).max().sqrt().item() for R in repeats.values())
    growth = prod(R.shape[1] * R.shape[2] / geometry.kernel_size[axis] for axis, R in rows.items())
    if kernel.numel() * growth > _MOST_ELEMENTS:
        return Border(weight, None, None, ())
    for axis in sorted(axes, reverse=True):
        kernel = _along(kernel, rows[axis], axis)
    rest = [axis for axis in range(geometry.dimensions) if axis not in axes]
    if not rest:
        return Border(weight, kernel.unflatten(0, (geometry.groups, -1)), None, ())
    padded = padded_size(size, geometry.pads)
    return Border(weight, kernel, _along_others(geometry, kernel, rest), tuple(padded[axis] for axis in rest))


def _repeats(geometry: Convolution, size: Sequence[int], axis: int) -> Float64[Tensor, "padded border"]:
    read = read_positions(size[axis], geometry.pads[axis], geometry.mode)
    counts = torch.bincount(read[read >= 0], minlength=size[axis]).double()
    often = torch.nonzero(counts > 1).flatten()
    return (read[:, None] == often) * ((counts[often] - 1) / counts[often]).sqrt()


def _rows(
    geometry: Convolution, size: Sequence[int], axis: int, repeats: Float64[Tensor, "padded border"]
) -> Float64[Tensor, "tap row border"]:
    """What each tap of each output reads of the border; outputs that read nothing of it are left out."""
    outputs = torch.arange(geometry.output_size(size)[axis]) * geometry.stride[axis]
    taps = torch.arange(geometry.kernel_size[axis]) * geometry.dilation[axis]
    read = repeats[taps[:, None] + outputs]
    return read[:, read.abs().sum(dim=(0, 2)) > 0]


def _along(kernel: Tensor, rows: Float64[Tensor, "tap row border"], axis: int) -> Tensor:
    """Positions of the border become channels, those of its outputs too, within their groups."""
    read = (kernel.movedim(2 + axis, -1) @ rows.flatten(1)).unflatten(-1, rows.shape[1:])
    moved = read.movedim(-2, 1).movedim(-1, 3)
    return moved.flatten(0, 1).flatten(1, 2)


def _along_others(geometry: Convolution, kernel: Tensor, rest: Sequence[int]) -> Convolution:
    return Convolution(
        (kernel.shape[0], kernel.shape[1] * geometry.groups),
        tuple(geometry.kernel_size[axis] for axis in rest),
        tuple(geometry.stride[axis] for axis in rest),
        tuple(geometry.dilation[axis] for axis in rest),
        ((0, 0),) * len(rest),
        "zeros",
        geometry.groups,
    )
