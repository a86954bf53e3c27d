"""Two-dimensional weights that their own shapes leave open: what the layers beside them say."""

from collections.abc import Sequence
from dataclasses import replace

from lmd.sources.reading import Reading
from lmd.sources.rules.module import Module
from lmd.sources.rules.own_shape import EMBEDDING

__all__ = ["matrix_among"]


def _widths(reading: Reading | None) -> tuple[int, ...]:
    """Widths of the data at both ends of a module whose kind its own shapes decided."""
    if reading is None or not reading.shape or (reading.confidence == "guess" and reading.kind != "diagonal"):
        return ()
    return reading.shape if reading.kind in ("diagonal", "dense", "transposed_dense") else reading.shape[:2]


def matrix_among(
    module: Module, reading: Reading, modules: Sequence[Module], first: Sequence[Reading | None]
) -> Reading:
    """Dense, transposed or embedding: by siblings whose biases decide, or by the widths that occur beside it."""
    rows, columns = reading.shape
    kinds = {r.kind for r in first if r is not None and r.confidence == "shape"}
    if module.shapes.get("bias") is not None:
        if "transposed_dense" in kinds and "dense" not in kinds:
            reason = "its siblings' biases have the length of the columns"
            return replace(
                reading, kind="transposed_dense", confidence="siblings", alternatives=("dense",), reason=reason
            )
        reason = "square; its siblings' biases have the length of the rows"
        return replace(reading, confidence="siblings", reason=reason) if "dense" in kinds else reading
    support = [
        sum(width in (_widths(r) or _loose_widths(m)) for m, r in zip(modules, first, strict=True) if m is not module)
        for width in (rows, columns)
    ]
    if reading.kind == "embedding":
        return _embedding_among(reading, support)
    if min(support) > 0:
        return replace(reading, confidence="siblings", reason="both widths occur in the layers beside it")
    return reading


def _loose_widths(module: Module) -> tuple[int, ...]:
    weight = module.shapes.get("weight", ())
    return weight if len(weight) == 2 and not EMBEDDING.search(module.last) else ()


def _embedding_among(reading: Reading, support: Sequence[int]) -> Reading:
    rows, columns = reading.shape
    as_dense, as_table = support
    if reading.path.endswith("relative_attention_bias"):
        # T5's table of one number for each head: its width occurs nowhere else
        return replace(reading, confidence="siblings", reason="named as T5 names its position table")
    if as_dense > as_table:
        reason = f"{as_dense} layers beside it have width {rows}, {as_table} have {columns}: its rows are outputs"
        return replace(reading, kind="dense", confidence="siblings", alternatives=("embedding",), reason=reason)
    if as_table > as_dense:
        reason = f"{as_table} layers beside it have width {columns}, {as_dense} have {rows}: its rows are entries"
        return replace(reading, confidence="siblings", reason=reason)
    return reading
