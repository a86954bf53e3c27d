"""Kernels that their own shapes leave open: transposed or not, grouped or not."""

import re
from collections.abc import Sequence
from dataclasses import replace
from math import prod

from lmd.sources.reading import Confidence, Reading
from lmd.sources.rules.module import Module

__all__ = ["depthwise_by_name", "grouped", "kernel_among"]

_DEPTHWISE = re.compile(r"dw|depthwise|dconv|separable", re.IGNORECASE)
_TRANSPOSED = re.compile(r"transp|deconv|convt|conv_t|upconv|up_conv", re.IGNORECASE)


def kernel_among(
    module: Module, reading: Reading, index: int, modules: Sequence[Module], first: Sequence[Reading | None]
) -> Reading:
    """Transposed or not: by the normalisation that follows, by siblings whose biases decide, last by the name."""
    outputs, inputs = reading.shape[:2]
    following = first[index + 1] if index + 1 < len(first) else None
    if outputs != inputs and following is not None and following.kind == "diagonal":
        if following.shape == (outputs,):
            return replace(reading, confidence="siblings", reason="the normalisation after it has as many channels")
        if following.shape == (inputs,):
            return _as_transposed(reading, "siblings", "the normalisation after it has the width of the second axis")
    votes = [
        r.kind
        for m, r in zip(modules, first, strict=True)
        if r is not None and r.confidence == "shape" and r.kind.endswith("kernel_matrix") and m.stem == module.stem
    ]
    same_parent = [
        r.kind
        for m, r in zip(modules, first, strict=True)
        if r is not None and r.confidence == "shape" and r.kind.endswith("kernel_matrix") and m.parent == module.parent
    ]
    for siblings, words in ((votes, f"layers named {module.stem!r}"), (same_parent, f"layers under {module.parent!r}")):
        if siblings and len(set(siblings)) == 1:
            reason = f"{len(siblings)} {words} are, by their biases"
            if siblings[0] == "transposed_kernel_matrix":
                return _as_transposed(reading, "siblings", reason)
            return replace(reading, confidence="siblings", reason=reason)
    if _TRANSPOSED.search(module.last):
        return _as_transposed(reading, "guess", f"{module.last!r} names a transposed convolution")
    return _kernel_by_convention(reading, first)


def _kernel_by_convention(reading: Reading, first: Sequence[Reading | None]) -> Reading:
    decided = {r.kind for r in first if r is not None and r.confidence == "shape"}
    normed = any(r is not None and r.kind == "diagonal" and r.shape == reading.shape[:1] for r in first)
    if "transposed_kernel_matrix" not in decided and ("kernel_matrix" in decided or normed):
        return replace(
            reading, confidence="siblings", reason="no layer of the file is a transposed convolution by its bias"
        )
    return reading


def _as_transposed(reading: Reading, confidence: Confidence, reason: str) -> Reading:
    return replace(
        reading,
        kind="transposed_kernel_matrix",
        confidence=confidence,
        alternatives=("kernel_matrix",),
        reason=reason,
        settings={"groups": 1},
    )


def grouped(
    module: Module, reading: Reading, index: int, modules: Sequence[Module], first: Sequence[Reading | None]
) -> Reading:
    """Grouped kernels show a narrower second axis than the layer before them writes."""
    outputs, inputs = reading.shape[:2]
    pointwise = prod(reading.shape[2:]) == 1
    before = next((_out_width(r) for r in reversed(first[:index]) if _out_width(r)), 0)
    if before <= 1 or pointwise or before % inputs or outputs % before or before == inputs:
        return reading
    narrow = any(_out_width(r) == inputs for r in first[:index])
    if inputs > 1 and (narrow or outputs != before):
        return reading
    groups = before // inputs
    reason = f"the layer before it writes {before} channels, each kernel reads {inputs}: {groups} groups"
    alternatives = ("kernel_matrix",)
    return replace(
        reading,
        kind="grouped_kernel_matrix",
        confidence="siblings" if inputs == 1 else "guess",
        alternatives=alternatives,
        settings={"groups": groups},
        reason=reason,
    )


def depthwise_by_name(modules: Sequence[Module], first: Sequence[Reading | None]) -> list[Reading | None]:
    """Without an order: kernels that read one channel, several in one file or named so, each read their own."""
    single = [_reads_one_channel(r) for r in first]
    result = list(first)
    for index, (module, reading) in enumerate(zip(modules, first, strict=True)):
        named = _DEPTHWISE.search(module.path) is not None
        if reading is None or not single[index] or not (named or sum(single) > 1):
            continue
        words = f"{module.path!r} names a depthwise convolution" if named else f"{sum(single)} layers read one channel"
        result[index] = replace(
            reading,
            kind="grouped_kernel_matrix",
            confidence="siblings" if named else "guess",
            alternatives=("kernel_matrix",),
            settings={"groups": reading.shape[0]},
            reason=f"{words}: {reading.shape[0]} groups",
        )
    return result


def _reads_one_channel(reading: Reading | None) -> bool:
    if reading is None or reading.kind != "kernel_matrix":
        return False
    return reading.shape[1] == 1 and reading.shape[0] > 1 and prod(reading.shape[2:]) > 1


def _out_width(reading: Reading | None) -> int:
    if reading is None or not reading.shape:
        return 0
    if reading.kind == "transposed_kernel_matrix":
        return reading.shape[1]
    return reading.shape[0] if reading.kind in ("kernel_matrix", "diagonal", "dense") else 0
