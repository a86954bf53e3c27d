"""Kernels that their own shapes leave open: transposed or not, grouped or not."""

import re
from collections.abc import Sequence
from dataclasses import replace
from math import prod

from lmd.sources.reading import Confidence, Reading
from lmd.sources.rules.evidence import Evidence
from lmd.sources.rules.module import Module

__all__ = ["depthwise_by_name", "depthwise_of_states", "grouped", "kernel_among"]

_DEPTHWISE = re.compile(r"dw|depthwise|dconv|separable", re.IGNORECASE)
_TRANSPOSED = re.compile(r"transp|deconv|convt|conv_t|upconv|up_conv", re.IGNORECASE)


def kernel_among(module: Module, reading: Reading, index: int, evidence: Evidence) -> Reading:
    """Transposed or not: by the normalisation that follows, by siblings whose biases decide, last by the name."""
    return (
        _by_norm(module, reading, index, evidence)
        or _by_siblings(module, reading, evidence)
        or _by_convention(module, reading, evidence)
    )


def _by_norm(module: Module, reading: Reading, index: int, evidence: Evidence) -> Reading | None:
    outputs, inputs = reading.shape[:2]
    following = evidence.first[index + 1] if index + 1 < len(evidence.first) else None
    if outputs == inputs or following is None or following.kind != "diagonal":
        return None
    if following.shape == (outputs,):
        return replace(reading, confidence="siblings", reason="the normalisation after it has as many channels")
    if following.shape == (inputs,) and evidence.modules[index + 1].parent == module.parent:
        return _as_transposed(reading, "siblings", "the normalisation after it has the width of the second axis")
    return None


def _by_siblings(module: Module, reading: Reading, evidence: Evidence) -> Reading | None:
    groups = [("parent", module.parent, f"under {module.parent!r}")]
    if module.stem:
        groups.insert(0, ("stem", module.stem, f"named {module.stem!r} and a number"))
    for key, value, words in groups:
        votes = evidence.kernel_kinds.get((key, value), {})
        if len(votes) == 1:
            ((kind, count),) = votes.items()
            reason = f"the biases of {count} other{'s' * (count > 1)} {words} say so"
            if kind == "transposed_kernel_matrix":
                return _as_transposed(reading, "siblings", reason)
            return replace(reading, confidence="siblings", reason=reason)
    return None


def _by_convention(module: Module, reading: Reading, evidence: Evidence) -> Reading:
    if _TRANSPOSED.search(module.last):
        return _as_transposed(reading, "guess", f"{module.last!r} names a transposed convolution")
    decided = evidence.kernel_kinds.get(("file", ""), {})
    if "transposed_kernel_matrix" not in decided and ("kernel_matrix" in decided or reading.shape[0] in evidence.norms):
        reason = "no layer of the file is a transposed convolution by its bias"
        return replace(reading, confidence="siblings", reason=reason)
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


def grouped(reading: Reading, index: int, evidence: Evidence) -> Reading:
    """Grouped kernels show a narrower second axis than the layer before them writes.

    Groups are in no shape: a kernel that reads one channel, or as many as divide what it writes, stays a guess unless
    the layer before it fits.
    """
    outputs, inputs = reading.shape[:2]
    if prod(reading.shape[2:]) == 1 or inputs == 0:
        return reading
    before = evidence.before[index]
    if inputs == 1:
        return _single_channel(reading, before, ordered=evidence.ordered)
    written = evidence.is_written(inputs, index)
    if before == outputs and before % inputs == 0 and before > inputs:
        if not written:
            return _in_groups(reading, before // inputs, "guess", f"the layer before it writes {before} channels")
        return replace(reading, confidence="guess", alternatives=(*reading.alternatives, "grouped_kernel_matrix"))
    # three or four channels are a picture's
    if inputs > 4 and not written and outputs % inputs == 0 and outputs > inputs and not evidence.ordered:
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


def depthwise_of_states(modules: Sequence[Module], first: Sequence[Reading | None]) -> list[Reading | None]:
    """The convolution of a state-space block, beside ``A_log``, reads each channel by itself."""
    blocks = {module.path for module in modules if "A_log" in module.shapes}
    result = list(first)
    for index, (module, reading) in enumerate(zip(modules, first, strict=True)):
        if reading is not None and module.parent in blocks and _reads_one_channel(reading):
            result[index] = _in_groups(reading, reading.shape[0], "siblings", "it stands in a state-space block")
    return result


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
