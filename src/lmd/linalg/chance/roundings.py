"""How finely numbers are stored in the common types: the distance between neighbours, for each number."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Float64
from torch import Tensor

__all__ = ["ROUNDINGS", "dithered"]

_INT4_GROUP = 32
_LARGEST_FP8 = 448.0


def _of_floats(W: Tensor, bits: int, least: int) -> Tensor:
    exponents = torch.frexp(W.double()).exponent - 1
    exponents = torch.where(W == 0, least, exponents.clamp(min=least))
    return torch.ldexp(torch.ones(W.shape, dtype=torch.float64), exponents - bits)


def _float32(W: Tensor) -> Tensor:
    return _of_floats(W, 23, -126)


def _bf16(W: Tensor) -> Tensor:
    return _of_floats(W, 7, -126)


def _fp8(W: Tensor) -> Tensor:
    scale = W.double().abs().max().clamp_min(torch.finfo(torch.float32).tiny) / _LARGEST_FP8
    return _of_floats(W.double() / scale, 3, -6) * scale


def _int8(W: Tensor) -> Tensor:
    return (W.double().abs().amax(dim=1, keepdim=True) / 127).expand(W.shape)


def _int4(W: Tensor) -> Tensor:
    padded = torch.nn.functional.pad(W.double().abs(), (0, -W.shape[1] % _INT4_GROUP))
    largest = padded.unflatten(1, (-1, _INT4_GROUP)).amax(dim=2) / 7
    return largest.repeat_interleave(_INT4_GROUP, dim=1)[:, : W.shape[1]]


ROUNDINGS: Mapping[str, Callable[[Float[Tensor, "out in"]], Float64[Tensor, "out in"]]] = {
    "float32": _float32,
    "bf16": _bf16,
    "fp8": _fp8,
    "int8": _int8,
    "int4": _int4,
}
"""Name to the function that gives the distance between neighbours: floating point; fp8 (e4m3) with one scale for the
tensor; int8 with one for each row; int4 with one for each 32 inputs of a row; integers symmetric about 0."""


def dithered(W: Float[Tensor, "out in"], name: str, generator: torch.Generator) -> Float64[Tensor, "out in"]:
    """The matrix as if rounded with a subtractive dither: each error is uniform over half a step to either side.

    References:
        Schuchman 1964.
    """
    steps = ROUNDINGS[name](W)
    return W.double() + (torch.rand(W.shape, generator=generator, dtype=torch.float64) - 0.5) * steps
