"""Kernels side by side rather than in a row: what their paths and their neighbours say."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lmd.sources.reading import Reading
from lmd.sources.rules.ends import ends_of
from lmd.sources.rules.module import Module

__all__ = ["Branch", "branches_of", "is_kernel"]

_MOST_TWINS = 64
_NEAR = 64
_SIZE = re.compile(r"\dx\d")
_LISTS = ("convs", "branches", "paths", "streams", "towers", "kernels", "blocks_k", "filters", "encoders", "layers_k")


@dataclass(frozen=True, slots=True)
class Branch:
    """What speaks for a kernel at the start of a branch of its own.

    Attributes:
        cost: of reading the branch's input rather than what the module before it writes.
        joined: whether the next layer reads as much as all branches together write.
    """

    cost: float
    joined: bool = False


def is_kernel(reading: Reading | None) -> bool:
    """Whether a weight has axes of space."""
    return reading is not None and reading.kind.endswith("kernel_matrix")


@dataclass(frozen=True, slots=True)
class _Kernel:
    """One kernel on its path.

    Attributes:
        index: among the modules.
        path: its parts.
        shape: of its weight.
        writes: channels it writes.
        starts: for each part of the path whether no kernel stands before this one under the path so far.
    """

    index: int
    path: tuple[str, ...]
    shape: tuple[int, ...]
    writes: int
    starts: tuple[bool, ...]


_Key = tuple[int, tuple[str, ...], tuple[str, ...]]


def branches_of(modules: Sequence[Module], readings: Sequence[Reading | None], *, ordered: bool) -> dict[int, Branch]:
    """Index of each kernel that may start a branch, with what speaks for it."""
    kernels = _kernels(modules, readings)
    beside: dict[_Key, list[_Kernel]] = defaultdict(list)
    for kernel in kernels:
        for key in _keys(kernel):
            beside[key].append(kernel)
    behind = [ends_of(r).reads for r in readings]
    first_writer: dict[int, int] = {}
    for i, reading in enumerate(readings):
        first_writer.setdefault(ends_of(reading).writes, i)
    found: dict[int, Branch] = {}
    for place, kernel in enumerate(kernels):
        for key in _keys(kernel):
            twins = [t for t in beside[key][:_MOST_TWINS] if t.index < kernel.index and _alike(kernel, t, key[0])]
            starts = [
                t
                for t in twins
                if t is kernels[0] or t.index in found or first_writer.get(t.shape[1], t.index) < t.index
            ]
            if starts:
                alike = _branches(kernel, beside[key], key[0])
                joined = _joined(alike, behind, ordered=ordered or kernel.path[key[0]].isdigit())
                found[kernel.index] = Branch(_cost(kernel, starts, key[0]), joined)
                break
        if kernel.index not in found and place and _new_network(kernels[place - 1].path, kernel.path):
            found[kernel.index] = Branch(0.2 if kernel.shape[1] == kernels[0].shape[1] else 0.6)
    return found


def _kernels(modules: Sequence[Module], readings: Sequence[Reading | None]) -> list[_Kernel]:
    kernels, seen = [], set()
    for i, (module, reading) in enumerate(zip(modules, readings, strict=True)):
        if reading is None or not is_kernel(reading):
            continue
        path = tuple(module.path.split("."))
        above = [path[: depth + 1] for depth in range(len(path))]
        starts = tuple(part not in seen for part in above)
        seen.update(above)
        kernels.append(_Kernel(i, path, reading.shape, ends_of(reading).writes, starts))
    return kernels


def _keys(kernel: _Kernel) -> Iterator[_Key]:
    """What kernels have in common whose paths differ in one part, and which start the branch below it."""
    for depth, starts in enumerate(kernel.starts):
        if starts:
            yield depth, kernel.path[:depth], kernel.path[depth + 1 :]


def _alike(kernel: _Kernel, twin: _Kernel, depth: int) -> bool:
    if len(kernel.shape) != len(twin.shape):
        return False
    # streams of different inputs stand side by side at the top and are named in words
    streams = depth == 0 and not kernel.path[0][-1:].isdigit() and kernel.shape[0] == twin.shape[0]
    return kernel.shape[1] == twin.shape[1] or streams


def _cost(kernel: _Kernel, twins: Sequence[_Kernel], depth: int) -> float:
    """Names in words, or numbers in a list of branches, are more likely branches than numbers in a row."""
    path = kernel.path
    if len(path) == 1 and all(twin.shape[1] != kernel.shape[1] for twin in twins):
        return 0.3
    if not path[depth][-1:].isdigit() or _SIZE.search(path[depth]):
        return 0.1
    return 0.1 if depth and path[depth - 1].endswith(_LISTS) else 0.3


def _branches(kernel: _Kernel, beside: Sequence[_Kernel], depth: int) -> list[_Kernel]:
    """Those of the same inputs; where names are words those of as many outputs too, which are streams."""
    numbered = kernel.path[depth][-1:].isdigit()
    near = [t for t in beside[:_MOST_TWINS] if len(t.shape) == len(kernel.shape)]
    return [t for t in near if t.shape[1] == kernel.shape[1] or (not numbered and t.shape[0] == kernel.shape[0])]


def _joined(branches: Sequence[_Kernel], reads: Sequence[int], *, ordered: bool) -> bool:
    """Whether what comes next reads what all branches write; without an order, somebody that, and nobody one alone."""
    if len(branches) < 2:
        return False
    start = branches[-1].index + 1
    behind = [r for r in reads[start : start + _NEAR] if r]
    if not ordered and any(t.writes in behind for t in branches):
        return False
    return sum(t.writes for t in branches) in (behind[:1] if ordered else behind)


def _new_network(before: tuple[str, ...], own: tuple[str, ...]) -> bool:
    """Whether a path leaves one deep top-level part for another that is not its successor in a row."""
    stems = [path[0].rstrip("0123456789") for path in (before, own)]
    return before[0] != own[0] and min(len(before), len(own)) > 1 and (stems[0] != stems[1] or not stems[0])
