"""How far rounding may have moved the numbers of a tensor, where the way it is stored tells."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, singledispatch
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lmd.sources.derived_loaders import Borrowed, Transposed
from lmd.sources.joined import Joined, Renamed, Stacked
from lmd.sources.loaders import Combined, FileTensor, Held, Loader, SafetensorsTensor

__all__ = ["RoundingErrors", "float_errors", "rounding_of"]

_SMALL = {
    torch.float16: (10, -14),
    torch.bfloat16: (7, -126),
    torch.float8_e4m3fn: (3, -6),
    torch.float8_e4m3fnuz: (3, -7),
    torch.float8_e5m2: (2, -14),
    torch.float8_e5m2fnuz: (2, -15),
}
"""Bits behind the leading one, and the exponent of the smallest number that has them all."""
_SMALL_WORDS = frozenset({"F16", "BF16", "F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2", "F8_E5M2FNUZ"})


@singledispatch
def rounding_of(loader: Any) -> Loader | None:
    """The root mean square error of each number of a loader, as a loader of its own shape, read a part at a time.

    Register a function here for a loader that reads quantised numbers.

    Returns:
        None where the numbers are stored in float32 or finer, are computed, or are of a kind that tells nothing.
    """
    return None


@dataclass(frozen=True, slots=True, eq=False)
class RoundingErrors:
    """The root mean square error of each number of a loader.

    Attributes:
        of: the loader.
        errors: module-level function from a loader of that kind to the errors of its numbers, in its shape.
    """

    of: Loader
    errors: Callable[[Any], Tensor]

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of what was rounded."""
        return self.of.tensors

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what was rounded."""
        return self.of.shape

    def __call__(self) -> Tensor:
        """One error for each number."""
        return self.errors(self.of)

    def narrow(self, dim: int, start: int, length: int) -> "RoundingErrors":
        """Those of a slice."""
        return RoundingErrors(self.of.narrow(dim, start, length), self.errors)


def float_errors(numbers: Tensor) -> Tensor:
    """Half-precision numbers and smaller: the error of rounding to the nearest one is uniform over their spacing."""
    bits, least = _SMALL[numbers.dtype]
    exponents = torch.frexp(numbers.double()).exponent - 1
    exponents = torch.where(numbers == 0, least, exponents.clamp(min=least))
    return torch.ldexp(torch.full(numbers.shape, 1 / sqrt(12), dtype=torch.float64), exponents - bits)


def _errors_of_floats(loader: Loader) -> Tensor:
    return float_errors(loader())


@rounding_of.register
def _of_a_file(loader: FileTensor) -> Loader | None:
    return RoundingErrors(loader, _errors_of_floats) if loader.dtype in _SMALL else None


@rounding_of.register
def _of_memory(loader: Held) -> Loader | None:
    return RoundingErrors(loader, _errors_of_floats) if loader.tensor.dtype in _SMALL else None


@rounding_of.register
def _of_safetensors(loader: SafetensorsTensor) -> Loader | None:
    # opening a file takes longer than reading a small tensor, and every part of every head asks
    stored = _stored_type(loader.path, loader.key, Path(loader.path).stat().st_mtime_ns)
    return RoundingErrors(loader, _errors_of_floats) if stored in _SMALL_WORDS else None


@lru_cache(maxsize=1024)
def _stored_type(path: str, key: str, _changed: int) -> str:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return file.get_slice(key).get_dtype()


@rounding_of.register
def _of_renamed(loader: Renamed) -> Loader | None:
    inner = rounding_of(loader.loader)
    return None if inner is None else Renamed(loader.name, inner)


@rounding_of.register
def _of_borrowed(loader: Borrowed) -> Loader | None:
    inner = rounding_of(loader.lent)
    return None if inner is None else Borrowed(inner)


@rounding_of.register
def _of_combined(loader: Combined) -> Loader | None:
    # a function that knows how finely the numbers were stored that it computes has a method for them
    errors = getattr(loader.function, "errors", None)
    return None if errors is None else errors(loader)


@rounding_of.register
def _of_transposed(loader: Transposed) -> Loader | None:
    inner = rounding_of(loader.stored)
    return None if inner is None else Transposed(inner)


@rounding_of.register
def _of_joined(loader: Joined) -> Loader | None:
    parts = _all_of(loader.parts)
    return None if parts is None else Joined(parts, loader.axis)


@rounding_of.register
def _of_stacked(loader: Stacked) -> Loader | None:
    parts = _all_of(loader.parts)
    return None if parts is None else Stacked(parts)


def _all_of(parts: tuple[Loader, ...]) -> tuple[Loader, ...] | None:
    found = [part for part in map(rounding_of, parts) if part is not None]
    return tuple(found) if len(found) == len(parts) else None
