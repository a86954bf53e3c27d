"""The unit of work: one layer to its record."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import torch
from safetensors import SafetensorError

from lmd.atlas.entries import empty_entry, entry, failed_entry, unpaired_entry
from lmd.atlas.layer_record import Kept, LayerRecord, arrays_to_keep
from lmd.factors.factors import Factors
from lmd.factors.svd import factors_of
from lmd.findings.analysis import Finding, analyses_of, run
from lmd.findings.geometry.chance.identifiability import Rounding
from lmd.findings.geometry.chance.power_law import PowerLawOption
from lmd.findings.geometry.maps.transient import PseudospectraOption
from lmd.layers.layer_matrix import LayerMatrix
from lmd.layers.updates.differences import Unpaired
from lmd.linalg.threads import fitting_threads
from lmd.pipeline.options import Options

__all__ = ["LayerTask", "record_of"]

_LAYER_FAULTS = (
    ValueError,
    RuntimeError,
    TypeError,
    KeyError,
    OSError,
    EOFError,
    MemoryError,
    ArithmeticError,
    SafetensorError,
)
"""What a file, a matrix or a machine can do to one layer; it costs its row."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerTask:
    """A layer, what to compute, what it saw of the data by type, and why it did not see the rest."""

    layer: LayerMatrix
    options: Options
    seen: Mapping[type, Any] = field(default_factory=dict)
    why: Mapping[type, str] = field(default_factory=dict)


def record_of(task: LayerTask) -> LayerRecord:
    """Decompose one layer and ask every question about it; a fault costs its row."""
    layer = task.layer
    if 0 in layer.shape:
        return LayerRecord(empty_entry(layer), Kept({}))
    if isinstance(layer, Unpaired):
        return LayerRecord(unpaired_entry(layer, layer.reason), Kept({}))
    generator = torch.Generator().manual_seed(task.options.seed + crc32(layer.name.encode()))
    try:
        # the factors of a product are as small as its rank
        with fitting_threads((layer.full_rank, max(layer.shape))):
            factors = factors_of(layer, generator=generator, **task.options.truncation(layer.full_rank))
        findings = list(_findings(task, factors))
        return LayerRecord(entry(layer, factors, findings), Kept(arrays_to_keep(factors, findings)))
    except _LAYER_FAULTS as fault:
        return LayerRecord(failed_entry(layer, f"{type(fault).__name__}: {fault}"), Kept({}))


def _findings(task: LayerTask, factors: Factors) -> Iterator[Finding]:
    layer = task.layer
    forms = [form for form in type(layer).__mro__ if issubclass(form, LayerMatrix)]
    given: dict[type, Any] = {Factors: factors, **dict.fromkeys(forms, layer), **task.seen}
    given[Rounding] = Rounding(task.options.rounding)
    if task.options.pseudospectra:
        given[PseudospectraOption] = PseudospectraOption()
    if task.options.power_law:
        given[PowerLawOption] = PowerLawOption(task.options.power_law_draws, task.options.seed)
    for chosen in analyses_of(layer, given):
        yield run(chosen, factors.layer, given, why=task.why)
