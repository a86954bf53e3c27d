"""Which layer of one network stands for which of another, where their names differ."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.updates.matching import aligned, plain
from lmd.layers.walk import Walk

__all__ = ["Alignment", "align"]

_BY_NAME = "by name"
_BY_ORDER = "by order and shape: no layer has the same name and shape in both"


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """The rows of a network under the names of the one it is compared with.

    Attributes:
        rows: renamed.
        rule: in words, how they were found.
        names: name in the first network to the own name, where they differ.
    """

    rows: Walk
    rule: str
    names: Mapping[str, str]


def align(found: Walk, base: Walk, globs: Mapping[str, str]) -> Alignment:
    """Rename the rows of ``found`` as ``base`` calls them.

    Names decide, with or without a common beginning; ``globs`` are applied first. Only where no layer of the same name
    has the same shape, whole layers are taken in their order, and the longest common sequence of shapes is matched.

    Args:
        found: rows of the later network.
        base: rows of the earlier one.
        globs: glob of names in the earlier network to the glob of the same layers in the later one.

    Raises:
        ValueError: a glob fits nothing, or its two sides do not have as many stars.
    """
    renamed = _renamed(found, globs) if globs else {}
    rows = _with_names(found, renamed)
    if globs or _shared(rows, base):
        renamed |= _behind_prefixes(rows, base, {new: old for old, new in renamed.items()})
        rule = _told(globs) if globs else _BY_NAME
        return Alignment(_with_names(found, renamed), rule, {new: old for old, new in renamed.items() if new != old})
    matched = _by_order(_whole(found), _whole(base))
    if not matched:
        return Alignment(rows, _BY_NAME, {})
    return Alignment(_with_names(found, matched), _BY_ORDER, {new: old for old, new in matched.items() if new != old})


def _told(globs: Mapping[str, str]) -> str:
    return "by name after " + ", ".join(f"--align {a}={b}" for a, b in globs.items())


def _whole(found: Walk) -> list[LayerMatrix]:
    return [row for row in found.layers if row.view_of is None]


def _shared(found: Walk, base: Walk) -> bool:
    mine = {plain(row.name): row for row in _whole(found)}
    theirs = aligned({plain(row.name): row for row in _whole(base)}, set(mine)).rows
    adapters = any(row.kind == "adapter" for row in mine.values())
    return adapters or any(name in theirs and _size(theirs[name]) == _size(row) for name, row in mine.items())


def _behind_prefixes(found: Walk, base: Walk, own: Mapping[str, str]) -> dict[str, str]:
    """Own name to the name in the base, where a beginning is all that differs."""
    mine = {plain(row.name): row for row in _whole(found) if row.kind != "adapter"}
    theirs = aligned({plain(row.name): row for row in _whole(base)}, set(mine)).rows
    return {
        own.get(row.name, row.name): theirs[name].name
        for name, row in mine.items()
        if name in theirs and theirs[name].name != row.name
    }


def _size(row: LayerMatrix) -> tuple[int, ...]:
    return (*row.shape, row.groups)


def _by_order(mine: Sequence[LayerMatrix], theirs: Sequence[LayerMatrix]) -> dict[str, str]:
    matcher = SequenceMatcher(None, [_size(row) for row in mine], [_size(row) for row in theirs], autojunk=False)
    return {
        mine[block.a + step].name: theirs[block.b + step].name
        for block in matcher.get_matching_blocks()
        for step in range(block.size)
    }


def _with_names(found: Walk, names: Mapping[str, str]) -> Walk:
    taken = set(names.values())
    rows = []
    for row in found.layers:
        name = names.get(row.name, row.name)
        # a layer that keeps a name which now belongs to another one
        own = f"{name} (of the other)" if name in taken and row.name not in names else name
        rows.append(row if own == row.name else replace(row, name=own, note=_noted(row)))
    return Walk(tuple(rows), found.reasons)


def _noted(row: LayerMatrix) -> str:
    return "; ".join(text for text in (f"called {row.name} in the later one", row.note) if text)


def _renamed(found: Walk, globs: Mapping[str, str]) -> dict[str, str]:
    """Name in ``found`` to the name in the base."""
    names: dict[str, str] = {}
    for theirs, mine in globs.items():
        if theirs.count("*") != mine.count("*"):
            raise ValueError(
                f"--align {theirs}={mine} has {theirs.count('*')} stars before the equals sign and {mine.count('*')} "
                f"behind it; each * of one side stands for what the * of the other one is; give as many."
            )
        pattern = re.compile("(.*)".join(re.escape(part) for part in mine.split("*")))
        fitting = {row.name: match for row in _whole(found) if (match := pattern.fullmatch(row.name))}
        if not fitting:
            some = ", ".join(row.name for row in _whole(found)[:4])
            raise ValueError(f"--align {theirs}={mine}: {mine!r} fits no layer of the later model; it has {some}, ...")
        for name, match in fitting.items():
            between = theirs.split("*")
            names[name] = "".join(a + b for a, b in zip(between, (*match.groups(), ""), strict=True))
    return names
