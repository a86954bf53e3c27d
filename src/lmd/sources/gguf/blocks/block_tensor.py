"""A quantised tensor of a GGUF file: read and turned into numbers a part at a time."""

from dataclasses import dataclass, replace
from math import prod

import numpy
import torch
from torch import Tensor

from lmd.sources.gguf.blocks.arithmetic import Bytes, Numbers, dequantised, in_own_order
from lmd.sources.gguf.blocks.block_rounding import rounding, rounding_known
from lmd.sources.gguf.blocks.block_types import TYPES, BlockType
from lmd.sources.loaders import Loader, cut_shape
from lmd.sources.rounding import RoundingErrors, rounding_of

__all__ = ["BlockTensor"]

_PLAIN = {"float16": "f2", "float32": "f4", "float64": "f8", "int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8"}


@dataclass(frozen=True, slots=True, eq=False)
class BlockTensor:
    """Numbers in blocks along the last axis, or plain ones of the other byte order.

    Attributes:
        name: of the tensor.
        path: the file.
        offset: bytes from its start.
        number: of the type, as in the file.
        stored: shape of the whole tensor.
        start: first index along each axis.
        size: how many along each.
        big_endian: whether words stand in the other order.
    """

    name: str
    path: str
    offset: int
    number: int
    stored: tuple[int, ...]
    start: tuple[int, ...]
    size: tuple[int, ...]
    big_endian: bool = False

    @property
    def tensors(self) -> tuple[str, ...]:
        """The one name."""
        return (self.name,)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what a call returns."""
        return self.size

    @property
    def kind(self) -> BlockType:
        """The type."""
        return TYPES[self.number]

    def __call__(self) -> Tensor:
        """The numbers, float32 if they were quantised, in memory of their own.

        Raises:
            EOFError: the file ends before the tensor does.
            UnreadableModelError: the gguf package is not installed.
        """
        if not prod(self.size):
            return torch.empty(self.size, dtype=getattr(torch, self.kind.dtype) if self.kind.plain else torch.float32)
        blocks, before = self.blocks()
        if self.kind.plain:
            return self._plain(blocks)
        return self.cut(dequantised(blocks, self.kind.name), before)

    def narrow(self, dim: int, start: int, length: int) -> "BlockTensor":
        """The slice; along the last axis the blocks that hold it are read whole."""
        size = cut_shape(self.size, (dim, start, length))
        starts = list(self.start)
        starts[dim] += start
        return replace(self, start=tuple(starts), size=size)

    def blocks(self) -> tuple[Bytes, int]:
        """The bytes that hold the slice, ``(..., bytes)``, and how many numbers of a row come before it."""
        kind, stored = self.kind, self.stored or (1,)
        start, size = self.start or (0,), self.size or (1,)
        first, last = start[-1] // kind.elements, -(-(start[-1] + size[-1]) // kind.elements)
        row = stored[-1] // kind.elements * kind.bytes
        try:
            held = numpy.memmap(self.path, numpy.uint8, "r", self.offset, (*stored[:-1], row))
        except ValueError as fault:
            raise EOFError(f"{self.path} ends inside tensor {self.name!r}; it is cut short, fetch it again.") from fault
        place = tuple(slice(low, low + count) for low, count in zip(start[:-1], size[:-1], strict=True))
        blocks = numpy.array(held[(*place, slice(first * kind.bytes, last * kind.bytes))])
        if self.big_endian and kind.swapped:
            blocks = in_own_order(blocks, kind.bytes, kind.swapped)
        return blocks, start[-1] - first * kind.elements

    def cut(self, numbers: Numbers, before: int) -> Tensor:
        """The slice of the numbers of whole blocks."""
        size = self.size or (1,)
        return torch.from_numpy(numbers[..., before : before + size[-1]].reshape(self.size).copy())

    def _plain(self, blocks: Bytes) -> Tensor:
        if self.kind.dtype == "bfloat16":
            return torch.from_numpy(blocks.view(numpy.int16)).view(torch.bfloat16).reshape(self.size)
        return torch.from_numpy(blocks.view(_PLAIN[self.kind.dtype])).reshape(self.size)


@rounding_of.register
def _of_blocks(loader: BlockTensor) -> Loader | None:
    return RoundingErrors(loader, _errors_of_blocks) if rounding_known(loader.kind.name) else None


def _errors_of_blocks(loader: BlockTensor) -> Tensor:
    if not prod(loader.shape):
        return torch.empty(loader.shape)
    blocks, before = loader.blocks()
    return loader.cut(rounding(blocks, loader.kind.name), before)
