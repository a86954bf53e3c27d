"""Two-dimensional weights that their own shapes leave open: what the layers beside them say."""

import re
from dataclasses import dataclass, replace

from lmd.sources.reading import Confidence, Reading
from lmd.sources.rules.evidence import Evidence, vote_keys
from lmd.sources.rules.module import Module

__all__ = ["matrix_among"]

_PROJECTION = re.compile(
    r"(proj|(^|\.)(to_)?(q|k|v|o|w[qkvo]?|w\d|fc\d*|lin(ear)?\d*|dense|query|key|value))(_|\.|\d|$)", re.IGNORECASE
)


def matrix_among(module: Module, reading: Reading, index: int, evidence: Evidence) -> Reading:
    """Dense, transposed or embedding: by siblings whose biases decide, or by who reads and writes its widths."""
    if "bias" in module.shapes:
        return _square(module, reading, evidence)
    fits = _fits(reading, index, evidence)
    if reading.kind == "embedding":
        return _named_embedding(reading, fits)
    return _unnamed(reading, index, fits, evidence)


@dataclass(frozen=True, slots=True)
class _Fits:
    """What the layers beside a matrix ``(rows, columns)`` support.

    Attributes:
        inputs: something before it writes its columns.
        outputs: something behind it reads its rows.
        vectors: something behind it reads its columns, as it would read the vectors of a table.
        head: another layer maps its columns to as many outputs as it has rows, as the head of a vocabulary does.
        first: nothing with a width stands before it.
    """

    inputs: bool
    outputs: bool
    vectors: bool
    head: bool
    first: bool


def _fits(reading: Reading, index: int, evidence: Evidence) -> _Fits:
    rows, columns = reading.shape
    guesses = reading.kind == "dense"
    return _Fits(
        evidence.writes_before(columns, index, guesses=guesses) or evidence.flattened_before(columns, index),
        evidence.reads_after(rows, index, guesses=guesses),
        evidence.reads_after(columns, index),
        evidence.has_head(rows, columns),
        evidence.is_first(index),
    )


def _square(module: Module, reading: Reading, evidence: Evidence) -> Reading:
    groups = [evidence.votes[key] for key in vote_keys(module) if key in evidence.votes and key != ("name", "")]
    if not groups:
        return reading
    votes = next((group for group in groups if len(group) == 1), groups[-1])
    kind = votes.most_common(1)[0][0]
    other = "transposed_dense" if kind == "dense" else "dense"
    axis = "rows" if kind == "dense" else "columns"
    sure: Confidence = "siblings" if len(votes) == 1 else "guess"
    reason = f"square; its siblings' biases have the length of the {axis}"
    return replace(reading, kind=kind, confidence=sure, alternatives=(other,), reason=reason)


def _named_embedding(reading: Reading, fits: _Fits) -> Reading:
    rows, columns = reading.shape
    if reading.path.endswith("relative_attention_bias"):
        # T5's table of one number for each head: its width occurs nowhere else
        return replace(reading, confidence="siblings", reason="named as T5 names its position table")
    if fits.outputs and not fits.vectors and not fits.head:
        reason = f"a layer reads width {rows} and none {columns}: its rows are outputs"
        return _as(reading, "dense", "siblings", reason)
    if fits.vectors and rows != columns and (not fits.outputs or fits.first):
        reason = f"a layer reads vectors of width {columns}, which its name says it holds"
        return replace(reading, confidence="siblings", reason=reason)
    return reading


def _unnamed(reading: Reading, index: int, fits: _Fits, evidence: Evidence) -> Reading:
    rows, columns = reading.shape
    before = f"width {columns} is written before it"
    table = f"a layer reads width {columns} and none {rows}: its columns are vectors"
    projection = _PROJECTION.search(reading.path) is not None and rows <= columns
    tables = reading.shape in evidence.tables and reading.kind != "embedding"
    entries = (fits.head or fits.first) and not _is_head(index, fits, evidence)
    # the first line that holds
    dense: list[tuple[bool, Confidence, str]] = [
        (_has_twin(reading, index, evidence), "siblings", "a layer beside it of this shape has outputs along its rows"),
        (fits.inputs and fits.outputs, "siblings", f"{before} and width {rows} read behind it"),
        (fits.inputs and projection, "siblings", f"{before}, and its name is a projection's"),
        (fits.inputs and tables, "siblings", f"{before}; the table of {rows} entries is another"),
        (fits.vectors, "guess", "no bias"),
        (fits.inputs, "siblings", f"{before}, and nothing reads {columns} again"),
        (fits.outputs, "siblings", f"width {rows} is read behind it, and nothing reads {columns}"),
    ]
    found = next((i for i, line in enumerate(dense) if line[0]), len(dense))
    if found >= _TABLES_GO_BEFORE and fits.vectors and not fits.outputs and rows > 1 and (entries or not fits.inputs):
        return _as(reading, "embedding", "guess" if fits.inputs else "siblings", table)
    return _as(reading, "dense", *dense[found][1:]) if found < len(dense) else reading


def _has_twin(reading: Reading, index: int, evidence: Evidence) -> bool:
    """Whether a layer of the same block and shape, a few places away, is dense for certain."""
    block = reading.path.rpartition(".")[0]
    near = evidence.readings[max(0, index - _NEAR) : index + _NEAR + 1]
    return bool(block) and any(
        other is not None
        and other.kind == "dense"
        and other.confidence == "shape"
        and other.shape == reading.shape
        and other.path.rpartition(".")[0] == block
        for other in near
    )


_NEAR = 4
_TABLES_GO_BEFORE = 4
"""Lines of the list above that speak louder than vectors read by others."""


def _is_head(index: int, fits: _Fits, evidence: Evidence) -> bool:
    """Whether it stands where the output of a network stands."""
    return not fits.first and evidence.is_last(index)


def _as(reading: Reading, kind: str, confidence: Confidence, reason: str) -> Reading:
    others = tuple(k for k in ("embedding", "dense", "transposed_dense") if k != kind)
    return replace(reading, kind=kind, confidence=confidence, alternatives=others, reason=reason)
