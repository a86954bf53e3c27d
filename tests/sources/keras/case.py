"""A layer, its arrays, and what it must give by the reference."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray
RANDOM = np.random.default_rng(4)


def draw(*shape: int) -> Array:
    return RANDOM.standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> Array:
    return (0.5 + RANDOM.random(shape)).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """``arrays``: name in a Keras 2 file, groups and number in a Keras 3 file, and the array; in Keras's order."""

    name: str
    class_name: str
    shape: tuple[int, ...]
    forward: Callable[..., Array]
    arrays: tuple[tuple[str, str, Array], ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    versions: tuple[int, ...] = (2, 3)

    def values(self) -> list[Array]:
        return [array.astype(np.float64) for _, _, array in self.arrays]


def plain(*arrays: tuple[str, Array]) -> tuple[tuple[str, str, Array], ...]:
    return tuple((name, f"vars/{number}", array) for number, (name, array) in enumerate(arrays))


def kernel_and_bias(*shape: int, bias: int | None = None):
    return plain(("kernel", draw(*shape)), ("bias", draw(bias or shape[-1])))
