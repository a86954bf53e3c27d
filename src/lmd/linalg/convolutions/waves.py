"""The inputs that a convolution stretches most, all but their edges: where a search for its leading triples begins."""

from collections.abc import Iterator, Sequence
from itertools import islice, product
from math import pi, prod

import torch
from jaxtyping import Complex128, Float64, Int64
from torch import Tensor

from lmd.linalg.convolutions.convolution import Convolution
from lmd.linalg.convolutions.padding import PaddingMode
from lmd.linalg.convolutions.symbol import fourier_blocks, phases_read

__all__ = ["leading_waves"]

_TURN = 1 << 24
"""Steps of one turn: frequencies are taken as multiples, which is as exact as a start needs."""
_ORDERS = 4
_NOTHING = 1e-6


def leading_waves(
    geometry: Convolution, kernel: Float64[Tensor, "..."], size: Sequence[int], turns: Sequence[float], count: int
) -> Float64[Tensor, "count in"]:
    """Waves of the most stretched frequency under the slowest envelopes that the edges allow, the slowest first.

    On a large input the leading right singular vectors are such waves: the symbol falls off from its peak like a
    parabola, and the edges hold the envelope as the ends hold a string. There may be fewer than ``count``.

    Args:
        geometry: the convolution, not transposed.
        kernel: as torch stores it.
        size: spatial size of the input.
        turns: the frequency, in turns for each output along each axis.
        count: how many at most.
    """
    wave = _wave(geometry, kernel, size, turns)
    parts = [part for part in (wave.real, wave.imag) if part.norm() > _NOTHING * wave.norm()]
    shaped = (part * envelope for envelope in _envelopes(size, geometry.mode) for part in parts)
    rows = [row.flatten() for row in islice(shaped, count)]
    return torch.stack(rows)


def _wave(
    geometry: Convolution, kernel: Tensor, size: Sequence[int], turns: Sequence[float]
) -> Complex128[Tensor, "in *size"]:
    frequency = torch.tensor([round(turn * _TURN) for turn in turns])
    blocks = next(fourier_blocks(geometry, kernel, frequency[None], (_TURN,) * len(turns)))[0]
    group = int(torch.linalg.matrix_norm(blocks, 2).argmax())
    reading = torch.linalg.svd(blocks[group], full_matrices=False)[2][0].conj()
    # a wave that is real but for its angle is to be real
    reading = reading * reading[reading.abs().argmax()].conj().sgn()
    channels = kernel.shape[1]
    by_phase = reading.new_zeros(channels, prod(geometry.stride))
    by_phase[:, phases_read(geometry)] = reading.reshape(channels, -1)
    angle, phase = _places(geometry, size, turns)
    wave = reading.new_zeros(geometry.groups, channels, *size)
    wave[group] = by_phase[:, phase] * torch.polar(torch.ones_like(angle), angle)
    return wave.flatten(0, 1)


def _places(
    geometry: Convolution, size: Sequence[int], turns: Sequence[float]
) -> tuple[Float64[Tensor, "*size"], Int64[Tensor, "*size"]]:
    """Angle of the wave at each position, and the position's phase."""
    axes = [torch.arange(n) + before for n, (before, _) in zip(size, geometry.pads, strict=True)]
    angle, phase = torch.zeros(tuple(size), dtype=torch.float64), torch.zeros(tuple(size), dtype=torch.int64)
    for place, s, turn in zip(torch.meshgrid(*axes, indexing="ij"), geometry.stride, turns, strict=True):
        angle = angle + 2 * pi * turn * place.div(s, rounding_mode="floor")
        phase = phase * s + place.remainder(s)
    return angle, phase


def _envelopes(size: Sequence[int], mode: PaddingMode) -> Iterator[Float64[Tensor, "*size"]]:
    # by their number of half waves: of a square, the order of the values
    orders = sorted(product(range(1, _ORDERS + 1), repeat=len(size)), key=lambda order: sum(n * n for n in order))
    for order in orders:
        along = (_envelope(n, half_waves, mode) for n, half_waves in zip(size, order, strict=True))
        yield prod(torch.meshgrid(*along, indexing="ij"), start=torch.ones((), dtype=torch.float64))


def _envelope(n: int, half_waves: int, mode: PaddingMode) -> Float64[Tensor, " n"]:
    if mode == "zeros":
        # zeros beyond both ends
        return (pi * half_waves * torch.arange(1, n + 1) / (n + 1)).double().sin()
    return (pi * (half_waves - 1) * (torch.arange(n) + 0.5) / n).double().cos()
