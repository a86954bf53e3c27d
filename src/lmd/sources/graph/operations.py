"""The registry of operations without weights: pure functions of tensors, by framework and name."""

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["known", "operation", "operation_named"]

Operation = Callable[..., Any]
F = TypeVar("F", bound=Operation)

_operations: dict[str, Operation] = {}


def operation(*names: str) -> Callable[[F], F]:
    """Register a function of tensors (None for an input left out) and keyword attributes, under ``framework.Name``.

    It returns one tensor, or a tuple of as many as the node has outputs. It writes on no input and draws no random
    number. Shapes and other whole numbers that steer it are tensors on the CPU.
    """

    def add(function: F) -> F:
        for name in names:
            _operations[name] = function
        return function

    return add


def known(name: str) -> bool:
    """Whether an operation of that name is registered."""
    return name in _operations


def operation_named(name: str) -> Operation:
    """The function registered under a name.

    Raises:
        KeyError: none is.
    """
    return _operations[name]
