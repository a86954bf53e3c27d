"""A convolution on a torus, frequency by frequency: small complex blocks that hold all of its singular values."""

from collections.abc import Iterator, Sequence
from math import prod

import torch
from jaxtyping import Complex128, Float64, Int64
from torch import Tensor

from lmd.linalg.convolutions.convolution import Convolution

__all__ = [
    "block_cost",
    "block_extremes",
    "block_shape",
    "fourier_blocks",
    "half_frequencies",
    "phases_read",
    "power_spectrum",
    "torus_spectrum",
]

_CHUNK_ELEMENTS = 1 << 22
"""Of complex blocks held at a time: 64 MB."""


def half_frequencies(coarse: Sequence[int]) -> tuple[Int64[Tensor, "frequency axis"], Int64[Tensor, " frequency"]]:
    """One of each pair of opposite frequencies, whose blocks are conjugate, and how many each one stands for.

    >>> half_frequencies((4,))[0].flatten().tolist(), half_frequencies((4,))[1].tolist()
    ([0, 1, 2], [1, 2, 1])
    """
    last = torch.arange(coarse[-1] // 2 + 1)
    axes = [*(torch.arange(n) for n in coarse[:-1]), last]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)
    alone = (grid[:, -1] == 0) | (2 * grid[:, -1] == coarse[-1])
    return grid, torch.where(alone, 1, 2)


def fourier_blocks(
    geometry: Convolution,
    kernel: Float64[Tensor, "..."],
    frequencies: Int64[Tensor, "frequency axis"],
    coarse: Sequence[int],
) -> Iterator[Complex128[Tensor, "frequency group o i"]]:
    """The blocks at some frequencies, a chunk at a time.

    On a torus of size ``stride * coarse`` the convolution is, in Fourier coordinates of every phase of its input
    (positions equal modulo the stride), block-diagonal: ``B(f) = sum_j W_j exp(2 pi i f . (d j div s) / coarse)``, the
    taps with the same ``d j mod s`` in the same columns. Columns of phases that no tap reads are left out. A transposed
    convolution has the blocks of the convolution it is the transpose of, whose singular values are the same.

    Args:
        geometry: stride, dilation and groups; padding only permutes rows, and is not looked at.
        kernel: as torch stores it.
        frequencies: integers, in steps of ``1 / coarse`` of a turn.
        coarse: size of the torus of outputs.

    References:
        Sedghi, Gupta & Long 2019 (stride 1); Vaidyanathan 1993, chapter 4 (polyphase form).
    """
    taps = kernel.flatten(2).permute(2, 0, 1)
    _, out, inn = taps.shape
    steps, phases = _places(geometry)
    size = torch.tensor(coarse)
    # whole turns are left out while the numbers are integers
    turns = (frequencies[:, None, :] * steps).remainder(size).double() / size
    angles = 2 * torch.pi * turns.sum(dim=-1)
    classes = [torch.nonzero(phases == phase).flatten() for phase in phases.unique()]
    rows = max(1, _CHUNK_ELEMENTS // (out * inn * len(classes)))
    for part in angles.split(rows):
        wave = torch.stack([part.cos(), part.sin()])
        columns = [wave[:, :, chosen] @ taps[chosen].reshape(len(chosen), -1) for chosen in classes]
        real, imaginary = torch.stack(columns, dim=-1).reshape(2, len(part), out, inn * len(classes))
        yield torch.complex(real, imaginary).unflatten(1, (geometry.groups, out // geometry.groups))


def block_shape(geometry: Convolution) -> tuple[int, int]:
    """``(o, i)`` of one block of one group."""
    out, inn, *_ = geometry.kernel_shape
    return out // geometry.groups, inn * len(phases_read(geometry))


def phases_read(geometry: Convolution) -> Int64[Tensor, " phase"]:
    """Phases of the input that some tap reads, in the order of the columns of a block."""
    return _places(geometry)[1].unique()


def block_cost(geometry: Convolution) -> float:
    """Roughly how many multiplications the singular values of the blocks of one frequency take."""
    short, long = sorted(block_shape(geometry))
    return geometry.groups * short**2 * (4.0 * long + 25.0 * short)


def torus_spectrum(
    geometry: Convolution, kernel: Float64[Tensor, "..."], torus: Sequence[int]
) -> Float64[Tensor, " rank"]:
    """Every singular value of the convolution on a torus, descending, those that are 0 by construction included.

    Args:
        geometry: the convolution.
        kernel: as torch stores it.
        torus: size of its input (of its output, if transposed), along each axis a multiple of the stride.
    """
    coarse = _coarse(geometry, torus)
    frequencies, multiplicity = half_frequencies(coarse)
    found = [torch.linalg.svdvals(blocks) for blocks in fourier_blocks(geometry, kernel, frequencies, coarse)]
    each = torch.cat(found).flatten(1)
    values = each.repeat_interleave(multiplicity, dim=0).flatten()
    out, inn, *_ = geometry.kernel_shape
    full = min(out * prod(coarse), inn * geometry.groups * prod(torus))
    # blocks are wider than all of it only where phases are left out; then there are fewer values than the map has
    missing = values.new_zeros(max(full - values.numel(), 0))
    return torch.cat([values, missing]).sort(descending=True).values[:full].clone()


def block_extremes(
    geometry: Convolution,
    kernel: Float64[Tensor, "..."],
    frequencies: Int64[Tensor, "frequency axis"],
    coarse: Sequence[int],
) -> Float64[Tensor, "frequency 2"]:
    """The largest and the smallest singular value at each frequency, by the Gram matrix of the shorter side.

    A smallest value below 1e-8 of the largest drowns in rounding.
    """
    found = []
    for blocks in fourier_blocks(geometry, kernel, frequencies, coarse):
        G = blocks @ blocks.mH if blocks.shape[-2] <= blocks.shape[-1] else blocks.mH @ blocks
        squares = torch.linalg.eigvalsh(G) if G.shape[-1] > 1 else G.real.squeeze(-1)
        found.append(torch.stack([squares[..., -1].amax(dim=-1), squares[..., 0].amin(dim=-1)], dim=-1))
    return torch.cat(found).clamp_min(0.0).sqrt()


def power_spectrum(
    geometry: Convolution, kernel: Float64[Tensor, "..."], torus: Sequence[int]
) -> tuple[Int64[Tensor, "frequency axis"], Float64[Tensor, " frequency"]]:
    """Sum of squares of the kernel's Fourier transform over all channels, at every frequency of a torus.

    Of a strided convolution: at the frequencies of its finer side. Frequencies lie between plus and minus half a turn.
    """
    axes = [torch.arange(n) - n // 2 for n in torus]
    frequencies = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)
    places = [d * torch.arange(k) for k, d in zip(geometry.kernel_size, geometry.dilation, strict=True)]
    reach = torch.stack(torch.meshgrid(*places, indexing="ij"), dim=-1).flatten(0, -2)
    angles = 2 * torch.pi * (frequencies.double() / torch.tensor(torus)) @ reach.double().T
    taps = kernel.flatten(2).permute(2, 0, 1).flatten(1)
    meeting = taps @ taps.T
    power = sum(((wave @ meeting) * wave).sum(dim=1) for wave in (angles.cos(), angles.sin()))
    assert isinstance(power, Tensor)
    return frequencies, power.clamp_min(0.0)


def _coarse(geometry: Convolution, torus: Sequence[int]) -> tuple[int, ...]:
    if any(n % s for n, s in zip(torus, geometry.stride, strict=True)):
        raise ValueError(f"torus={tuple(torus)} must be multiples of the stride {geometry.stride}; choose another.")
    return tuple(n // s for n, s in zip(torus, geometry.stride, strict=True))


def _places(geometry: Convolution) -> tuple[Int64[Tensor, "tap axis"], Int64[Tensor, " tap"]]:
    """For each tap: how many outputs further it reads, and the phase of the input it reads, as one number."""
    axes = [d * torch.arange(k) for k, d in zip(geometry.kernel_size, geometry.dilation, strict=True)]
    reach = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)
    stride = torch.tensor(geometry.stride)
    phase = torch.zeros(len(reach), dtype=torch.int64)
    for axis, s in enumerate(geometry.stride):
        phase = phase * s + reach[:, axis] % s
    return reach.div(stride, rounding_mode="floor"), phase
