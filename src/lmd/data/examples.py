"""The noun of this room: examples that can be run through in batches, again and again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lmd.data.errors import UnreadableDataError
from lmd.data.preparation import Preparation
from lmd.data.table import Table

__all__ = ["Batch", "Examples"]


class Batch(NamedTuple):
    """Some examples, ready for the network.

    Attributes:
        inputs: ``(n, ...)``.
        targets: ``(n, ...)`` classes or numbers, or None.
    """

    inputs: Tensor
    targets: Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Examples, how they are prepared, and their targets if there are some.

    Attributes:
        table: what is stored, and a way to run through it.
        preparation: what is done to it.
        count: how many examples are used, the first ones of the table.
        targets: those from a file of their own, in place of the table's.
        classes: names of the classes, where targets are classes with names.
        how: the options they were opened with, as JSON values.
        fingerprint: SHA-256 of what was read.
        notes: what a person should know.
    """

    table: Table
    preparation: Preparation
    count: int
    targets: Tensor | None = None
    classes: tuple[str, ...] = ()
    how: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    notes: tuple[str, ...] = ()

    @property
    def has_targets(self) -> bool:
        """Whether batches hold targets."""
        return self.targets is not None or self.table.targets

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example, as the network gets it."""
        return tuple(self.head(1).inputs.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """Of the inputs, as the network gets them."""
        return self.head(1).inputs.dtype

    def batches(self, size: int = 256) -> Iterator[Batch]:
        """All examples in order, at most ``size`` at a time.

        Raises:
            UnreadableDataError: a number is NaN or infinite, or the source is damaged.
            ValueError: the preparation does not fit.
        """
        if size < 1:
            raise ValueError(f"size={size} must be at least 1: the number of examples of a batch.")
        start = 0
        for inputs, own in self.table.pieces(size):
            left = self.count - start
            if left <= 0:
                return
            yield self._batch(inputs[:left], None if own is None else own[:left], start)
            start += len(inputs)

    def head(self, count: int) -> Batch:
        """The first examples, at most ``count``."""
        return next(iter(islice(self.batches(max(1, count)), 1)))

    def _batch(self, inputs: Tensor, own: Tensor | None, start: int) -> Batch:
        _refuse_endless(inputs, self.table, start)
        targets = own if self.targets is None else self.targets[start : start + len(inputs)]
        return Batch(self.preparation(inputs), targets)

    def prepared(self, **changes: Any) -> "Examples":
        """The same examples with other settings of their preparation."""
        return replace(self, preparation=replace(self.preparation, **changes))

    def noted(self, *notes: str) -> "Examples":
        """The same examples with something more that a person should know."""
        return replace(self, notes=(*self.notes, *notes))

    def described(self) -> dict[str, Any]:
        """What an atlas keeps: source, options, shape, fingerprint, notes."""
        return {
            "source": self.table.name,
            "form": self.table.form,
            "count": self.count,
            "of": self.table.count,
            "shape": list(self.shape),
            "dtype": str(self.dtype).removeprefix("torch."),
            "targets": self.has_targets,
            "classes": list(self.classes),
            "how": dict(self.how),
            "sha256": self.fingerprint,
            "notes": list(self.notes),
        }


def _refuse_endless(inputs: Tensor, table: Table, start: int) -> None:
    if not inputs.dtype.is_floating_point or bool(torch.isfinite(inputs).all()):
        return
    row, place = torch.nonzero(~torch.isfinite(inputs.reshape(len(inputs), -1)))[0].tolist()
    value = inputs.reshape(len(inputs), -1)[row, place].item()
    where = f"column {table.columns[place]!r}" if table.columns else f"entry {place}"
    raise UnreadableDataError(
        f"{table.name}, example {start + row} (counted from 0), {where} is {value}; a network needs finite numbers: "
        f"fill it in, or leave the example out."
    )
