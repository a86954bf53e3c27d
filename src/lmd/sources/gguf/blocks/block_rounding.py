"""How far rounding may have moved each number of a quantised block, from the block itself.

No type's scales are unpacked here: a block whose codes are all replaced by one code, scales kept, is dequantised in
their place, and what comes out is the scale of each number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt

import numpy

from lmd.sources.gguf.blocks.arithmetic import Bytes, Numbers, dequantised
from lmd.sources.gguf.blocks.block_types import TYPES

__all__ = ["rounding", "rounding_known"]


@dataclass(frozen=True, slots=True, eq=False)
class _Probe:
    """How the scale of each number of a block is found.

    Attributes:
        kept: bits of each byte of a block that belong to scales.
        code: what the bits of the codes are set to.
        less: what they are set to for a second block that is subtracted; None for no second one.
        divisor: what the code stands for, in units of the scale.
    """

    kept: Bytes
    code: Bytes
    less: Bytes | None = None
    divisor: float = 1.0


def _filled(size: int, *parts: tuple[int, int, Sequence[int]]) -> Bytes:
    """``size`` bytes, zero but in ``parts``: start, stop and the bytes that are repeated there."""
    filled = numpy.zeros(size, dtype=numpy.uint8)
    for start, stop, pattern in parts:
        filled[start:stop] = numpy.resize(numpy.array(pattern, dtype=numpy.uint8), stop - start)
    return filled


def _even(size: int, codes: tuple[int, int], one: int, *, clear: tuple[int, int] = (0, 0), set_: int = 0) -> _Probe:
    """Evenly spaced codes in the bytes ``codes``; more of their bits in the bytes ``clear``, all set to ``set_``."""
    kept = ~_filled(size, (*codes, (0xFF,)), (*clear, (0xFF,)))
    others = (*clear, (set_,))
    return _Probe(kept, _filled(size, (*codes, (one,)), others), _filled(size, others))


def _levels(size: int, codes: tuple[int, int], one: int) -> _Probe:
    """Codes of a table, in the bytes ``codes``, of which ``one`` stands for 1."""
    return _Probe(~_filled(size, (*codes, (0xFF,))), _filled(size, (*codes, (one,))))


def _vectors(size: int, kept: Sequence[tuple[int, int, Sequence[int]]], divisor: float) -> _Probe:
    """Codes of several numbers at once: code 0 is a vector of equal entries."""
    return _Probe(_filled(size, *kept), _filled(size), None, divisor)


_PROBES = {
    "Q4_0": _even(18, (2, 18), 0x11),
    "Q4_1": _even(20, (4, 20), 0x11),
    "Q5_0": _even(22, (6, 22), 0x11, clear=(2, 6)),
    "Q5_1": _even(24, (8, 24), 0x11, clear=(4, 8)),
    "Q8_0": _even(34, (2, 34), 0x01),
    "Q2_K": _even(84, (16, 80), 0x55),
    # a set bit of the mask takes nothing off
    "Q3_K": _even(110, (32, 96), 0x55, clear=(0, 32), set_=0xFF),
    "Q4_K": _even(144, (16, 144), 0x11),
    "Q5_K": _even(176, (48, 176), 0x11, clear=(16, 48)),
    "Q6_K": _even(210, (0, 128), 0x11, clear=(128, 192)),
    "Q8_K": _even(292, (4, 260), 0x01),
    "TQ1_0": _vectors(54, [(52, 54, (0xFF,))], -1.0),
    "TQ2_0": _vectors(66, [(64, 66, (0xFF,))], -1.0),
    "MXFP4": _levels(17, (1, 17), 0x11),
    "NVFP4": _levels(36, (4, 36), 0x11),
    "IQ4_NL": _levels(18, (2, 18), 0x88),
    "IQ4_XS": _levels(136, (8, 136), 0x88),
    "IQ2_XXS": _vectors(66, [(0, 2, (0xFF,)), (2, 66, (0, 0, 0, 0, 0, 0, 0, 0xF0))], 8.0),
    "IQ2_XS": _vectors(74, [(0, 2, (0xFF,)), (66, 74, (0xFF,))], 8.0),
    "IQ2_S": _vectors(82, [(0, 2, (0xFF,)), (74, 82, (0xFF,))], 8.0),
    "IQ3_XXS": _vectors(98, [(0, 2, (0xFF,)), (66, 98, (0, 0, 0, 0xF0))], 4.0),
    "IQ3_S": _vectors(110, [(0, 2, (0xFF,)), (106, 110, (0xFF,))], 1.0),
    "IQ1_S": _vectors(50, [(0, 2, (0xFF,)), (34, 50, (0, 0x70))], -0.875),
    "IQ1_M": _vectors(56, [(48, 56, (0xFF,))], -0.875),
}

_FLOAT4 = (0, 1, 2, 3, 4, 6, 8, 12)
_IQ4 = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
_TABLES = {
    "MXFP4": tuple(sorted({sign * code for code in _FLOAT4 for sign in (1, -1)})),
    "NVFP4": tuple(sorted({sign * code for code in _FLOAT4 for sign in (1, -1)})),
    "IQ4_NL": _IQ4,
    "IQ4_XS": _IQ4,
}
"""Codes that are not evenly spaced, as public formats define them."""

_DISTANCES = {
    "IQ2_XXS": 7.2,
    "IQ2_XS": 6.4,
    "IQ2_S": 5.4,
    "IQ3_XXS": 4.4,
    "IQ3_S": 0.79,
    "IQ1_S": 0.35,
    "IQ1_M": 0.32,
}
"""Root mean square distance of a Gaussian number to the codebook at the best scale, measured on some 10,000 of them."""


def rounding_known(name: str) -> bool:
    """Whether the blocks of a type tell how coarse they are."""
    return name in _PROBES


def rounding(blocks: Bytes, name: str) -> Numbers:
    """Root mean square of the error that rounding to the codes of a block makes, for each of its numbers.

    Evenly spaced codes lie a step apart, and the error is uniform: ``step / sqrt(12)``. Of unevenly spaced ones each
    reaches half way to those beside it. Codes of several numbers at once have the root mean square distance of Gaussian
    numbers to the nearest of them, in units of the block's scale.

    References:
        Bennett 1948; Gersho & Gray 1992.
    """
    units = _units(blocks, name)
    if name in _DISTANCES:
        return numpy.abs(units) * numpy.float32(_DISTANCES[name])
    if name not in _TABLES:
        return numpy.abs(units) * numpy.float32(1 / sqrt(12))
    levels, reach = _cells(name)
    with numpy.errstate(all="ignore"):
        codes = numpy.nan_to_num(dequantised(blocks, name) / units)
    nearest = numpy.searchsorted((levels[1:] + levels[:-1]) / 2, codes)
    return numpy.abs(units) * reach[nearest]


@cache
def _cells(name: str) -> tuple[Numbers, Numbers]:
    """The codes in order, and the root mean square error in the cell of each."""
    levels = numpy.array(_TABLES[name], dtype=numpy.float32)
    half = numpy.diff(levels) / 2
    below, above = numpy.concatenate([half[:1], half]), numpy.concatenate([half, half[-1:]])
    return levels, numpy.sqrt((below**3 + above**3) / (3 * (below + above)))


def _units(blocks: Bytes, name: str) -> Numbers:
    """The step between two codes, or the scale of a table, for each number."""
    probe = _PROBES[name]
    scales = blocks.reshape(-1, len(probe.kept)) & probe.kept

    def probed(code: Bytes) -> Numbers:
        return dequantised(scales | (code & ~probe.kept), name)

    with numpy.errstate(all="ignore"):
        found = probed(probe.code)
        found = found if probe.less is None else found - probed(probe.less)
        return (found / numpy.float32(probe.divisor)).reshape(*blocks.shape[:-1], -1)


assert all(len(_PROBES[kind.name].kept) == kind.bytes for kind in TYPES.values() if kind.name in _PROBES)
