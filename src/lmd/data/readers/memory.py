"""Data that are in memory already, or that an object gives batch by batch."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy
import torch
from torch import Tensor

from lmd.data.errors import UnreadableDataError
from lmd.data.table import Piece, Table

__all__ = ["from_batches", "from_tensor", "resized"]

_INPUTS = ("inputs", "input", "x", "image", "images", "pixel_values", "input_ids", "data", "features")
_TARGETS = ("targets", "target", "y", "label", "labels")
_FORMS = "a tensor, a pair (inputs, targets), or a mapping with 'inputs' and 'targets'"


def from_tensor(data: Any, name: str = "data") -> Table:
    """Examples along the first axis of a tensor or an array; nothing is copied.

    Raises:
        UnreadableDataError: it holds no examples, or no numbers.
    """
    tensor = _tensor(data, name)
    if tensor.ndim == 0 or len(tensor) == 0:
        raise UnreadableDataError(
            f"{name} has shape {tuple(tensor.shape)}: no examples; give at least one, along the first axis."
        )

    def pieces(size: int) -> Iterator[Piece]:
        yield from ((part, None) for part in tensor.split(size))

    return Table(name, len(tensor), tuple(tensor.shape[1:]), pieces)


def _tensor(data: Any, name: str) -> Tensor:
    if isinstance(data, Tensor):
        return data.detach()
    array = numpy.asarray(data)
    if array.dtype.kind not in "biuf":
        raise UnreadableDataError(
            f"{name} is of type {array.dtype}; numbers are needed: floats, whole numbers or true and false."
        )
    if array.dtype.byteorder == ">" or array.dtype.itemsize > 8:
        array = array.astype(array.dtype.newbyteorder("=") if array.dtype.itemsize <= 8 else numpy.float64)
    # a copy where torch would warn that it cannot keep its hands off: memory-mapped files are cut before they come here
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def from_batches(batches: Iterable[Any], name: str) -> Table:
    """A DataLoader, or any iterable of batches; one that can be run through only once is kept in memory.

    Raises:
        UnreadableDataError: a batch is none of the forms known, or the examples differ in shape.
    """
    again = list(batches) if iter(batches) is batches else batches
    count, shape, with_targets = 0, None, True
    for inputs, targets in map(_pair, again):
        if shape is not None and tuple(inputs.shape[1:]) != shape:
            raise UnreadableDataError(
                f"{name} gives examples of shape {shape} and of shape {tuple(inputs.shape[1:])}; all must have one "
                f"shape: pad or crop them first."
            )
        if targets is not None and len(targets) != len(inputs):
            raise UnreadableDataError(
                f"{name} gives {len(inputs)} inputs with {len(targets)} targets; give one target for each input."
            )
        count, shape = count + len(inputs), tuple(inputs.shape[1:])
        with_targets = with_targets and targets is not None
    if shape is None or count == 0:
        raise UnreadableDataError(f"{name} gives no batch; give an iterable of {_FORMS}.")
    return Table(name, count, shape, lambda size: resized(map(_pair, again), size), with_targets, form="batches")


def _pair(batch: Any) -> Piece:
    inputs, targets = batch, None
    if isinstance(batch, Mapping):
        inputs = next((batch[key] for key in _INPUTS if key in batch), None)
        targets = next((batch[key] for key in _TARGETS if key in batch), None)
    elif isinstance(batch, list | tuple) and len(batch) in (1, 2):
        inputs, targets = (*batch, None)[:2]
    if not isinstance(inputs, Tensor | numpy.ndarray) or not inputs.ndim:
        raise UnreadableDataError(f"a batch is of type {type(batch).__name__}; it must be {_FORMS}.")
    return _tensor(inputs, "a batch"), None if targets is None else _tensor(targets, "the targets of a batch")


def resized(pieces: Iterable[Piece], size: int) -> Iterator[Piece]:
    """The same examples in pieces of at most this size."""
    for inputs, targets in pieces:
        parts = [None] * -(-len(inputs) // size) if targets is None else targets.split(size)
        yield from zip(inputs.split(size), parts, strict=True)
