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
        if following.shape == (inputs,) and modules[index + 1].parent == module.parent:
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


def grouped(reading: Reading, index: int, first: Sequence[Reading | None], *, ordered: bool) -> Reading:
    """Grouped kernels show a narrower second axis than the layer before them writes.

    Groups are in no shape: a kernel that reads one channel, or as many as divide what it writes, stays a guess unless
    the layer before it fits.
    """
    outputs, inputs = reading.shape[:2]
    if prod(reading.shape[2:]) == 1 or inputs == 0:
        return reading
    before = next((_out_width(r) for r in reversed(first[:index]) if _out_width(r)), 0)
    if inputs == 1:
        return _single_channel(reading, before, ordered=ordered)
    written = any(_out_width(r) == inputs for r in (first[:index] if ordered else first))
    if before == outputs and before % inputs == 0 and before > inputs:
        if not written:
            return _in_groups(reading, before // inputs, "guess", f"the layer before it writes {before} channels")
        return replace(reading, confidence="guess", alternatives=(*reading.alternatives, "grouped_kernel_matrix"))
    # three or four channels are a picture's
    if inputs > 4 and not written and outputs % inputs == 0 and outputs > inputs and not ordered:
        return replace(reading, confidence="guess", alternatives=(*reading.alternatives, "grouped_kernel_matrix"))
    return reading


def _single_channel(reading: Reading, before: int, *, ordered: bool) -> Reading:
    outputs = reading.shape[0]
    if before > 1 and outputs == before:
        sure: Confidence = "siblings" if ordered else "guess"
        return _in_groups(reading, before, sure, f"the layer before it writes {before} channels")
    if before > 1 and ordered:
        return _in_groups(reading, outputs, "guess", "deep in the network a kernel reads one channel")
    if not ordered and outputs > 1 and reading.kind == "kernel_matrix":
        return replace(reading, confidence="guess", alternatives=(*reading.alternatives, "grouped_kernel_matrix"))
    return reading


def _in_groups(reading: Reading, groups: int, confidence: Confidence, why: str) -> Reading:
    if groups <= 1:
        return reading
    return replace(
        reading,
        kind="grouped_kernel_matrix",
        confidence=confidence,
        alternatives=("kernel_matrix",),
        settings={"groups": groups},
        reason=f"{why}, each kernel reads {reading.shape[1]}: {groups} groups",
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
        result[index] = _in_groups(reading, reading.shape[0], "siblings" if named else "guess", words)
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
