"""How much of a network is decomposed, and why the rest is not. Needs no torch."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from lmd.sources.reading import Reading, TensorRecord
from lmd.sources.rules.tensor_roles import effective_names

__all__ = ["BIAS", "UNCHOSEN", "Coverage", "Status", "TensorCoverage", "coverage_of", "mapped_names"]

Status = Literal["decomposed", "vector", "buffer", "tied", "optimiser", "unsupported", "failed"]

BIAS = "a bias: it shifts, it is no linear map"
"""Why a bias is in no layer matrix."""
UNCHOSEN = "left out by the choice of layers"
"""The reason of tensors whose rows nobody asked for."""


@dataclass(frozen=True, slots=True)
class TensorCoverage:
    """What became of one tensor; everything but ``decomposed`` has a reason."""

    name: str
    shape: tuple[int, ...]
    parameters: int
    status: Status
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The account of a network's parameters.

    Attributes:
        parameters: trainable elements; tied tensors once, no buffers, no optimiser state.
        decomposed: share of them inside a layer matrix.
        accounted: share of them decomposed or with a reason why not; must be 1.
        tensors: one entry for each tensor of the source.
    """

    parameters: int
    decomposed: float
    accounted: float
    tensors: tuple[TensorCoverage, ...]


def coverage_of(
    records: Iterable[TensorRecord],
    decomposed: Mapping[str, float],
    reasons: Mapping[str, str],
    failed: Mapping[str, str] | None = None,
) -> Coverage:
    """Account for every tensor.

    Args:
        records: all tensors of the source.
        decomposed: names of those inside a layer matrix, and the share of each that is.
        reasons: name to why no layer kind took it, where that is known better than by its shape.
        failed: name to what went wrong, for layers that could not be decomposed.
    """
    tensors = tuple(_account(r, decomposed, reasons, failed or {}) for r in records)
    total = sum(t.parameters for t in tensors)
    done = sum(t.parameters * decomposed.get(t.name, 0.0) for t in tensors)
    explained = sum(t.parameters for t in tensors if t.status == "decomposed" or t.reason)
    return Coverage(total, done / total if total else 0.0, explained / total if total else 1.0, tensors)


def _account(
    record: TensorRecord, decomposed: Mapping[str, float], reasons: Mapping[str, str], failed: Mapping[str, str]
) -> TensorCoverage:
    name, shape = record.name, record.shape
    if record.role != "parameter":
        return TensorCoverage(name, shape, 0, record.role, record.reason)
    if name in failed:
        return TensorCoverage(name, shape, record.elements, "failed", failed[name])
    if name in decomposed:
        part = f"{decomposed[name]:.1%} of it; {reasons.get(name, 'no row takes the rest')}"
        return TensorCoverage(name, shape, record.elements, "decomposed", part if decomposed[name] < 1.0 else "")
    if 0 in shape:
        return TensorCoverage(name, shape, 0, "unsupported", record.reason or "it has no entries")
    # that of a normalisation may have several axes; those of several heads, or of two maps, lie in as many rows
    shifts = name.rpartition(".")[2] == "bias" or (record.reason or reasons.get(name)) == BIAS
    if len(shape) < 2 or _is_magnitude(name) or shifts:
        reason = record.reason or reasons.get(name) or _vector_reason(name, shape)
        return TensorCoverage(name, shape, record.elements, "vector", reason)
    reason = record.reason or reasons.get(name) or "no layer kind knows a raw tensor of this name"
    return TensorCoverage(name, shape, record.elements, "unsupported", reason)


def _is_magnitude(name: str) -> bool:
    # of a convolution it is stored with as many axes as the kernel
    return "lora_magnitude_vector" in name


def _vector_reason(name: str, shape: tuple[int, ...]) -> str:
    if not shape:
        return "a single number, no matrix"
    if "bias" in name.rpartition(".")[2]:
        return BIAS
    if _is_magnitude(name):
        return "DoRA's magnitudes: they rescale the outputs of the changed layer, whose whole update needs the base"
    return f"1-d: if it is a normalisation, say --kind '{name.rpartition('.')[0] or name}=diagonal'"


def mapped_names(readings: Iterable[Reading], names: Collection[str]) -> set[str]:
    """Names of the stored tensors that readings turn into layer matrices."""
    effective = effective_names(names)
    found: set[str] = set()
    for reading in readings:
        for role, name in reading.roles.items():
            # an adapter without a shape needs the base, which no header tells
            known = reading.kind == "adapter" and reading.shape != (0, 0)
            whole = reading.kind == "raw" or (known and role != "lora_magnitude_vector")
            if whole or ("weight" in role and role not in ("weight_u",)):
                found.update(effective.get(name, (name,)))
    return found & set(names)
