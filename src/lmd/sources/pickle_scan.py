"""What a pickle would do, read from its opcodes before anything is built from it."""

import pickletools
from collections.abc import Iterator
from typing import BinaryIO

from torch import _utils

__all__ = ["DEEPEST_TUPLE", "names_in_pickle"]

DEEPEST_TUPLE = 1000
"""Python hashes tuples by recursion without a limit: a pickled key some 200,000 tuples deep ends the process."""


def names_in_pickle(stream: BinaryIO) -> Iterator[str]:
    """Classes and functions the next pickle of ``stream`` names, in its order, with Python 2's names translated.

    Raises:
        ValueError: tuples nest deeper than ``DEEPEST_TUPLE``, or an opcode is no opcode.
        LookupError: an opcode takes from an empty stack.
    """
    words: list[str] = []
    depths = _Depths()
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("GLOBAL", "INST"):
            yield _renamed(*str(argument).split(" ", 1))
        elif opcode.name == "STACK_GLOBAL":
            yield ".".join(words[-2:])
        elif isinstance(argument, str):
            words.append(argument)
        depths.step(opcode, argument)


def _renamed(module: str, name: str = "") -> str:
    module, name = _utils.NAME_MAPPING.get((module, name), (_utils.IMPORT_MAPPING.get(module, module), name))
    return f"{module}.{name}"


class _Depths:
    """The pickle machine's stack with, in place of each object, how deep tuples nest in it."""

    def __init__(self) -> None:
        self.stack: list[int] = []
        self.marks: list[int] = []
        self.memo: dict[object, int] = {}

    def step(self, opcode: pickletools.OpcodeInfo, argument: object) -> None:
        if opcode.name == "MARK":
            self.marks.append(len(self.stack))
        elif "PUT" in opcode.name or opcode.name == "MEMOIZE":
            self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]
        elif "GET" in opcode.name:
            self.stack.append(self.memo[argument])
        else:
            taken = self._take(opcode)
            self.stack += [_depth(opcode.name, taken)] * len(opcode.stack_after)

    def _take(self, opcode: pickletools.OpcodeInfo) -> list[int]:
        before = opcode.stack_before
        if pickletools.markobject not in before:
            cut = len(self.stack) - len(before)
        else:
            cut = self.marks.pop() - before.index(pickletools.markobject)
        if cut < 0:
            raise LookupError(f"{opcode.name} takes from an empty stack")
        taken = self.stack[cut:]
        del self.stack[cut:]
        return taken


def _depth(name: str, taken: list[int]) -> int:
    inner = max(taken, default=0)
    if inner > DEEPEST_TUPLE:
        raise ValueError(f"tuples nest deeper than {DEEPEST_TUPLE} levels")
    if name.startswith("TUPLE"):
        return inner + 1
    # torch.Size is a tuple too; a list or dict has no hash, so that recursion ends there
    return inner if name in ("REDUCE", "NEWOBJ") else 0
