"""Loaders of HDF5 arrays: from their place in the file, or through the library in a process of its own."""

import atexit
import threading
from dataclasses import dataclass, replace
from functools import cache
from math import prod

import torch
from torch import Tensor

from lmd.sources.errors import UnreadableModelError
from lmd.sources.isolation.reader_process import ReaderProcess
from lmd.sources.keras.hdf5.contents import CHILD, LIMITS, DataSet
from lmd.sources.keras.hdf5.window import Place
from lmd.sources.loaders import FileTensor, Loader, cut_shape

__all__ = ["LibraryTensor", "loader_of"]

_one_at_a_time = threading.Lock()


def loader_of(data_set: DataSet, name: str, shape: tuple[int, ...]) -> Loader:
    """What reads a data set, under the name of its record.

    Raises:
        UnreadableModelError: the shape has another number of elements.
    """
    if prod(shape) != prod(data_set.shape):
        raise UnreadableModelError(
            f"data set {data_set.path!r} has the shape {data_set.shape}, its layer needs {shape}; weights and "
            f"configuration must belong together. Save the model again."
        )
    dtype = getattr(torch, data_set.dtype)
    if data_set.offset is not None:
        stride = tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))
        return FileTensor(name, data_set.place.file, data_set.offset, dtype, shape, stride)
    other = shape if shape != data_set.shape else None
    return LibraryTensor(name, data_set.place, data_set.stored_as, dtype, data_set.shape, shape, other)


@cache
def _reader() -> ReaderProcess:
    # starting one for each of many tensors would take longer than reading them
    reader = ReaderProcess(CHILD, LIMITS)
    atexit.register(reader.__exit__, None, None, None)
    return reader


@dataclass(frozen=True, slots=True, eq=False)
class LibraryTensor:
    """Numbers that are packed, in pieces, or in the other byte order: the library reads them in its process.

    ``stored`` is its shape in the file, ``shaped`` another one that it is seen in: slices then read it in full.
    """

    name: str
    place: Place
    path: str
    dtype: torch.dtype
    stored: tuple[int, ...]
    size: tuple[int, ...]
    shaped: tuple[int, ...] | None = None
    cuts: tuple[tuple[int, int, int], ...] = ()

    @property
    def tensors(self) -> tuple[str, ...]:
        """The one name."""
        return (self.name,)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.size

    def __call__(self) -> Tensor:
        """Read it, or the slice.

        Raises:
            UnreadableModelError: the file does not hold what it declares.
        """
        if prod(self.size) == 0:
            return torch.empty(self.size, dtype=self.dtype)
        wanted = self.size if self.shaped is None else self.stored
        with _one_at_a_time:
            raw = _reader().ask(
                "read",
                about=self.place.file,
                most_bytes=prod(wanted) * self.dtype.itemsize,
                # a slice may need pieces that are as large as the whole
                work=prod(self.stored) * self.dtype.itemsize,
                place=self.place.as_json(),
                path=self.path,
                cuts=[list(cut) for cut in self.cuts] if self.shaped is None else [],
            )
        if len(raw) != prod(wanted) * self.dtype.itemsize:
            raise UnreadableModelError(
                f"{self.path!r} of {self.place.file} holds {len(raw)} bytes where {wanted} were declared; the file is "
                f"damaged. Fetch or save it again."
            )
        tensor = torch.frombuffer(bytearray(raw), dtype=self.dtype)
        if self.shaped is None:
            return tensor.reshape(self.size)
        tensor = tensor.reshape(self.shaped)
        for cut in self.cuts:
            tensor = tensor.narrow(*cut)
        return tensor

    def narrow(self, dim: int, start: int, length: int) -> "LibraryTensor":
        """The slice, read without the rest."""
        cut = (dim, start, length)
        return replace(self, size=cut_shape(self.size, cut), cuts=(*self.cuts, cut))
