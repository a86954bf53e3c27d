"""Examples made of nothing but their shapes: what goes into a network when only the sizes of its inputs are told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Call", "InputShape", "Shaped", "shaped_inputs"]

InputShape = str | Sequence[int] | Sequence[str | Sequence[int]] | Mapping[str, str | Sequence[int]]
"""One shape, several, or one for each argument by name; each as numbers or as a word, see ``shaped_inputs``."""

_WORDS = {"int": "int64", "complex": "complex64"}
_ALONE = "scalar"
"""In place of a shape: one number for each example, such as a step in time."""


@dataclass(frozen=True, slots=True)
class Shaped:
    """One input of a network.

    Attributes:
        shape: of one example, without the batch axis.
        dtype: type of its numbers; None if nobody said.
        name: of the argument; '' if it is given by position.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype | None = None
    name: str = ""


def shaped_inputs(given: InputShape) -> tuple[Shaped, ...]:
    """The inputs of a network from what a person says about them.

    Args:
        given: the shape of one example without the batch axis; several of them, one for each argument in order; or a
            mapping from names of arguments to shapes. A shape is a sequence of numbers, or a word such as ``3x32x32``,
            ``NAME=3x32x32``, ``20:int`` or ``20:TYPE`` with a type of torch; ``scalar`` for one number.

    Raises:
        ValueError: it is none of these.

    >>> shaped_inputs((3, 32, 32))[0].shape, shaped_inputs(["3x8x8", "t=scalar:int"])[1]
    ((3, 32, 32), Shaped(shape=(), dtype=torch.int64, name='t'))
    """
    if isinstance(given, str):
        return (_from_word(given),)
    if isinstance(given, Mapping):
        return tuple(_named(_one(shape), name) for name, shape in given.items())
    if not isinstance(given, Sequence) or not given:
        raise _refused(given)
    if all(isinstance(n, int) for n in given):
        return (_from_numbers(given),)
    return tuple(_one(shape) for shape in given)


def _one(shape: object) -> Shaped:
    return _from_word(shape) if isinstance(shape, str) else _from_numbers(shape)


def _named(one: Shaped, name: str) -> Shaped:
    return Shaped(one.shape, one.dtype, name)


def _from_numbers(shape: object) -> Shaped:
    if not isinstance(shape, Sequence) or not all(isinstance(n, int) and n > 0 for n in shape):
        raise _refused(shape)
    return Shaped(tuple(n for n in shape if isinstance(n, int)))


def _from_word(word: str) -> Shaped:
    name, _, rest = word.rpartition("=")
    sizes, _, kind = rest.partition(":")
    numbers = [] if sizes == _ALONE else sizes.lower().replace(",", "x").split("x")
    if not all(number.isdecimal() and int(number) > 0 for number in numbers):
        raise _refused(word)
    return Shaped(tuple(int(number) for number in numbers), _type(kind, word) if kind else None, name)


def _type(kind: str, word: str) -> torch.dtype:
    found = getattr(torch, _WORDS.get(kind, kind), None)
    if not isinstance(found, torch.dtype):
        raise _refused(word)
    return found


def _refused(given: object) -> ValueError:
    return ValueError(
        f"input_shape={given!r} must be positive numbers, the shape of one example without the batch axis: (3, 32, 32) "
        f"or, on the command line, 3x32x32; of several inputs one shape each; NAME=3x32x32 by the argument's name, "
        f"20:int for whole numbers, scalar for one number."
    )


class Call:
    """One call of a network: examples, and the names of the arguments that they are given as; by position if ''."""

    def __init__(self, examples: Sequence[Tensor], names: Sequence[str] = ()) -> None:
        """Take examples, on the meta device where only their shape is known."""
        self.examples = examples
        self.names = names or [""] * len(examples)
        self.looked_up: set[int] = set()
        """Examples that were given to an embedding as numbers that are not whole."""
        self._given: list[Tensor] = []

    def __call__(self, module: nn.Module, device: torch.device) -> None:
        """Call the module on the examples, as zeros if they have no numbers where they are needed."""
        self._given = [_on(example, device) for example in self.examples]
        pairs = list(zip(self.names, self._given, strict=True))
        module(*(x for name, x in pairs if not name), **{name: x for name, x in pairs if name})

    def watch(self, module: nn.Module, arguments: tuple[object, ...]) -> None:
        """A hook before an embedding: keep which example is to be looked up, if it has the wrong type."""
        for index, example in enumerate(self._given):
            if any(x is example or getattr(x, "_base", None) is example for x in arguments):
                self.looked_up.add(index)


def _on(example: Tensor, device: torch.device) -> Tensor:
    if example.is_meta and device.type != "meta":
        return torch.zeros(example.shape, dtype=example.dtype, device=device)
    return example.to(device)
