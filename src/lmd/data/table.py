"""What every reader gives: how many examples there are, what shape each has, and a way to run through them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Piece", "Pieces", "Table"]

Piece = tuple[Tensor, Tensor | None]
"""Some examples along the first axis, and their targets if the source has some."""
Pieces = Callable[[int], Iterator[Piece]]
"""From the number of examples wanted at a time to all of them, in order; it can be called again."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Examples as they are stored.

    Attributes:
        name: what messages call the source.
        count: number of examples.
        shape: of one of them.
        pieces: runs through them.
        targets: whether pieces hold targets.
        classes: names of the classes that whole-number targets stand for, where the source has names.
        form: ``npy``, ``csv`` and so on.
        files: what was read, for the fingerprint.
        columns: names of the inputs, where the source has them.
    """

    name: str
    count: int
    shape: tuple[int, ...]
    pieces: Pieces
    targets: bool = False
    classes: tuple[str, ...] = ()
    form: str = "tensor"
    files: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
