"""How finely numbers are stored in the common types: the distance between neighbours, number by number."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float, Float64
from torch import Tensor

__all__ = [
    "GROUP",
    "ROUNDINGS",
    "SCALED",
    "Magnitudes",
    "dithered",
    "magnitudes",
    "rounded",
    "rounding_steps",
    "rounding_variances",
]

GROUP = 32
"""Inputs that share a scale in int4."""
_LARGEST_FP8 = 448.0
_PLAIN_FLOATS = {"float32": (23, -126), "float16": (10, -14), "bf16": (7, -126)}
"""Bits behind the leading one, and the exponent of the smallest number that has them all."""
_EXPONENT = 0x7F800000
_LEAST_SCALE = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, slots=True, eq=False)
class Magnitudes:
    """What scales are chosen by.

    Attributes:
        rows: largest magnitude in each row.
        whole: in the whole matrix.
    """

    rows: Float64[Tensor, " out"]
    whole: Float64[Tensor, ""]

    def narrow(self, start: int, length: int) -> "Magnitudes":
        """Those of some rows of the same matrix."""
        return Magnitudes(self.rows.narrow(0, start, length), self.whole)


def magnitudes(panels: Iterable[Tensor], axis: int = 0) -> Magnitudes:
    """Of a matrix that comes in panels, cut into rows (``axis`` 0) or columns (1)."""
    largest = [panel.abs().amax(dim=1).double() for panel in panels]
    rows = torch.cat(largest) if axis == 0 else torch.stack(largest).amax(dim=0)
    return Magnitudes(rows, rows.amax())


_NO_SCALES = Magnitudes(torch.zeros(0, dtype=torch.float64), torch.zeros((), dtype=torch.float64))


def _of_floats(W: Tensor, bits: int, least: int) -> Tensor:
    return _powers(W).double().clamp_(min=2.0**least).mul_(2.0**-bits)


def _powers(W: Tensor) -> Tensor:
    # the exponent alone, by its bits in float32: what lies beyond that lies beyond all of these types
    return (W.float().contiguous().view(torch.int32) & _EXPONENT).view(torch.float32)


def _float32(W: Tensor, _scales: Magnitudes) -> Tensor:
    return _of_floats(W, *_PLAIN_FLOATS["float32"])


def _float16(W: Tensor, _scales: Magnitudes) -> Tensor:
    return _of_floats(W, *_PLAIN_FLOATS["float16"])


def _bf16(W: Tensor, _scales: Magnitudes) -> Tensor:
    return _of_floats(W, *_PLAIN_FLOATS["bf16"])


def _fp8(W: Tensor, scales: Magnitudes) -> Tensor:
    scale = scales.whole.clamp_min(_LEAST_SCALE) / _LARGEST_FP8
    return _of_floats(W.double() / scale, 3, -6) * scale


def _int8(W: Tensor, scales: Magnitudes) -> Tensor:
    return (scales.rows[:, None] / 127).expand(W.shape)


def _int4(W: Tensor, _scales: Magnitudes) -> Tensor:
    padded = torch.nn.functional.pad(W.double().abs(), (0, -W.shape[1] % GROUP))
    largest = padded.unflatten(1, (-1, GROUP)).amax(dim=2) / 7
    return largest.repeat_interleave(GROUP, dim=1)[:, : W.shape[1]]


SCALED = frozenset({"fp8", "int8"})
"""Types whose steps depend on more than the number, or the 32 inputs, at hand."""
ROUNDINGS: Mapping[str, Callable[[Tensor, Magnitudes], Tensor]] = {
    "float32": _float32,
    "float16": _float16,
    "bf16": _bf16,
    "fp8": _fp8,
    "int8": _int8,
    "int4": _int4,
}
"""Type to its steps: floating point; fp8 (e4m3) with one scale for the tensor; int8 with one for each row; int4 with
one for each 32 inputs of a row; integers symmetric about 0."""


def rounding_steps(
    W: Float[Tensor, "out in"], name: str, scales: Magnitudes | None = None
) -> Float64[Tensor, "out in"]:
    """The distance between the two numbers of a type that each entry lies between.

    Args:
        W: a matrix, or some rows of it, or some columns that begin at a multiple of 32.
        name: one of ``ROUNDINGS``.
        scales: of the whole matrix, for those rows; of ``W`` when left out.

    >>> rounding_steps(torch.tensor([[1.0, 3.0]]), "bf16").tolist()
    [[0.0078125, 0.015625]]
    """
    if scales is None:
        scales = magnitudes([W]) if name in SCALED else _NO_SCALES
    return ROUNDINGS[name](W, scales)


def rounding_variances(
    W: Float[Tensor, "out in"], name: str, unit: float, scales: Magnitudes | None = None
) -> Float[Tensor, "out in"]:
    """The square of the steps over 12, in units of ``unit ** 2``, which keeps them in the range of float32.

    Args:
        W: as for ``rounding_steps``.
        name: one of ``ROUNDINGS``.
        unit: about the size of the entries.
        scales: as for ``rounding_steps``.
    """
    if name in _PLAIN_FLOATS and W.dtype != torch.float64:
        bits, least = _PLAIN_FLOATS[name]
        return _powers(W).clamp_(min=2.0**least).mul_(2.0**-bits / (unit * sqrt(12))).square_()
    return (rounding_steps(W, name, scales) / (unit * sqrt(12))).square_().float()


def rounded(W: Float[Tensor, "out in"], name: str) -> Float64[Tensor, "out in"]:
    """Each entry rounded to the nearest number of a type."""
    steps = rounding_steps(W, name)
    return torch.where(steps > 0, (W.double() / steps.where(steps > 0, 1.0)).round() * steps, 0.0)


def dithered(W: Float[Tensor, "out in"], name: str, generator: torch.Generator) -> Float64[Tensor, "out in"]:
    """The matrix as if rounded with a subtractive dither: each error is uniform over half a step to either side.

    References:
        Schuchman 1964.
    """
    noise = torch.rand(W.shape, generator=generator, dtype=torch.float64) - 0.5
    return W.double() + noise * rounding_steps(W, name)
