"""Ways to read one tensor: picklable, lazy, and able to read a part only."""

import mmap
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Protocol, runtime_checkable

import numpy
import torch
from torch import Tensor, nn

__all__ = ["Combined", "Evaluated", "FileTensor", "Held", "Loader", "SafetensorsTensor", "cut_shape"]


@runtime_checkable
class Loader(Protocol):
    """A zero-argument function that reads one tensor; plain pickle can send it to another machine."""

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the network's tensors that are read."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor that a call returns."""
        ...

    def __call__(self) -> Tensor:
        """Read the tensor; the caller must not write on it."""
        ...

    def narrow(self, dim: int, start: int, length: int) -> "Loader":
        """Build the loader of the slice ``[start, start + length)`` along ``dim``."""
        ...


Cut = tuple[int, int, int]


def _cut(tensor: Tensor, cuts: tuple[Cut, ...]) -> Tensor:
    for dim, start, length in cuts:
        tensor = tensor.narrow(dim, start, length)
    return tensor


def cut_shape(shape: tuple[int, ...], cut: Cut) -> tuple[int, ...]:
    """The shape that is left of ``shape`` by a slice ``(dim, start, length)``.

    Raises:
        ValueError: the slice leaves the shape.
    """
    dim, start, length = cut
    if not 0 <= start <= start + length <= shape[dim]:
        raise ValueError(f"slice [{start}, {start + length}) leaves dimension {dim} of shape {shape}; stay inside it.")
    return (*shape[:dim], length, *shape[dim + 1 :])


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A tensor in memory. Pickling writes the slice alone, not the storage behind it."""

    name: str
    tensor: Tensor

    @property
    def tensors(self) -> tuple[str, ...]:
        """The one name."""
        return (self.name,)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return tuple(self.tensor.shape)

    def __call__(self) -> Tensor:
        """The tensor, detached from any graph."""
        return self.tensor.detach()

    def narrow(self, dim: int, start: int, length: int) -> "Held":
        """A view on the same memory."""
        return Held(self.name, self.tensor.detach().narrow(dim, start, length))

    def __reduce__(self) -> tuple[Any, ...]:
        """Send a detached clone: a view would drag its whole storage along."""
        return Held, (self.name, self.tensor.detach().cpu().clone(memory_format=torch.contiguous_format))


@dataclass(frozen=True, slots=True, eq=False)
class FileTensor:
    """Numbers at a known place in a file: ``stride`` and ``start`` count elements, ``offset`` counts bytes."""

    name: str
    path: str
    offset: int
    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The one name."""
        return (self.name,)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.size

    def __call__(self) -> Tensor:
        """A contiguous copy, in memory of its own.

        Raises:
            EOFError: the file ends before the tensor does.
        """
        if prod(self.size) == 0:
            return torch.empty(self.size, dtype=self.dtype)
        last = sum((n - 1) * s for n, s in zip(self.size, self.stride, strict=True))
        length = (last + 1) * self.dtype.itemsize
        with open(self.path, "rb") as file:
            if last + 1 == prod(self.size):
                buffer = bytearray(length)
                file.seek(self.offset)
                if file.readinto(buffer) < length:
                    raise EOFError(
                        f"{self.path} ends inside tensor {self.name!r}; the file is cut short, fetch it again."
                    )
                return torch.frombuffer(buffer, dtype=self.dtype).as_strided(self.size, self.stride).contiguous()
            return self._gathered(file.fileno(), length)

    def _gathered(self, descriptor: int, length: int) -> Tensor:
        page = self.offset - self.offset % mmap.ALLOCATIONGRANULARITY
        with mmap.mmap(descriptor, self.offset - page + length, offset=page, access=mmap.ACCESS_READ) as memory:
            flat = numpy.frombuffer(memory, dtype=numpy.uint8, count=length, offset=self.offset - page)
            # NumPy knows no bfloat16: elements travel as raw bytes of their size
            raw = numpy.lib.stride_tricks.as_strided(
                flat,
                (*self.size, self.dtype.itemsize),
                (*(s * self.dtype.itemsize for s in self.stride), 1),
                writeable=False,
            ).copy()
            del flat
        return torch.from_numpy(raw).view(self.dtype).reshape(self.size)

    def narrow(self, dim: int, start: int, length: int) -> "FileTensor":
        """The slice, read without the rest."""
        size = cut_shape(self.size, (dim, start, length))
        return replace(self, size=size, offset=self.offset + start * self.stride[dim] * self.dtype.itemsize)


@dataclass(frozen=True, slots=True, eq=False)
class SafetensorsTensor:
    """One tensor of a safetensors file, through the format's own library."""

    name: str
    path: str
    key: str
    size: tuple[int, ...]
    cuts: tuple[Cut, ...] = ()

    @property
    def tensors(self) -> tuple[str, ...]:
        """The one name."""
        return (self.name,)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.size

    def __call__(self) -> Tensor:
        """The slice; the file is mapped for the length of the call only."""
        from safetensors import safe_open

        with safe_open(self.path, framework="pt") as file:
            if not self.cuts:
                return file.get_tensor(self.key)
            part = file.get_slice(self.key)
            bounds = [slice(0, n) for n in part.get_shape()]
            for dim, start, length in self.cuts:
                before = bounds[dim].start
                bounds[dim] = slice(before + start, before + start + length)
            return part[tuple(bounds)]

    def narrow(self, dim: int, start: int, length: int) -> "SafetensorsTensor":
        """The slice, read without the rest."""
        cut = (dim, start, length)
        return replace(self, size=cut_shape(self.size, cut), cuts=(*self.cuts, cut))


@dataclass(frozen=True, slots=True, eq=False)
class Combined:
    """A tensor computed from several: ``function(*parts)``, where ``function`` lives at module level."""

    function: Callable[..., Tensor]
    parts: tuple[Loader, ...]
    size: tuple[int, ...]
    cuts: tuple[Cut, ...] = ()

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of all parts."""
        return tuple(name for part in self.parts for name in part.tensors)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return self.size

    def __call__(self) -> Tensor:
        """Read the parts and combine them."""
        # parts in memory of their own: where a tensor starts in its file would decide the last bits of a sum
        return _cut(self.function(*(part().clone() for part in self.parts)), self.cuts)

    def narrow(self, dim: int, start: int, length: int) -> "Combined":
        """A slice of the result; the parts are still read in full."""
        cut = (dim, start, length)
        return replace(self, size=cut_shape(self.size, cut), cuts=(*self.cuts, cut))


@dataclass(frozen=True, slots=True, eq=False)
class Evaluated:
    """A parametrised attribute of a live module, computed on a detached copy in evaluation mode.

    Reading the live attribute could change the model (a spectral norm in training mode steps its power iteration).
    """

    tensors: tuple[str, ...]
    module: nn.Module = field(repr=False)
    attribute: str
    size: tuple[int, ...]
    cuts: tuple[Cut, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return self.size

    def __call__(self) -> Tensor:
        """The effective weight."""
        # the chain alone: the module around it may hold what cannot be copied
        chain: Any = self.module.parametrizations
        with torch.no_grad():
            return _cut(deepcopy(chain[self.attribute]).eval()().detach(), self.cuts)

    def narrow(self, dim: int, start: int, length: int) -> "Evaluated":
        """A slice of the result."""
        cut = (dim, start, length)
        return replace(self, size=cut_shape(self.size, cut), cuts=(*self.cuts, cut))

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the result: the module itself is the user's and may not pickle."""
        return _several, (self.tensors, self().cpu().clone())


@dataclass(frozen=True, slots=True, eq=False)
class _Several:
    tensors: tuple[str, ...]
    tensor: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    def __call__(self) -> Tensor:
        return self.tensor

    def narrow(self, dim: int, start: int, length: int) -> "_Several":
        return _Several(self.tensors, self.tensor.narrow(dim, start, length).clone())


def _several(tensors: tuple[str, ...], tensor: Tensor) -> _Several:
    return _Several(tensors, tensor)
