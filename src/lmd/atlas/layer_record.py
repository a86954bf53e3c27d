"""What an atlas keeps of one layer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from lmd.atlas.folder import read_tensors
from lmd.atlas.json_values import json_number
from lmd.factors.factors import Factors
from lmd.findings.analysis import Finding, NotApplicable, analyses
from lmd.findings.measure import baseline_spectrum
from lmd.findings.quantity import Measured, Quantity, arrays_of, quantities_of
from lmd.findings.sentence import sentence_of
from lmd.findings.words import words_of

__all__ = ["Kept", "LayerRecord", "Stored", "arrays_to_keep", "findings_entry", "findings_of", "glossary"]


_MEASURES = ("frobenius_norm", "residual", "orthogonality_defect")


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """Arrays in memory."""

    tensors: Mapping[str, Tensor]

    def __call__(self) -> Mapping[str, Tensor]:
        """All of them."""
        return self.tensors


@dataclass(frozen=True, slots=True)
class Stored:
    """Arrays in a layer file, read when asked for."""

    path: Path

    def __call__(self) -> Mapping[str, Tensor]:
        """All of them."""
        return read_tensors(self.path)


@dataclass(frozen=True, slots=True, eq=False)
class LayerRecord:
    """One layer of an atlas.

    Attributes:
        entry: everything but the arrays, as JSON values: name, kind, shape, rank, findings and so on.
        arrays: a function that gives them: spectrum, spectrum_error, baseline, U, S, Vh, and those of findings.
    """

    entry: Mapping[str, Any]
    arrays: Kept | Stored

    @property
    def name(self) -> str:
        """Name of the layer matrix."""
        return self.entry["name"]

    @property
    def failed(self) -> bool:
        """Whether the layer could not be decomposed."""
        return self.entry["failed"]

    @property
    def words(self) -> list[str]:
        """What the tests of ``lmd.findings.words`` let one say of it."""
        return words_of(self.entry)

    @property
    def sentence(self) -> str:
        """What it does, with its numbers."""
        return sentence_of(self.entry)

    def row(self) -> dict[str, Any]:
        """The layer as one JSON object, its singular values included."""
        spectrum = self.arrays().get("spectrum")
        values = None if spectrum is None else [json_number(value) for value in spectrum.tolist()]
        head = {key: self.entry[key] for key in ("name", "kind", "shape", "rank")}
        said = {"words": self.words, "sentence": self.sentence}
        return {**head, **said, "singular_values": values, **{k: v for k, v in self.entry.items() if k not in head}}

    def factors(self) -> Factors:
        """The singular triples that were kept.

        Raises:
            ValueError: the layer failed.
        """
        arrays, entry = self.arrays(), self.entry
        if self.failed or "U" not in arrays:
            raise ValueError(f"layer {self.name!r} was not decomposed: {entry['reason']}.")
        # JSON has no infinity: a number that left double precision was written as null
        measures = {key: float("inf") if entry[key] is None else entry[key] for key in _MEASURES}
        return Factors(
            layer=self.name,
            kind=entry["kind"],
            shape=(entry["shape"][0], entry["shape"][1]),
            U=arrays["U"],
            S=arrays["S"],
            Vh=arrays["Vh"],
            spectrum=arrays.get("spectrum"),
            spectrum_error=arrays.get("spectrum_error"),
            groups=entry["groups"],
            remainder=entry["remainder"],
            method=entry["method"],
            inner=entry["inner"],
            # atlases of before have none
            norm_bound=entry.get("norm_bound"),
            norm_method=entry.get("norm_method", ""),
            **measures,
        )

    def findings(self) -> Iterator[Finding]:
        """The typed findings about the layer."""
        yield from findings_of(self.name, self.entry["findings"], self.arrays())


def findings_of(layer: str, entries: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> Iterator[Finding]:
    """The typed findings that these JSON values and arrays were made from."""
    for chosen in analyses().values():
        keys = [q.key for q in quantities_of(chosen.finds)]
        known = {key: entries[key] for key in keys if key in entries}
        if not known:
            continue
        absent = next((v for v in known.values() if v.get("analysis") == chosen.name), None)
        if absent is not None:
            yield NotApplicable(
                layer=layer, analysis=chosen.name, reason=absent["reason"], failed=absent.get("failed", False)
            )
            continue
        held = {f.name: arrays[f"{chosen.name}.{f.name}"] for f in arrays_of(chosen.finds)}
        yield chosen.finds(layer=layer, **{k: _measured(v) for k, v in known.items()}, **held)


def _measured(value: Mapping[str, Any]) -> Measured:
    listed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
    return Measured(**{f.name: listed[f.name] for f in fields(Measured)})


def findings_entry(findings: list[Finding]) -> dict[str, Any]:
    """Findings as JSON: quantity key to value, baseline, error, unit, direction and reason."""
    entry: dict[str, Any] = {}
    registered = analyses()
    for finding in findings:
        if isinstance(finding, NotApplicable):
            for quantity in quantities_of(registered[finding.analysis].finds):
                entry[quantity.key] = _absent(quantity, finding)
        else:
            for quantity in quantities_of(finding):
                entry[quantity.key] = _present(quantity, getattr(finding, quantity.key))
    return entry


def _absent(quantity: Quantity, finding: NotApplicable) -> dict[str, Any]:
    return {
        "value": None,
        "baseline": None,
        "error": None,
        "unit": quantity.unit,
        "direction": "exact",
        "reason": finding.reason,
        "analysis": finding.analysis,
        "failed": finding.failed,
    }


def _present(quantity: Quantity, number: Measured) -> dict[str, Any]:
    finite = {key: json_number(getattr(number, key)) for key in ("value", "baseline", "error")}
    reason = number.reason
    if finite["value"] is None and not reason:
        reason = "not a finite number"
    return {**finite, "unit": quantity.unit, "direction": number.direction, "reason": reason}


def arrays_to_keep(factors: Factors, findings: list[Finding]) -> dict[str, Tensor]:
    """The arrays of a layer, by the names of its file."""
    arrays = {"U": factors.U, "S": factors.S, "Vh": factors.Vh}
    if factors.spectrum is not None and factors.spectrum_error is not None:
        arrays |= {"spectrum": factors.spectrum, "spectrum_error": factors.spectrum_error}
    baseline = baseline_spectrum(factors) if factors.spectrum is not None else None
    if baseline is not None:
        arrays["baseline"] = baseline
    named = {chosen.finds: chosen.name for chosen in analyses().values()}
    for finding in findings:
        for held in arrays_of(finding):
            arrays[f"{named[type(finding)]}.{held.name}"] = getattr(finding, held.name)
    kept: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, tensor in arrays.items():
        own = tensor.detach().to("cpu").contiguous()
        # the format refuses two names for one piece of memory
        kept[name] = own.clone() if own.data_ptr() in places else own
        places.add(own.data_ptr())
    return kept


def glossary() -> dict[str, dict[str, str]]:
    """Every quantity an analysis may find: its symbol, unit, meaning and source, by key."""
    found = (q for chosen in analyses().values() for q in quantities_of(chosen.finds))
    return {q.key: {"symbol": q.symbol, "unit": q.unit, "meaning": q.meaning, "source": q.source} for q in found}
