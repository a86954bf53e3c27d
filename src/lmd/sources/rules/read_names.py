"""Bare names and shapes to module kinds: what a checkpoint without its architecture says by itself."""

from collections.abc import Mapping, Sequence

from lmd.sources.adapter_names import adapter_readings, without_adapters
from lmd.sources.reading import Reading, TensorRecord
from lmd.sources.rules.evidence import Evidence, evidence_of
from lmd.sources.rules.kernels import depthwise_by_name, depthwise_of_states, grouped, kernel_among
from lmd.sources.rules.matrices import matrix_among
from lmd.sources.rules.module import modules_of
from lmd.sources.rules.override import overridden
from lmd.sources.rules.own_shape import by_own_shape

__all__ = ["read_names"]


def read_names(
    records: Sequence[TensorRecord], kinds: Mapping[str, str] | None = None, *, ordered: bool = True
) -> tuple[Reading, ...]:
    """Read each module's kind from the names and shapes of its tensors and of its neighbours'.

    Args:
        records: of the file, in its order, as ``with_roles`` returns them.
        kinds: glob of module paths or weight names to a word of ``KINDS``, which overrides the rules.
        ordered: whether the records come in the order of the layers; otherwise it was guessed from their names.

    Returns:
        One reading for each module that owns at least one linear map.

    Raises:
        ValueError: an override names an unknown kind, fits no module, or its kind does not fit the shape.
    """
    adapters = adapter_readings(records)
    modules = modules_of(without_adapters(records, adapters))
    first = depthwise_of_states(modules, [by_own_shape(m) for m in modules])
    if not ordered:
        first = depthwise_by_name(modules, first)
    evidence = evidence_of(modules, first, ordered=ordered)
    readings = tuple(_among(index, evidence) for index in range(len(modules)))
    read = (r for r in overridden(readings, modules, kinds or {}) if r is not None and r.kind != "vector")
    return _in_order((*adapters, *read), records) if adapters else tuple(read)


def _in_order(readings: Sequence[Reading], records: Sequence[TensorRecord]) -> tuple[Reading, ...]:
    place = {record.name: index for index, record in enumerate(records)}
    return tuple(sorted(readings, key=lambda r: min(place.get(name, len(place)) for name in r.roles.values())))


def _among(index: int, evidence: Evidence) -> Reading | None:
    module, reading = evidence.modules[index], evidence.first[index]
    if reading is None:
        return None
    if reading.kind in ("dense", "embedding") and reading.confidence == "guess":
        return matrix_among(module, reading, index, evidence)
    if reading.kind == "kernel_matrix":
        if reading.confidence == "guess":
            reading = kernel_among(module, reading, index, evidence)
        return grouped(reading, index, evidence) if reading.kind == "kernel_matrix" else reading
    return reading
