"""A pass after the layers: each one against the layer that comes before it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lmd.atlas.atlas import layer_file
from lmd.atlas.folder import write_tensors
from lmd.atlas.layer_record import LayerRecord, Stored, findings_entry
from lmd.factors.factors import Factors
from lmd.findings.analysis import Finding, NotApplicable, analyses, run
from lmd.findings.geometry.maps.coupling import Upstream

__all__ = ["coupled", "predecessors"]

_BESIDE = frozenset({"query", "key", "value", "gate"})
"""Kinds whose rows stand beside each other and read the same input."""
_PASSED_OVER = frozenset({"diagonal", "query_key", "value_output"})
_NONE = "no row before it has as many outputs as it has inputs"


def predecessors(records: Sequence[LayerRecord]) -> dict[str, tuple[str, str]]:
    """For each row the row that is taken to come before it, and why; those that none fits are left out.

    Rows are in the order of the modules. Normalisations and views are passed over; an attention's query, key and value
    read what came before the first of them; its output reads the value. All of it is an assumption, which the finding
    repeats: the order of modules need not be the order of the forward pass.
    """
    found: dict[str, tuple[str, str]] = {}
    before: list[LayerRecord] = []
    for record in records:
        if record.failed or record.entry["view_of"] or record.entry["kind"] in _PASSED_OVER or not record.entry["rank"]:
            continue
        earlier = _last(record, before)
        if earlier is not None:
            found[record.name] = earlier
        before.append(record)
    return found


def _last(record: LayerRecord, before: Sequence[LayerRecord]) -> tuple[str, str] | None:
    kind, inputs = record.entry["kind"], record.entry["shape"][1]
    places = list(reversed(before))
    if kind in _BESIDE:
        while places and places[0].entry["kind"] in _BESIDE:
            places.pop(0)
        why = "the row before the attention, in the order of the modules"
    elif kind == "attention_output":
        places = [place for place in places if place.entry["kind"] == "value"]
        why = "the value of the same attention"
    else:
        why = "the row before it, in the order of the modules"
    if not places or places[0].entry["shape"][0] != inputs:
        return None
    return places[0].name, why


def coupled(records: Sequence[LayerRecord], folder: Path | None) -> tuple[LayerRecord, ...]:
    """The records with the coupling of each to the one before it; in a folder their files are written again."""
    found, named = predecessors(records), {record.name: record for record in records}
    return tuple(
        _kept(record, index, finding, folder)
        for index, record in enumerate(records)
        for finding in (_finding(record, found.get(record.name), named),)
    )


def _finding(record: LayerRecord, place: tuple[str, str] | None, named: dict[str, LayerRecord]) -> Finding | None:
    if record.failed or not record.entry["findings"]:
        return None
    if place is None:
        reason = "a part of another row" if record.entry["view_of"] else _NONE
        return NotApplicable(layer=record.name, analysis="coupling", reason=reason)
    given = {Factors: record.factors(), Upstream: Upstream(named[place[0]].factors(), place[1])}
    return run(analyses()["coupling"], record.name, given)


def _kept(record: LayerRecord, index: int, finding: Finding | None, folder: Path | None) -> LayerRecord:
    if finding is None:
        return record
    findings = {**record.entry["findings"], **findings_entry([finding])}
    if findings == record.entry["findings"]:
        return record
    fresh = replace(record, entry={**record.entry, "findings": findings})
    if folder is None:
        return fresh
    path = folder / layer_file(index, record.name)
    write_tensors(path, dict(record.arrays()), fresh.entry)
    return LayerRecord(fresh.entry, Stored(path))
