"""Quantised blocks to numbers."""

from importlib import import_module
from typing import Any

import numpy
from numpy.typing import NDArray

from lmd.sources.errors import UnreadableModelError

__all__ = ["Bytes", "Numbers", "dequantised", "in_own_order", "known"]

Bytes = NDArray[numpy.uint8]
Numbers = NDArray[numpy.float32]

_AT_ONCE = 1 << 16
"""Numbers that stay in a processor's cache while they are worked on."""
_OWN = {"Q8_K"}
_NOWHERE = {"Q1_0"}
"""Without a dequantisation in the package."""


def known(name: str) -> bool:
    """Whether blocks of a type can be turned into numbers."""
    return name not in _NOWHERE


def dequantised(blocks: Bytes, name: str) -> Numbers:
    """The numbers of ``(rows, bytes)``, by the gguf package's own arithmetic.

    Raises:
        UnreadableModelError: the package is not installed.
    """
    if name in _OWN:
        return _q8_k(blocks)
    try:
        gguf: Any = import_module("gguf")
    except ImportError as fault:
        raise UnreadableModelError(
            f"{name} blocks came, and the gguf package that knows them is not installed; pip install 'lmd[gguf]'."
        ) from fault
    kind = gguf.GGMLQuantizationType[name]
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    flat = blocks.reshape(-1, size)
    numbers = numpy.empty((len(flat), elements), dtype=numpy.float32)
    step = max(1, _AT_ONCE // elements)
    # scales of damaged blocks may be NaN or infinite; whether that matters is judged where the numbers are used
    with numpy.errstate(all="ignore"):
        for start in range(0, len(flat), step):
            part = flat[start : start + step]
            # one row: the package goes through many rows a few at a time
            numbers[start : start + step] = gguf.dequantize(part.reshape(1, -1), kind).reshape(-1, elements)
    return numbers.reshape(*blocks.shape[:-1], -1)


def _q8_k(blocks: Bytes) -> Numbers:
    whole = blocks.reshape(-1, 292)
    scale = whole[:, :4].copy().view(numpy.float32)
    with numpy.errstate(all="ignore"):
        return (scale * whole[:, 4:260].view(numpy.int8)).reshape(*blocks.shape[:-1], -1)


def in_own_order(blocks: Bytes, size: int, swapped: tuple[tuple[int, int], ...]) -> Bytes:
    """Blocks of ``size`` bytes with the bytes of their words turned round."""
    whole = blocks.reshape(-1, size).copy()
    for place, width in swapped:
        whole[:, place : place + width] = whole[:, place : place + width][:, ::-1]
    return whole.reshape(blocks.shape)
