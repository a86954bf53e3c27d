"""Two-dimensional weights that their own shapes leave open: what the layers beside them say."""

from dataclasses import replace

from lmd.sources.reading import Reading
from lmd.sources.rules.evidence import Evidence
from lmd.sources.rules.module import Module

__all__ = ["matrix_among"]


def matrix_among(module: Module, reading: Reading, index: int, evidence: Evidence) -> Reading:
    """Dense, transposed or embedding: by siblings whose biases decide, or by the widths that occur beside it."""
    if "bias" in module.shapes:
        return _square(reading, evidence)
    as_dense, as_table = (evidence.support(module, index, width) for width in reading.shape)
    if reading.kind == "embedding":
        return _embedding(reading, as_dense, as_table)
    if min(as_dense, as_table) > 0:
        return replace(reading, confidence="siblings", reason="both widths occur in the layers beside it")
    return reading


def _square(reading: Reading, evidence: Evidence) -> Reading:
    if "dense" in evidence.matrix_kinds:
        reason = "square; its siblings' biases have the length of the rows"
        return replace(reading, confidence="siblings", reason=reason)
    if "transposed_dense" in evidence.matrix_kinds:
        reason = "square; its siblings' biases have the length of the columns"
        return replace(reading, kind="transposed_dense", confidence="siblings", alternatives=("dense",), reason=reason)
    return reading


def _embedding(reading: Reading, as_dense: int, as_table: int) -> Reading:
    rows, columns = reading.shape
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
