"""Tables of more or fewer entries than those of a base: a vocabulary that grew or shrank at its end."""

from collections.abc import Iterable
from dataclasses import replace

from lmd.layers.layer_matrix import LayerMatrix, as_stored
from lmd.layers.updates.unpaired import Unpaired
from lmd.sources.derived_loaders import Missing
from lmd.sources.loaders import Loader

__all__ = ["entry_axis", "first_entries", "resized_tables", "surplus"]

Sizes = frozenset[tuple[int, int]]


def resized_tables(pairs: Iterable[tuple[LayerMatrix, LayerMatrix]]) -> Sizes:
    """Numbers of entries, here and in the base, of tables that differ in nothing else."""
    return frozenset(
        (mine.shape[1], theirs.shape[1])
        for mine, theirs in pairs
        if mine.kind == theirs.kind == "embedding" and mine.shape[0] == theirs.shape[0] and mine.shape != theirs.shape
    )


def entry_axis(mine: LayerMatrix, theirs: LayerMatrix, sizes: Sizes) -> int | None:
    """Along which axis the entries lie, of a table or of the layer that scores them; None for any other pair."""
    for axis in (1, 0) if mine.groups == theirs.groups == 1 else ():
        kinds = ("embedding",) if axis == 1 else ("dense",)
        pair = (mine.shape[axis], theirs.shape[axis])
        if mine.kind in kinds and mine.shape[1 - axis] == theirs.shape[1 - axis] and pair in sizes:
            return axis
    return None


def first_entries(row: LayerMatrix, formed: Loader, axis: int, count: int) -> LayerMatrix:
    """The first entries only; ``formed`` reads the matrix ``(out, in)``."""
    size = (row.shape[0], count) if axis == 1 else (count, row.shape[1])
    return replace(row, shape=size, loader=formed.narrow(axis, 0, count), form=as_stored)


def surplus(row: LayerMatrix, axis: int, count: int) -> Unpaired:
    """A row for the entries that only the network has."""
    out, inn = row.shape
    size = (out, inn - count) if axis == 1 else (out - count, inn)
    reason = f"the base has {count} entries: these {row.shape[axis] - count} are new"
    return Unpaired(f"{row.name}.added", "difference", size, Missing(row.loader.tensors, size), reason=reason)
