"""This process, one item after the other; BLAS uses the threads."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar, runtime_checkable

__all__ = ["Engine", "Local"]

Item = TypeVar("Item")
Result = TypeVar("Result")


@runtime_checkable
class Engine(Protocol):
    """Any object with ``map``: yields ``function(item)`` for each item, in order."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterable[Result]:
        """Apply ``function`` to every item."""
        ...


class Local:
    """Runs each item when its result is asked for, so that an interruption loses one item."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Apply ``function`` to every item, lazily and in order."""
        return (function(item) for item in items)
