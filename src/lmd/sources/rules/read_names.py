"""Bare names and shapes to module kinds: what a checkpoint without its architecture says by itself."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lmd.sources.adapter_names import adapter_readings, without_adapters
from lmd.sources.depth_order import depth_key, names_norm
from lmd.sources.reading import Reading, TensorRecord
from lmd.sources.rules.chain import Choice
from lmd.sources.rules.evidence import Evidence, evidence_of
from lmd.sources.rules.kernels import kernels_in_chain
from lmd.sources.rules.matrices import matrix_among
from lmd.sources.rules.module import Module, modules_of
from lmd.sources.rules.override import overridden
from lmd.sources.rules.own_shape import by_own_shape
from lmd.sources.rules.settled import settled, votes_of
from lmd.sources.rules.stacks import stacks_among_kernels
from lmd.sources.rules.state_spaces import depthwise_of_states

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
    modules, first, choices = _in_best_order(modules_of(without_adapters(records, adapters)), ordered=ordered)
    votes = votes_of(modules, first, choices)
    known = [settled(i, r, choices[i], votes) if r is not None and i in choices else r for i, r in enumerate(first)]
    known = _perhaps_bilinear(stacks_among_kernels(modules, depthwise_of_states(modules, known)))
    evidence = evidence_of(modules, known, ordered=ordered)
    readings = tuple(_among(index, evidence) for index in range(len(modules)))
    read = (r for r in overridden(readings, modules, kinds or {}) if r is not None and r.kind != "vector")
    return _in_order((*adapters, *read), records) if adapters else tuple(read)


def _in_order(readings: Sequence[Reading], records: Sequence[TensorRecord]) -> tuple[Reading, ...]:
    place = {record.name: index for index, record in enumerate(records)}
    return tuple(sorted(readings, key=lambda r: min(place.get(name, len(place)) for name in r.roles.values())))


def _in_best_order(
    modules: Sequence[Module], *, ordered: bool
) -> tuple[Sequence[Module], list[Reading | None], dict[int, Choice]]:
    """The modules and their kernels' readings; where the order was lost, norms stand before or behind their layers."""
    order = list(modules)
    first = [by_own_shape(m) for m in order]
    cost, choices = kernels_in_chain(order, first, ordered=ordered)
    before: frozenset[str] = frozenset()
    for place in () if ordered else _places_of_norms(modules)[:_MOST_TRIALS]:
        trial = sorted(modules, key=lambda m: depth_key(m.path, norms_first=_numberless(m.parent) in before | {place}))
        readings = [by_own_shape(m) for m in trial]
        trial_cost, trial_choices = kernels_in_chain(trial, readings, ordered=ordered)
        if trial_cost < cost - _WORTH_A_FLIP:
            cost, order, first, choices, before = trial_cost, trial, readings, trial_choices, before | {place}
    return order, first, choices


_MOST_TRIALS = 16
_WORTH_A_FLIP = 0.5


def _places_of_norms(modules: Sequence[Module]) -> list[str]:
    """Paths, without their numbers, of the modules that hold normalisations by name."""
    return list(dict.fromkeys(_numberless(m.parent) for m in modules if names_norm(m.last)))


def _numberless(path: str) -> str:
    return re.sub(r"\d+", "", path)


def _among(index: int, evidence: Evidence) -> Reading | None:
    module, reading = evidence.modules[index], evidence.readings[index]
    if reading is None or len(reading.shape) != 2 or reading.confidence != "guess":
        return reading
    if reading.kind in ("dense", "embedding"):
        return matrix_among(module, reading, index, evidence)
    return reading


def _perhaps_bilinear(readings: list[Reading | None]) -> list[Reading | None]:
    """A lone kernel of three axes behind a dense layer may as well be the form of a bilinear layer."""
    kernels = [i for i, r in enumerate(readings) if r is not None and r.kind.endswith("kernel_matrix")]
    reading = readings[kernels[0]] if len(kernels) == 1 else None
    if reading is None or reading.kind != "kernel_matrix" or len(reading.shape) != 3 or "bias" not in reading.roles:
        return readings
    before = next((r for r in reversed(readings[: kernels[0]]) if r is not None), None)
    if before is None or before.kind != "dense":
        return readings
    alternatives = (*reading.alternatives, "dense")
    either = replace(reading, confidence="guess", alternatives=alternatives, reason="a kernel, or a bilinear form")
    return [either if r is reading else r for r in readings]
