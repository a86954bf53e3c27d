"""Kernels side by side rather than in a row: what their paths and their neighbours say."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lmd.sources.reading import Reading
from lmd.sources.rules.ends import ends_of
from lmd.sources.rules.module import Module

__all__ = ["Branch", "branches_of", "is_kernel"]

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


def branches_of(modules: Sequence[Module], readings: Sequence[Reading | None]) -> dict[int, Branch]:
    """Index of each kernel that may start a branch, with what speaks for it."""
    kernels = [i for i, r in enumerate(readings) if is_kernel(r)]
    paths = {i: modules[i].path.split(".") for i in kernels}
    found: dict[int, Branch] = {}
    written: set[int] = set()
    earlier: dict[int, frozenset[int]] = {}
    for i, reading in enumerate(readings):
        earlier[i] = frozenset(written)
        written.add(ends_of(reading).writes)
    for place, i in enumerate(kernels):
        twins = _twins(i, kernels[:place], paths, readings)
        starts = [j for j, _ in twins if j == kernels[0] or j in found or _reads(readings[j]) in earlier[j]]
        if starts:
            depth = next(depth for j, depth in twins if j in starts)
            streams = all(_reads(readings[j]) != _reads(readings[i]) for j in starts)
            cost = 0.3 if streams and len(paths[i]) == 1 else _cost(paths[i], depth)
            found[i] = Branch(cost, _joined(i, kernels, paths, readings, depth))
        elif place and _new_network(paths[kernels[place - 1]], paths[i]):
            same = _reads(readings[i]) == _reads(readings[kernels[0]])
            found[i] = Branch(0.2 if same else 0.6)
    return found


def _reads(reading: Reading | None) -> int:
    return reading.shape[1] if reading is not None else 0


def _axes(reading: Reading | None) -> tuple[int, ...]:
    return reading.shape[1::-1] if reading is not None else ()


def _twins(
    i: int, before: Sequence[int], paths: dict[int, list[str]], readings: Sequence[Reading | None]
) -> list[tuple[int, int]]:
    """Earlier kernels whose path differs in one part, both the first of their branch, and the place of that part."""
    own, twins = readings[i], []
    for j in before:
        other = readings[j]
        if own is None or other is None or len(own.shape) != len(other.shape) or len(paths[i]) != len(paths[j]):
            continue
        differing = [d for d, (a, b) in enumerate(zip(paths[i], paths[j], strict=True)) if a != b]
        alike = own.shape[1] == other.shape[1] or own.shape[0] == other.shape[0]
        if len(differing) == 1 and alike and _is_first(i, before, paths, differing[0]):
            if own.shape[1] != other.shape[1] and (differing[0] or paths[i][0][-1:].isdigit()):
                # streams of different inputs stand side by side at the top and are named in words
                continue
            if _is_first(j, [k for k in before if k < j], paths, differing[0]):
                twins.append((j, differing[0]))
    return twins


def _is_first(i: int, before: Sequence[int], paths: dict[int, list[str]], depth: int) -> bool:
    return not any(paths[k][: depth + 1] == paths[i][: depth + 1] for k in before)


def _cost(path: list[str], depth: int) -> float:
    """Names in words, or numbers in a list of branches, are more likely branches than numbers in a row."""
    if not path[depth][-1:].isdigit() or _SIZE.search(path[depth]):
        return 0.1
    return 0.1 if depth and path[depth - 1].endswith(_LISTS) else 0.3


def _joined(
    i: int, kernels: Sequence[int], paths: dict[int, list[str]], readings: Sequence[Reading | None], depth: int
) -> bool:
    own = readings[i]
    beside = [
        j for j in kernels if paths[j][:depth] == paths[i][:depth] and paths[j][depth + 1 :] == paths[i][depth + 1 :]
    ]
    # other inputs, as many outputs: streams named in words
    ends = 1 if paths[i][depth][-1:].isdigit() else 2
    alike = [j for j in beside if any(a == b for a, b in zip(_axes(readings[j])[:ends], _axes(own), strict=False))]
    width = sum(ends_of(readings[j]).writes for j in alike)
    behind = [reads for r in readings[max(alike, default=i) + 1 :] if (reads := ends_of(r).reads)]
    # numbers have an order; among words the next in the alphabet need not be the next in the network
    return len(alike) > 1 and width in (behind[:1] if paths[i][depth].isdigit() else behind)


def _new_network(before: list[str], own: list[str]) -> bool:
    """Whether a path leaves one deep top-level part for another that is not its successor in a row."""
    stems = [path[0].rstrip("0123456789") for path in (before, own)]
    return before[0] != own[0] and min(len(before), len(own)) > 1 and (stems[0] != stems[1] or not stems[0])
